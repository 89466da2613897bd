//! What a plugin decided, and why: one line a decision, at the end of the file that `CLEAT_TRACE` names.
//!
//! ```text
//! time=1764417000.123456 us=412 pid=4711 plugin=bridge command=ADD network=net container=60707a2f0f64 ifname=eth0 \
//!     decision=bridge name=br0 is=made adapted=false
//! ```
//!
//! `time` is in seconds since 1970, `us` in microseconds since the plugin started. A value with other characters than
//! printable ASCII, or with a space, `"` or `=`, is written as a Rust string. The last line of each call is `decision=outcome`.
//! Without the variable none of this costs a system call.

use std::ffi::OsStr;
use std::fmt::{Display, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nix::fcntl::OFlag;

use crate::plugin::request::{Request, Target};

/// The environment variable with the path of the file.
pub const VARIABLE: &str = "CLEAT_TRACE";

struct Trace {
    file: File,
    start: Instant,
    plugin: &'static str,
    /// The call, as every line repeats it.
    call: Mutex<String>,
}

static TRACE: OnceLock<Trace> = OnceLock::new();

impl Trace {
    fn call(&self) -> MutexGuard<'_, String> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From here on this process writes its decisions to the end of a file, which is made for its owner alone where there is none.
///
/// # Errors
/// What opening the file says. A symbolic link in its place is not followed.
pub(crate) fn start(plugin: &'static str, path: &OsStr) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    // A FIFO in its place must not hold the plugin up.
    let file = options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(path)?;
    let _ = TRACE.set(Trace { file, start: Instant::now(), plugin, call: Mutex::default() });
    Ok(())
}

/// Notes which call the decisions that follow belong to.
pub(crate) fn call(request: &Request, target: Option<&Target>) {
    let Some(trace) = TRACE.get() else { return };
    let mut call = String::new();
    field(&mut call, "command", &request.command);
    field(&mut call, "network", &request.conf.network);
    if let Some(target) = target {
        field(&mut call, "container", target.container_id());
        field(&mut call, "ifname", target.ifname());
    }
    *trace.call() = call;
}

/// Writes one decision: what it is about, and what was chosen for which reason, as keys and values. Nothing happens unless a
/// trace was asked for, so what is costly to write is passed as `fmt::from_fn` or `format_args!`; one that cannot be written
/// fails nobody.
pub fn decided(decision: &str, fields: &[(&str, &dyn Display)]) {
    let Some(trace) = TRACE.get() else { return };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut line = format!("time={}.{:06}", now.as_secs(), now.subsec_micros());
    field(&mut line, "us", &trace.start.elapsed().as_micros());
    field(&mut line, "pid", &std::process::id());
    field(&mut line, "plugin", &trace.plugin);
    line += &trace.call();
    field(&mut line, "decision", &decision);
    for (key, value) in fields {
        field(&mut line, key, value);
    }
    line.push('\n');
    // One write, so that the lines of several plugins do not mix.
    let _ = (&trace.file).write_all(line.as_bytes());
}

fn field(line: &mut String, key: &str, value: &dyn Display) {
    let text = value.to_string();
    let is_plain =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"=".contains(&byte));
    let _ = if is_plain { write!(line, " {key}={text}") } else { write!(line, " {key}={text:?}") };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_word_or_in_quotes() {
        let mut line = String::new();
        for value in ["br0", "", "a b", "a=b", "a\nb", "\u{1b}[2J"] {
            field(&mut line, "k", &value);
        }
        assert_eq!(line, r#" k=br0 k="" k="a b" k="a=b" k="a\nb" k="\u{1b}[2J""#);
    }
}
