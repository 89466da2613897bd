//! The bytes that the kernel keeps beside an object without looking: type and length of one byte each, then the
//! value. libnftnl defines the types, and `nft` shows comments from here.

use wire::Writer;

/// `NFTNL_UDATA_RULE_COMMENT`, `NFTNL_UDATA_CHAIN_COMMENT`, `NFTNL_UDATA_SET_ELEM_COMMENT`.
pub(crate) const COMMENT: u8 = 0;
/// `NFTNL_UDATA_COMMENT_MAXLEN`, with the NUL: a longer one makes `nft` refuse its own listing.
const COMMENT_MAX: u8 = 128;

/// Appends a number, in host byte order.
pub(crate) fn push_u32(data: &mut Writer, kind: u8, value: u32) {
    data.raw(&[kind, 4]);
    data.raw(&value.to_ne_bytes());
}

/// Appends a comment; refused where `nft` could not show it.
pub(crate) fn push_comment(data: &mut Writer, kind: u8, text: &str) {
    // nft puts comments between quotes and knows no escape for a quote or a line break.
    match u8::try_from(text.len() + 1) {
        Ok(length @ ..=COMMENT_MAX) if !text.contains(|c: char| c == '"' || c.is_control()) => {
            data.raw(&[kind, length]);
            data.raw(text.as_bytes());
            data.raw(&[0]);
        }
        _ => data.refuse("comment is longer than 127 bytes or has a quote or control character"),
    }
}

/// Writes a comment, if there is one, as the attribute `attribute`.
pub(crate) fn write_comment(writer: &mut Writer, attribute: u16, comment: Option<&str>) {
    if let Some(text) = comment {
        writer.attribute(attribute, |data| push_comment(data, COMMENT, text));
    }
}

/// The comment of type `kind`, where there is one in UTF-8.
pub(crate) fn comment(mut data: &[u8], kind: u8) -> Option<&str> {
    loop {
        let (&[found, length], rest) = data.split_first_chunk::<2>()?;
        let (value, rest) = rest.split_at_checked(length.into())?;
        if found == kind {
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
        push_u32(&mut writer, 1, 2);
        push_comment(&mut writer, COMMENT, comment);
        (writer.buffer.clone(), writer.fault.take())
    }

    #[test]
    fn a_comment_comes_back_past_other_values() {
        let (data, fault) = written("web eth0");
        assert_eq!(fault, None);
        assert_eq!(comment(&data, COMMENT), Some("web eth0"));
        assert_eq!(comment(&data, 9), None);
        assert_eq!(comment(&data[..data.len() - 3], COMMENT), None);
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
