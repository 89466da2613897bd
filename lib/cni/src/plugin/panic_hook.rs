//! A defect in a plugin still answers with one error object instead of nothing.

use std::io::Write;
use std::panic::PanicHookInfo;

use crate::spec::error::{Code, Error};
use crate::spec::version::Version;

/// From now on a panic writes an error object with code 999 on standard output and ends the process.
pub(crate) fn install() {
    std::panic::set_hook(Box::new(|info| {
        let document = report(info).to_json(Version::NEWEST);
        // Standard output is written only once, at the very end, so this is the only document on it. It may be
        // locked by this very thread: a writer of its own cannot wait for that lock.
        let stdout = std::fs::OpenOptions::new().append(true).open("/proc/self/fd/1");
        if let Ok(mut stdout) = stdout {
            let _ = stdout.write_all(format!("{document}\n").as_bytes());
        }
        std::process::exit(1);
    }));
}

fn report(info: &PanicHookInfo<'_>) -> Error {
    let text = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map(|place| format!(" at {place}")).unwrap_or_default();
    Error::new(Code::Internal, format!("defect in the plugin{place}: {text}"))
        .details("please report this to the project, with the configuration that brought it about")
}
