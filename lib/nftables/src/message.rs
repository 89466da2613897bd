//! What a message of the netfilter family begins with, after netlink's own header: `struct nfgenmsg`.

use wire::Message;

/// `NFNL_SUBSYS_NFTABLES << 8`: added to every `NFT_MSG_*`.
pub(crate) const NFTABLES: u16 = 10 << 8;
/// `NFNL_SUBSYS_CTNETLINK << 8`: added to every `IPCTNL_MSG_CT_*`.
pub(crate) const CTNETLINK: u16 = 1 << 8;

/// `sizeof(struct nfgenmsg)`.
pub(crate) const HEADER: usize = 4;

/// The header: `family` is an `NFPROTO_*` number; `version` is 0, except where ctnetlink is to respect the family in a
/// deletion; `resource` is the subsystem in batch markers, otherwise 0.
pub(crate) fn header(family: u8, version: u8, resource: u16) -> [u8; HEADER] {
    let [high, low] = resource.to_be_bytes();
    [family, version, high, low]
}

/// The attributes after the header.
pub(crate) fn body<'a>(message: &Message<'a>) -> &'a [u8] {
    message.payload.get(HEADER..).unwrap_or_default()
}

/// `nfgen_family`.
pub(crate) fn family(message: &Message) -> u8 {
    message.payload.first().copied().unwrap_or_default()
}

/// `res_id`: in answers of `nf_tables` the lower half of the generation that was read.
pub(crate) fn resource(message: &Message) -> u16 {
    message.payload.get(2..HEADER).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote() {
        let bytes = wire::request(NFTABLES, 0, |writer| {
            writer.raw(&header(1, 0, 0x0a0b));
            writer.string(1, "cleat");
        });
        let bytes = bytes.unwrap();
        let message = Message::split(&mut &bytes[..]).unwrap();
        assert_eq!((family(&message), resource(&message)), (1, 0x0a0b));
        assert_eq!(wire::attribute::find_string(body(&message), 1), Some("cleat"));
        let short = Message { payload: &[7], ..message };
        assert_eq!((family(&short), resource(&short), body(&short)), (7, 0, &[][..]));
    }
}
