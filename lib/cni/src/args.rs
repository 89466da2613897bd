//! `CNI_ARGS`: `KEY=value` pairs separated by semicolons.
//!
//! The reference errors on unknown keys unless `IgnoreUnknown=1`, even on DEL, which strands what the
//! container had. Here unknown keys are ignored always; a pair without `=` is refused.

use crate::error::{Code, Error};

/// Runtimes give half a dozen.
const MAX_PAIRS: usize = 1024;

/// The pairs of `CNI_ARGS`, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args(Vec<(String, String)>);

impl Args {
    /// Reads the variable's value; empty pairs, as a closing semicolon makes them, are skipped.
    ///
    /// # Errors
    /// Code 4 for a pair that is not `KEY=value`, and for more than 1,024 of them.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let pairs = text.split(';').filter(|pair| !pair.is_empty()).map(|pair| match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(Error::new(Code::InvalidEnvironment, format!("invalid pair {pair:?} in CNI_ARGS"))
                .details("write CNI_ARGS as KEY=value;KEY=value")),
        });
        let pairs: Vec<_> = pairs.take(MAX_PAIRS + 1).collect::<Result<_, _>>()?;
        if pairs.len() > MAX_PAIRS {
            let told = format!("CNI_ARGS have more than {MAX_PAIRS} pairs");
            return Err(Error::new(Code::InvalidEnvironment, told));
        }
        Ok(Self(pairs))
    }

    /// The value of a key, which is case-sensitive; the last one where it is given twice. An empty value
    /// counts as absent.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
            .filter(|v| !v.is_empty())
    }

    /// All pairs in their order.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
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
}
