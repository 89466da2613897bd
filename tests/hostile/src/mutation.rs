//! Mutations of inputs: the same ones in every run.

/// Texts and numbers with a special meaning for one of the parsers.
const TOKENS: [&[u8]; 40] = [
    b"null",
    b"true",
    b"\"\"",
    b"[]",
    b"{}",
    b"[[",
    b"}}",
    b",",
    b":",
    b"\\ud800",
    b"\\u0000",
    b"\0",
    b"\xff",
    b"\xc0\x80",
    b"-1",
    b"0",
    b"65536",
    b"4294967296",
    b"18446744073709551616",
    b"1e400",
    b"-0.0",
    b"99999999999999999999999999999",
    b"10.1.0.5/24",
    b"::/0",
    b"::ffff:10.1.0.1/120",
    b"0.0.0.0/0",
    b"255.255.255.255/32",
    b"fd00::/64",
    b"\"prevResult\":",
    b"\"cniVersion\":\"0.1.0\"",
    b"\"cniVersion\":\"1.1.0\"",
    b"\"name\":\"x\"",
    b"..",
    b"/",
    b"\r\n",
    b";",
    b"=",
    b"\"",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x80",
];

/// An endless sequence of mutations of an input.
#[derive(Debug)]
pub struct Mutations<'a> {
    input: &'a [u8],
    others: &'a [Vec<u8>],
    state: u64,
}

impl<'a> Mutations<'a> {
    /// The sequence with this number. Pieces of `others` are inserted into the input.
    #[must_use]
    pub fn new(input: &'a [u8], others: &'a [Vec<u8>], number: u64) -> Self {
        Self { input, others, state: number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// A pseudo-random number below `limit`, which must not be 0 (xorshift64*).
    fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap_or_default() % limit
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap_or_default()
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let length = self.below(16).min(bytes.len() - at);
        match self.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = self.byte(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..at + length)),
            4 => {
                let copy = bytes[at..at + length].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            5 if !self.others.is_empty() => {
                let others = self.others;
                let other = &others[self.below(others.len())];
                let from = self.below(other.len() + 1);
                let piece = &other[from..(from + self.below(64)).min(other.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            6 => {
                let token = TOKENS[self.below(TOKENS.len())];
                bytes.splice(at..at + length, token.iter().copied());
            }
            7 => bytes.insert(at, self.byte()),
            _ => {
                let token = TOKENS[self.below(TOKENS.len())];
                bytes.splice(at..at, token.iter().copied());
            }
        }
    }
}

impl Iterator for Mutations<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut bytes = self.input.to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes);
        }
        Some(bytes)
    }
}
