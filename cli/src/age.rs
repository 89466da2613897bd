//! Points in time for people and for programs.

use std::time::{Duration, SystemTime};

/// How long ago something was, in its largest unit: `5 minutes`.
pub(crate) fn since(then: SystemTime) -> String {
    // A clock that was set back makes nothing younger than now.
    words(SystemTime::now().duration_since(then).unwrap_or_default())
}

fn words(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let (number, unit) = units
        .into_iter()
        .map(|(length, unit)| (seconds / length, unit))
        .find(|(number, _)| *number > 0)
        .unwrap_or((0, "second"));
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// The time as Docker prints it (RFC 3339, UTC, nanoseconds).
pub(crate) fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_nanos(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_unit_says_enough() {
        for (seconds, wanted) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (7_200, "2 hours"),
            (86_400 * 3 + 5, "3 days"),
        ] {
            assert_eq!(words(Duration::from_secs(seconds)), wanted);
        }
    }

    #[test]
    fn timestamps_are_rfc_3339() {
        assert_eq!(timestamp(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00.000000000Z");
    }
}
