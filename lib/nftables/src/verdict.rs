//! Verdicts: what happens to a packet that a rule or a verdict map has matched.

use std::fmt;

use wire::Writer;
use wire::attribute::{find_be32, find_string};

/// A verdict (`enum nft_verdicts`, and `NF_DROP`, `NF_ACCEPT` of `linux/netfilter.h`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Let the packet pass this hook.
    Accept,
    /// Discard it.
    Drop,
    /// Go back to the calling chain, or to the policy of a base chain.
    Return,
    /// Evaluate that chain, then come back.
    Jump(String),
    /// Evaluate that chain, and do not come back.
    Goto(String),
}

impl Verdict {
    /// A jump to `chain`.
    pub fn jump(chain: impl Into<String>) -> Self {
        Self::Jump(chain.into())
    }

    /// A goto to `chain`.
    pub fn goto(chain: impl Into<String>) -> Self {
        Self::Goto(chain.into())
    }

    const fn code(&self) -> i32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
            Self::Jump(_) => -3,
            Self::Goto(_) => -4,
            Self::Return => -5,
        }
    }

    /// The chain that a jump or goto leads to.
    #[must_use]
    pub fn chain(&self) -> Option<&str> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            _ => None,
        }
    }

    /// `NFTA_DATA_VERDICT` with its content.
    pub(crate) fn write(&self, attributes: &mut Writer) {
        attributes.nest(NFTA_DATA_VERDICT, |verdict| {
            verdict.bytes(NFTA_VERDICT_CODE, &self.code().to_be_bytes());
            if let Some(chain) = self.chain() {
                verdict.string(NFTA_VERDICT_CHAIN, chain);
            }
        });
    }

    /// Reads the content of `NFTA_DATA_VERDICT`.
    pub(crate) fn read(attributes: &[u8]) -> Option<Self> {
        let code = find_be32(attributes, NFTA_VERDICT_CODE)?.cast_signed();
        let chain = || find_string(attributes, NFTA_VERDICT_CHAIN).map(str::to_owned);
        Some(match code {
            0 => Self::Drop,
            1 => Self::Accept,
            -3 => Self::Jump(chain()?),
            -4 => Self::Goto(chain()?),
            -5 => Self::Return,
            _ => return None,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

pub(crate) const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_comes_back() {
        let verdicts = [
            Verdict::Accept,
            Verdict::Drop,
            Verdict::Return,
            Verdict::jump("publish"),
            Verdict::goto("net_a"),
        ];
        for verdict in verdicts {
            let mut writer = Writer::default();
            verdict.write(&mut writer);
            let content = wire::attribute::find(&writer.buffer, NFTA_DATA_VERDICT).unwrap();
            assert_eq!(Verdict::read(content), Some(verdict));
        }
    }
}
