//! The metrics, in Prometheus' text format 0.0.4. Names and types are an interface: they stay.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use crate::agent::Status;

/// The format's media type.
pub(crate) const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A metric: its name, type and meaning, and its value for a network, if it has one.
type Metric = (&'static str, &'static str, &'static str, fn(&Status) -> Option<String>);

const METRICS: [Metric; 10] = [
    ("peers", "gauge", "Other nodes that the kernel has entries of.", |status| {
        Some(status.peers.len().to_string())
    }),
    ("engine_up", "gauge", "Whether the engine answers: 1 or 0.", |status| {
        Some(u8::from(status.engine.up).to_string())
    }),
    ("ready", "gauge", "Whether the engine's list was in the kernel at least once: 1 or 0.", |status| {
        Some(u8::from(status.listed).to_string())
    }),
    ("revision", "gauge", "The engine's revision that the kernel agrees with.", |status| {
        Some(status.engine.revision.to_string())
    }),
    ("last_sync_seconds", "gauge", "When the kernel last agreed with the engine, as Unix time.", |status| {
        let since = status.last_sync?.duration_since(UNIX_EPOCH).ok()?;
        Some(since.as_secs_f64().to_string())
    }),
    ("program_seconds", "gauge", "How long the last change of the kernel took.", |status| {
        Some(status.program_time.as_secs_f64().to_string())
    }),
    ("repairs_total", "counter", "What was put back that others had taken from the kernel.", |status| {
        Some(status.repairs.to_string())
    }),
    (
        "removals_held",
        "gauge",
        "Peers that are gone from the engine and stay until a forced sync.",
        |status| Some(status.held.len().to_string()),
    ),
    ("conflicts", "gauge", "Claims and records of other nodes that contradict this node's.", |status| {
        Some(status.conflicts.to_string())
    }),
    ("engine_errors_total", "counter", "Calls to the engine that failed.", |status| {
        Some(status.engine_errors.to_string())
    }),
];

/// The metrics of all networks.
pub(crate) fn text(statuses: &[Status]) -> String {
    let mut text = String::new();
    for (name, kind, help, value) in METRICS {
        // Writing to a String does not fail.
        let _ = writeln!(text, "# HELP cleat_overlay_{name} {help}\n# TYPE cleat_overlay_{name} {kind}");
        for status in statuses {
            if let Some(value) = value(status) {
                // A network's name has no character that the format would escape.
                let _ = writeln!(text, "cleat_overlay_{name}{{network=\"{}\"}} {value}", status.network);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn each_metric_has_help_type_and_a_line_a_network() {
        let shop = Status {
            network: "shop".to_owned(),
            last_sync: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1500)),
            repairs: 7,
            ..Status::default()
        };
        let text = text(&[shop, Status { network: "back.end".to_owned(), ..Status::default() }]);
        assert!(text.contains(
            "# TYPE cleat_overlay_repairs_total counter\ncleat_overlay_repairs_total{network=\"shop\"} 7\n\
             cleat_overlay_repairs_total{network=\"back.end\"} 0\n"
        ));
        assert!(text.contains("cleat_overlay_last_sync_seconds{network=\"shop\"} 1.5\n"));
        assert!(!text.contains("last_sync_seconds{network=\"back.end\"}"), "never is no time");
        assert_eq!(text.matches("# HELP ").count(), text.matches("# TYPE ").count());
        assert!(text.lines().all(|line| line.starts_with('#') || line.split(' ').count() == 2), "{text}");
    }
}
