//! `CNI_ARGS`: `KEY=value` pairs separated by semicolons.
//!
//! The reference errors on unknown keys unless `IgnoreUnknown=1`, even on DEL, which strands what the
//! container had. Here unknown keys are ignored always. A malformed pair fails only plugins that read the variable, and
//! only in ADD and CHECK: loopback and host-port never read it, like the reference's.

use crate::spec::error::{Code, Error};

/// Runtimes give half a dozen.
const MAX_PAIRS: usize = 1024;

/// The pairs of `CNI_ARGS`, in their order, and what is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    pairs: Vec<(String, String)>,
    malformed: Vec<String>,
    /// There are more than [`MAX_PAIRS`], of which the rest was not read.
    is_cut: bool,
}

impl Args {
    /// Reads the variable's value, whatever it is; empty pairs, as a closing semicolon makes them, are skipped.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut args = Self::default();
        for pair in text.split(';').filter(|pair| !pair.is_empty()) {
            if args.pairs.len() + args.malformed.len() == MAX_PAIRS {
                args.is_cut = true;
                break;
            }
            match pair.split_once('=') {
                Some((key, value)) if !key.is_empty() => args.pairs.push((key.to_owned(), value.to_owned())),
                _ => args.malformed.push(pair.to_owned()),
            }
        }
        args
    }

    /// As [`Args::read`], of what must be pairs throughout.
    ///
    /// # Errors
    /// As [`Args::expect_pairs`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let args = Self::read(text);
        args.expect_pairs().map(|()| args)
    }

    /// Refuses a malformed pair, for plugins that read several keys: it may have been meant for one of them.
    ///
    /// # Errors
    /// Code 4 for a pair that is not `KEY=value`, and for more than 1,024 of them.
    pub fn expect_pairs(&self) -> Result<(), Error> {
        match self.malformed.first() {
            Some(pair) => Err(invalid(pair)),
            None => self.expect_all(),
        }
    }

    /// The value of a key as [`Args::get`] has it, for plugins that read no other key. A malformed pair matters only where it
    /// begins with the key, such as `IP:10.1.0.5`.
    ///
    /// # Errors
    /// Code 4 for such a pair, and for more than 1,024 of them.
    pub fn wanted(&self, key: &str) -> Result<Option<&str>, Error> {
        let is_meant = |pair: &&String| {
            let head = pair.trim_start().get(..key.len());
            let rest = pair.trim_start().get(key.len()..).unwrap_or_default();
            head.is_some_and(|head| head.eq_ignore_ascii_case(key))
                && !rest.starts_with(|next: char| next.is_ascii_alphabetic() || next == '_')
        };
        match self.malformed.iter().find(is_meant) {
            Some(pair) => Err(invalid(pair)),
            None => self.expect_all().map(|()| self.get(key)),
        }
    }

    fn expect_all(&self) -> Result<(), Error> {
        if self.is_cut {
            let message = format!("CNI_ARGS have more than {MAX_PAIRS} pairs");
            return Err(Error::new(Code::InvalidEnvironment, message));
        }
        Ok(())
    }

    /// The value of a key, which is case-sensitive; the last one where it is given twice. An empty value
    /// counts as absent.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .rev()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
            .filter(|v| !v.is_empty())
    }

    /// All pairs in their order.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }
}

fn invalid(pair: &str) -> Error {
    Error::new(Code::InvalidEnvironment, format!("invalid pair {pair:?} in CNI_ARGS"))
        .details("write CNI_ARGS as KEY=value;KEY=value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_in_any_order_and_unknown_ones_do_no_harm() {
        let args = Args::parse("IgnoreUnknown=1;K8S_POD_NAME=a;MAC=02:00:00:00:00:01;X=a=b;").unwrap();
        assert_eq!(args.get("K8S_POD_NAME"), Some("a"));
        assert_eq!(args.get("X"), Some("a=b"));
        assert_eq!(args.get("k8s_pod_name"), None);
        assert_eq!(Args::parse("").unwrap().get("MAC"), None);
        assert_eq!(Args::parse("IP=").unwrap().get("IP"), None);
        for bad in ["MAC", "=x", "a=b;c", &"a=b;".repeat(1025)] {
            assert_eq!(Args::parse(bad).unwrap_err().code(), 4, "{bad}");
        }
    }

    #[test]
    fn what_is_no_pair_concerns_the_reader_of_its_key_alone() {
        let args = Args::read("none;IP=10.1.0.5");
        assert_eq!(args.wanted("IP").unwrap(), Some("10.1.0.5"));
        assert_eq!(args.pairs().len(), 1);
        for (text, is_meant) in [
            ("IP", true),
            ("IP:10.1.0.5", true),
            (" ip 10.1.0.5", true),
            ("IP10.1.0.5", true),
            ("IPAM", false),
            ("none", false),
            ("é", false),
            ("=IP", false),
        ] {
            let outcome = Args::read(text).wanted("IP").map(|value| value.map(str::to_owned));
            match outcome {
                Ok(value) => assert!(!is_meant && value.is_none(), "{text}"),
                Err(error) => {
                    assert!(is_meant && error.to_string().contains(&format!("{text:?}")), "{error}");
                }
            }
        }
        assert_eq!(Args::read(&"a=b;".repeat(1025)).wanted("IP").unwrap_err().code(), 4);
    }
}
