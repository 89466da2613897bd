//! The error object of the contract: a code of the specification, a message, details.

use serde::Serialize;

use crate::printable::printable;
use crate::spec::version::{UnsupportedVersion, Version};

/// Error codes of the specification (section "Error"), and those of this suite from 100 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 1: the configuration's version is not supported, or its version has no such verb.
    IncompatibleVersion,
    /// 2: a field of the configuration is not supported.
    UnsupportedField,
    /// 3: the container is unknown or gone; the runtime need not clean up.
    UnknownContainer,
    /// 4: an environment variable is missing or invalid.
    InvalidEnvironment,
    /// 5: reading or writing failed.
    Io,
    /// 6: the content of standard input could not be decoded.
    Decode,
    /// 7: the network configuration is not valid.
    InvalidConfig,
    /// 11: something passing is in the way; the runtime should try again.
    TryAgain,
    /// 50: the plugin cannot take any ADD at present.
    NotAvailable,
    /// 51: as 50, and existing containers may have limited connectivity.
    NotAvailableLimited,
    /// 100: the kernel refused something that this plugin asked of it.
    Kernel,
    /// 101: CHECK found something that differs from what ADD set up.
    CheckFailed,
    /// 102: an address, a port or a name that was asked for is in use.
    InUse,
    /// 103: a delegated plugin failed without an error object of its own.
    Delegate,
    /// 999: a defect in the plugin itself.
    Internal,
    /// The code that a delegated plugin answered.
    Other(u32),
}

impl Code {
    /// The number that stands in the error object.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::IncompatibleVersion => 1,
            Self::UnsupportedField => 2,
            Self::UnknownContainer => 3,
            Self::InvalidEnvironment => 4,
            Self::Io => 5,
            Self::Decode => 6,
            Self::InvalidConfig => 7,
            Self::TryAgain => 11,
            Self::NotAvailable => 50,
            Self::NotAvailableLimited => 51,
            Self::Kernel => 100,
            Self::CheckFailed => 101,
            Self::InUse => 102,
            Self::Delegate => 103,
            Self::Internal => 999,
            Self::Other(number) => number,
        }
    }
}

/// What a plugin answers when it cannot do what it was asked.
///
/// The message names the thing and, where there is one, the cure. Runtimes search messages for the words
/// `not found` and take them to mean that nothing is left to delete, so real failures avoid those words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{msg}{}", if details.is_empty() { String::new() } else { format!(" ({details})") })]
pub struct Error {
    code: Code,
    msg: String,
    details: String,
}

impl Error {
    /// An error with the code and message given, without details. Of a message that is longer than anybody reads, as
    /// where it quotes what somebody else wrote, beginning and end are kept; what such text may order a terminal to do is
    /// written out, as runtimes print messages.
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self { code, msg: legible(&msg.into()), details: String::new() }
    }

    /// The same error with further details, which replace those it had; shortened as the message is.
    #[must_use]
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = legible(&details.into());
        self
    }

    /// The same error with its context in front: `context: message`.
    #[must_use]
    pub fn within(mut self, context: &str) -> Self {
        self.msg = format!("{context}: {}", self.msg);
        self
    }

    /// The same error, with what could not be undone after it.
    #[must_use]
    pub fn undo_failed(self, further: &Self) -> Self {
        let details = format!("undoing what was done failed as well: {further}");
        Self { msg: self.to_string(), details, code: self.code }
    }

    /// The same error once what was done has been undone; where that failed as well, its details say so.
    #[must_use]
    pub fn undone(self, outcome: Result<(), Self>) -> Self {
        match outcome {
            Ok(()) => self,
            Err(further) => self.undo_failed(&further),
        }
    }

    /// One error for all that went wrong where work went on past the first failure; the first one's code.
    ///
    /// # Errors
    /// The combined error, unless `errors` is empty.
    pub fn all(errors: Vec<Self>) -> Result<(), Self> {
        let mut errors = errors.into_iter();
        let Some(first) = errors.next() else { return Ok(()) };
        let Some(second) = errors.next() else { return Err(first) };
        let msg = errors.fold(format!("{first}; {second}"), |msg, further| format!("{msg}; {further}"));
        Err(Self::new(first.code, msg))
    }

    /// The number that stands in the error object.
    #[must_use]
    pub fn code(&self) -> u32 {
        self.code.number()
    }

    /// The message alone, without the details.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.msg
    }

    /// The details alone, which name the cure where there is one; may be empty.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.details
    }

    /// The JSON object that the contract wants on standard output, in the configuration's version.
    #[must_use]
    pub fn to_json(&self, version: Version) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Object<'a> {
            cni_version: &'a str,
            code: u32,
            msg: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            details: &'a str,
        }
        let object = Object {
            cni_version: version.as_str(),
            code: self.code.number(),
            msg: &self.msg,
            details: &self.details,
        };
        // Strings and a number: serialising them cannot fail.
        serde_json::to_string(&object).unwrap_or_default()
    }
}

impl From<UnsupportedVersion> for Error {
    fn from(error: UnsupportedVersion) -> Self {
        let known: Vec<&str> = Version::ALL.iter().map(|version| version.as_str()).collect();
        Self::new(Code::IncompatibleVersion, error.to_string())
            .details(format!("supported versions: {}", known.join(", ")))
    }
}

fn legible(text: &str) -> String {
    shorten(printable(text).into_owned())
}

/// A text of at most some four kibibytes: where it is longer, its beginning and its end.
#[must_use]
pub fn shorten(text: String) -> String {
    const BEGINNING: usize = 3072;
    const END: usize = 1024;
    if text.len() <= BEGINNING + END {
        return text;
    }
    let beginning = &text[..text.floor_char_boundary(BEGINNING)];
    let end = &text[text.ceil_char_boundary(text.len() - END)..];
    format!("{beginning} … {end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_the_keys_of_the_specification() {
        let error = Error::new(Code::InvalidConfig, "no bridge").details("set \"bridge\"");
        assert_eq!(
            error.to_json(Version::V0_4_0),
            r#"{"cniVersion":"0.4.0","code":7,"msg":"no bridge","details":"set \"bridge\""}"#
        );
        assert_eq!(
            Error::new(Code::TryAgain, "busy").to_json(Version::V1_1_0),
            r#"{"cniVersion":"1.1.0","code":11,"msg":"busy"}"#
        );
    }

    #[test]
    fn a_message_is_never_longer_than_anybody_reads() {
        let error = Error::new(Code::InvalidConfig, format!("name {} is wrong", "é".repeat(1 << 20)));
        let error = error.details("x".repeat(1 << 20));
        assert!(error.message().starts_with("name éé") && error.message().ends_with("é is wrong"));
        assert!(error.message().len() < 4200 && error.hint().len() < 4200);
        let error = Error::new(Code::InvalidConfig, "a\u{1b}[2J").details("\u{202e}b");
        assert_eq!((error.message(), error.hint()), (r"a\u{1b}[2J", r"\u{202e}b"));
    }

    #[test]
    fn several_failures_become_one_that_tells_them_all() {
        assert!(Error::all(vec![]).is_ok());
        let all = Error::all(vec![
            Error::new(Code::Kernel, "a").details("c"),
            Error::new(Code::Io, "b").details("d"),
        ]);
        let all = all.unwrap_err();
        assert_eq!((all.code(), all.to_string().as_str()), (100, "a (c); b (d)"));
    }
}
