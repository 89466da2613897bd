//! User data, which the kernel stores with an object and does not interpret. Each value comes after its type and its length, of
//! one byte each. libnftnl defines the types, and `nft` shows comments from here.

use wire::Writer;

/// `NFTNL_UDATA_RULE_COMMENT`, `NFTNL_UDATA_CHAIN_COMMENT`, `NFTNL_UDATA_SET_ELEM_COMMENT`.
const COMMENT: u8 = 0;
/// `NFTNL_UDATA_COMMENT_MAXLEN`, with the NUL: a longer one makes `nft` refuse its own listing.
const COMMENT_MAX: u8 = 128;

/// Appends a number, in host byte order.
pub(crate) fn push_u32(data: &mut Writer, kind: u8, value: u32) {
    data.raw(&[kind, 4]);
    data.raw(&value.to_ne_bytes());
}

/// Writes a comment, if there is one, as the attribute `attribute`; refused where `nft` could not show it.
pub(crate) fn write_comment(writer: &mut Writer, attribute: u16, comment: Option<&str>) {
    let Some(text) = comment else { return };
    // nft puts comments between quotes and knows no escape for a quote or a line break.
    match u8::try_from(text.len() + 1) {
        Ok(length @ ..=COMMENT_MAX) if !text.contains(|c: char| c == '"' || c.is_control()) => {
            writer.attribute(attribute, |data| {
                data.raw(&[COMMENT, length]);
                data.raw(text.as_bytes());
                data.raw(&[0]);
            });
        }
        _ => writer.refuse("comment is longer than 127 bytes or has a quote or control character"),
    }
}

/// The comment, where there is one in UTF-8.
pub(crate) fn comment(mut data: &[u8]) -> Option<&str> {
    loop {
        let (&[kind, length], rest) = data.split_first_chunk::<2>()?;
        let (value, rest) = rest.split_at_checked(length.into())?;
        if kind == COMMENT {
            return str::from_utf8(value.split(|&byte| byte == 0).next()?).ok();
        }
        data = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(comment: &str) -> (Vec<u8>, Option<&'static str>) {
        let mut writer = Writer::default();
        write_comment(&mut writer, 6, Some(comment));
        (wire::attribute::find(&writer.buffer, 6).unwrap_or_default().to_vec(), writer.fault.take())
    }

    #[test]
    fn a_comment_comes_back_past_other_values() {
        let (written, fault) = written("web eth0");
        assert_eq!(fault, None);
        let mut writer = Writer::default();
        push_u32(&mut writer, 1, 2);
        assert_eq!(comment(&writer.buffer), None);
        let data = [writer.buffer, written].concat();
        assert_eq!(comment(&data), Some("web eth0"));
        assert_eq!(comment(&data[..data.len() - 3]), None);
    }

    #[test]
    fn a_comment_that_nft_cannot_show_is_refused() {
        assert_eq!(written(&"x".repeat(127)).1, None);
        assert!(written(&"x".repeat(128)).1.is_some());
        assert!(written(&"x".repeat(300)).1.is_some());
        assert!(written("say \"hi\"").1.is_some());
        assert!(written("a\nb").1.is_some());
    }
}
