//! The kernel's registers: sixteen of four bytes each, of which four in a row from a multiple of four are also one of
//! sixteen bytes (`enum nft_registers`).

use super::selector::Selector;

/// `NFT_REG_VERDICT`: takes the verdict.
pub(crate) const VERDICT: u32 = 0;
/// `NFT_REG_1`, where every single value goes.
pub(crate) const FIRST: u32 = 1;

/// Registers of four bytes that there are.
const COUNT: usize = 16;

/// The number of the register at `slot` (in units of four bytes): that of sixteen bytes where one begins there, as
/// the kernel itself answers.
pub(crate) const fn number(slot: u32) -> u32 {
    if slot.is_multiple_of(4) { 1 + slot / 4 } else { 8 + slot }
}

/// Four-byte slots that a value of `length` bytes takes.
pub(crate) const fn slots(length: usize) -> usize {
    length.div_ceil(4)
}

/// The register for each of `selectors`, laid out as the key of a set; `None` where they do not fit.
pub(crate) fn layout(selectors: &[Selector]) -> Option<Vec<u32>> {
    let mut slot = 0;
    let registers = selectors.iter().map(|selector| {
        let register = u32::try_from(slot).map(number).ok();
        slot += slots(selector.size());
        register
    });
    let registers: Option<Vec<u32>> = registers.collect();
    registers.filter(|_| slot <= COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_behind_each_other() {
        use Selector::{Iifname, Ip6Saddr, IpSaddr, L4Proto, ThDport};
        assert_eq!(layout(&[IpSaddr, L4Proto, ThDport]), Some(vec![1, 9, 10]));
        assert_eq!(layout(&[Iifname, IpSaddr, L4Proto, ThDport]), Some(vec![1, 2, 13, 14]));
        assert_eq!(layout(&[Ip6Saddr, ThDport]), Some(vec![1, 2]));
        assert_eq!(layout(&[Iifname; 5]), None);
    }
}
