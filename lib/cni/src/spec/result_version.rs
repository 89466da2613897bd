//! Results as a version of the specification has them: read into the shape of the newest, and written in that of another.

use serde_json::Value;

use crate::spec::case_blind;
use crate::spec::error::{Code, Error};
use crate::spec::legacy;
use crate::spec::result::AddResult;
use crate::spec::salvage;
use crate::spec::version::Version;

impl AddResult {
    /// Reads a result of any version, as its own `cniVersion` says; `fallback` where it has none.
    ///
    /// # Errors
    /// Code 1 for an unknown version, code 6 for content that does not fit it.
    pub fn parse(value: &Value, fallback: Version) -> Result<Self, Error> {
        let object =
            value.as_object().ok_or_else(|| Error::new(Code::Decode, "a result must be a JSON object"))?;
        let version = match case_blind::get(object, "cniVersion").and_then(Value::as_str) {
            Some(text) => Version::parse(text)?,
            None => fallback,
        };
        let decode = |error: serde_json::Error| {
            Error::new(Code::Decode, format!("decode result of version {version}: {error}"))
        };
        let result: Self = if version < Version::V0_3_0 {
            legacy::from_value(value).map_err(decode)?
        } else {
            case_blind::from_value(value).map_err(decode)?
        };
        match result.ips.iter().find(|ip| ip.interface.is_some_and(|index| index >= result.interfaces.len()))
        {
            Some(ip) => Err(Error::new(
                Code::Decode,
                format!(
                    "address {} belongs to interface {:?}, which the result does not have",
                    ip.address,
                    ip.interface.unwrap_or_default()
                ),
            )),
            None => Ok(result),
        }
    }

    /// What can be read of a result that may be odd in any way: for removing, which does not wait for a better one. What
    /// an address belongs to that the result does not have, is left out; an address without a prefix length stands alone.
    #[must_use]
    pub fn salvage(value: &Value) -> Self {
        salvage::result(value)
    }

    /// The result in the shape of a version, with its `cniVersion`.
    ///
    /// # Errors
    /// Code 7 where the version cannot hold it: 0.1.0 and 0.2.0 must have an address.
    pub fn to_value(&self, version: Version) -> Result<Value, Error> {
        let internal =
            |error: serde_json::Error| Error::new(Code::Internal, format!("encode result: {error}"));
        let mut value = if version < Version::V0_3_0 {
            legacy::to_value(self)?
        } else {
            let mut result = self.clone();
            if version < Version::V1_1_0 {
                legacy::drop_keys_of_1_1(&mut result);
            }
            let mut value = serde_json::to_value(&result).map_err(internal)?;
            if version < Version::V1_0_0 {
                legacy::add_ip_versions(&mut value, self);
            }
            value
        };
        if let Value::Object(object) = &mut value {
            object.insert("cniVersion".into(), Value::String(version.to_string()));
        }
        Ok(value)
    }
}
