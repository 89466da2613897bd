//! The versions of the CNI specification that the suite speaks. Anything else is refused with code 1.

use std::fmt;

/// A `cniVersion` that is none of [`Version::ALL`]: code 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unsupported cniVersion {0:?}")]
pub struct UnsupportedVersion(String);

/// One released version of the CNI specification, oldest first so that versions compare by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 0.1.0, also meant where a configuration names no version.
    V0_1_0,
    /// 0.2.0: VERSION answers more than one version; results as in 0.1.0.
    V0_2_0,
    /// 0.3.0: interfaces and a list of addresses in the result.
    V0_3_0,
    /// 0.3.1: chains of plugins.
    V0_3_1,
    /// 0.4.0: CHECK, and `prevResult` on DEL.
    V0_4_0,
    /// 1.0.0: addresses carry no version of their own any more.
    V1_0_0,
    /// 1.1.0: GC and STATUS.
    V1_1_0,
}

impl Version {
    /// Every supported version, oldest first, in the order in which VERSION answers them.
    pub const ALL: [Self; 7] =
        [Self::V0_1_0, Self::V0_2_0, Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// The newest version, in which errors are written before the configuration's own version is known.
    pub const NEWEST: Self = Self::V1_1_0;

    /// The version as configurations spell it, such as `1.0.0`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// Reads a configuration's `cniVersion`. The empty text means 0.1.0, as in the specification of that version.
    ///
    /// # Errors
    /// Code 1 where the version is not one of [`Version::ALL`].
    pub fn parse(text: &str) -> Result<Self, UnsupportedVersion> {
        if text.is_empty() {
            return Ok(Self::V0_1_0);
        }
        let version = Self::ALL.into_iter().find(|version| version.as_str() == text);
        version.ok_or_else(|| UnsupportedVersion(text.to_owned()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_written_and_the_missing_one_is_the_oldest() {
        for version in Version::ALL {
            assert_eq!(Version::parse(version.as_str()).unwrap(), version);
        }
        assert_eq!(Version::parse("").unwrap(), Version::V0_1_0);
        let error = Version::parse("1.2.0").unwrap_err();
        assert_eq!(crate::Error::from(error.clone()).code(), 1);
        assert!(error.to_string().contains("\"1.2.0\""), "{error}");
    }
}
