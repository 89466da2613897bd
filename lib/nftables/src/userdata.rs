//! The bytes that the kernel keeps beside an object without looking: type and length of one byte each, then the
//! value. libnftnl defines the types, and `nft` shows comments from here.

use wire::Writer;

/// `NFTNL_UDATA_RULE_COMMENT`, `NFTNL_UDATA_CHAIN_COMMENT`, `NFTNL_UDATA_SET_ELEM_COMMENT`.
pub(crate) const COMMENT: u8 = 0;
/// `NFTNL_UDATA_COMMENT_MAXLEN`, with the NUL: a longer one makes `nft` refuse its own listing.
const COMMENT_MAX: usize = 128;

/// Appends a number, in host byte order.
pub(crate) fn push_u32(data: &mut Vec<u8>, kind: u8, value: u32) {
    data.extend_from_slice(&[kind, 4]);
    data.extend_from_slice(&value.to_ne_bytes());
}

/// Appends a comment; `false` where `nft` could not show it.
fn push_comment(data: &mut Vec<u8>, kind: u8, text: &str) -> bool {
    let Ok(length) = u8::try_from(text.len() + 1) else {
        return false;
    };
    data.extend_from_slice(&[kind, length]);
    data.extend_from_slice(text.as_bytes());
    data.push(0);
    // nft puts comments between quotes and knows no escape for a quote or a line break.
    usize::from(length) <= COMMENT_MAX && !text.contains(|c: char| c == '"' || c.is_control())
}

/// Writes `prefix` and the comment, if there is one, as the attribute `attribute`.
pub(crate) fn write(
    writer: &mut Writer,
    attribute: u16,
    mut prefix: Vec<u8>,
    kind: u8,
    comment: Option<&str>,
) {
    if let Some(text) = comment
        && !push_comment(&mut prefix, kind, text)
    {
        writer.refuse("comment is longer than 127 bytes or has a quote or control character");
    }
    if !prefix.is_empty() {
        writer.bytes(attribute, &prefix);
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
        let mut prefix = Vec::new();
        push_u32(&mut prefix, 1, 2);
        write(&mut writer, 6, prefix, COMMENT, Some(comment));
        (wire::attribute::find(writer.as_bytes(), 6).unwrap_or_default().to_vec(), writer.take_fault())
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
