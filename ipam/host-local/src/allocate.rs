//! The order in which addresses are tried: the reference's round robin. Pure: the caller says what is taken.
//!
//! It starts behind the address leased last, walks to the end of that range, through the set's other ranges, wraps,
//! and tries the address leased last at the very end. Only the current range's own gateway is skipped.

use std::net::IpAddr;

use crate::range::{Range, RangeSet, number};

/// An address that may be leased, and the range that says its prefix and gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    /// The address.
    pub(crate) address: IpAddr,
    /// Its range.
    pub(crate) range: &'a Range,
}

/// Addresses of one range in ascending order, ends included; empty where `first` is greater than `last`.
#[derive(Clone, Copy, Debug)]
struct Stretch<'a> {
    range: &'a Range,
    first: u128,
    last: u128,
}

/// The search through a set.
#[derive(Clone, Debug)]
pub(crate) struct Search<'a> {
    stretches: Vec<Stretch<'a>>,
}

impl<'a> Search<'a> {
    /// A search that starts behind `last`, or at the first range's start where `last` is not in the set (any more).
    pub(crate) fn new(set: &'a RangeSet, last: Option<IpAddr>) -> Self {
        let ranges = set.ranges();
        let whole = |range: &'a Range| Stretch { range, first: range.start, last: range.end };
        let position =
            last.and_then(|last| Some((ranges.iter().position(|range| range.contains(last))?, number(last))));
        let Some((index, last)) = position else {
            return Self { stretches: ranges.iter().map(whole).collect() };
        };
        let range = &ranges[index];
        let mut stretches = Vec::with_capacity(ranges.len() + 1);
        if last < range.end {
            stretches.push(Stretch { range, first: last + 1, last: range.end });
        }
        stretches.extend(ranges[index + 1..].iter().chain(&ranges[..index]).map(whole));
        stretches.push(Stretch { range, first: range.start, last });
        Self { stretches }
    }

    /// Every address of the set in order.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = Candidate<'a>> {
        self.stretches.iter().flat_map(|stretch| {
            let range = stretch.range;
            (stretch.first..=stretch.last)
                .filter(move |number| range.gateway_inside() != Some(*number))
                .map(move |number| Candidate { address: range.address(number), range })
        })
    }

    /// The first addresses in order that are not among those taken, which are addresses of the set in any order. The
    /// cost grows with the number of taken addresses, not with the size of the set.
    pub(crate) fn free(&self, mut taken: Vec<u128>, limit: usize) -> Vec<Candidate<'a>> {
        taken.sort_unstable();
        taken.dedup();
        let mut found = Vec::new();
        for stretch in &self.stretches {
            let range = stretch.range;
            let behind = &taken[taken.partition_point(|number| *number < stretch.first)..];
            let mut behind = behind.iter().copied().peekable();
            for number in stretch.first..=stretch.last {
                let is_taken = behind.next_if_eq(&number).is_some();
                if is_taken || range.gateway_inside() == Some(number) {
                    continue;
                }
                if found.len() == limit {
                    return found;
                }
                found.push(Candidate { address: range.address(number), range });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[(&str, &str, &str, &str)]) -> RangeSet {
        let address = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
        let range = |(subnet, start, end, gateway): &(&str, &str, &str, &str)| {
            Range::new(subnet.parse().unwrap(), address(start), address(end), address(gateway)).unwrap()
        };
        RangeSet::new(ranges.iter().map(range).collect()).unwrap()
    }

    fn order(set: &RangeSet, last: Option<&str>) -> Vec<String> {
        let search = Search::new(set, last.map(|last| last.parse().unwrap()));
        search.candidates().map(|candidate| candidate.address.to_string()).collect()
    }

    #[test]
    fn the_order_is_the_references() {
        let one = set(&[("10.1.0.0/29", "", "", "")]);
        let all: Vec<String> = (2..=6).map(|host| format!("10.1.0.{host}")).collect();
        assert_eq!(order(&one, None), all);
        assert_eq!(order(&one, Some("10.9.0.1")), all, "an address of an older configuration");
        for (last, hosts) in
            [("10.1.0.4", [5, 6, 2, 3, 4]), ("10.1.0.6", [2, 3, 4, 5, 6]), ("10.1.0.1", [2, 3, 4, 5, 6])]
        {
            assert_eq!(order(&one, Some(last)), hosts.map(|host| format!("10.1.0.{host}")), "{last}");
        }
    }

    #[test]
    fn the_search_goes_through_all_ranges_and_wraps() {
        let two = set(&[
            ("10.1.0.0/30", "10.1.0.1", "10.1.0.2", "10.2.0.2"),
            ("10.2.0.0/30", "10.2.0.1", "10.2.0.2", ""),
        ]);
        // 10.2.0.2 is the gateway of the other range only, which does not keep it from being leased.
        assert_eq!(order(&two, None), ["10.1.0.1", "10.1.0.2", "10.2.0.2"]);
        assert_eq!(order(&two, Some("10.1.0.1")), ["10.1.0.2", "10.2.0.2", "10.1.0.1"]);
        assert_eq!(order(&two, Some("10.2.0.2")), ["10.1.0.1", "10.1.0.2", "10.2.0.2"]);
    }

    #[test]
    fn the_free_addresses_are_the_first_candidates_that_are_not_taken() {
        let two = set(&[("10.1.0.0/28", "", "", ""), ("10.2.0.0/28", "10.2.0.3", "", "10.2.0.7")]);
        let candidates = order(&two, None);
        // Every start with every pattern of a simple generator: the fast search against the plain one.
        for (start, seed) in candidates.iter().flat_map(|start| (0..64_u32).map(move |seed| (start, seed))) {
            let is_taken = |address: &str| {
                let host: u32 = address.rsplit('.').next().unwrap().parse().unwrap();
                (host.wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(40_503)) % 8 < seed % 9
            };
            let taken = candidates.iter().filter(|address| is_taken(address)).rev();
            let taken = taken.map(|address| number(address.parse().unwrap())).collect();
            let mut wanted = order(&two, Some(start));
            wanted.retain(|address| !is_taken(address));
            wanted.truncate(3);
            let search = Search::new(&two, Some(start.parse().unwrap()));
            let found = search.free(taken, 3);
            let found: Vec<String> = found.iter().map(|candidate| candidate.address.to_string()).collect();
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn large_and_extreme_ranges_cost_nothing() {
        let large = set(&[("fd00::/64", "", "", "")]);
        assert_eq!(Search::new(&large, None).candidates().nth(7).unwrap().address.to_string(), "fd00::9");
        let search = Search::new(&large, Some("fd00::ffff:ffff:ffff:ffff".parse().unwrap()));
        let taken = vec![number("fd00::2".parse().unwrap())];
        assert_eq!(search.free(taken, 1)[0].address.to_string(), "fd00::3");
        let end = set(&[("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126", "", "", "")]);
        let taken = vec![u128::MAX, u128::MAX - 1];
        assert!(Search::new(&end, None).free(taken, 1).is_empty());
    }
}
