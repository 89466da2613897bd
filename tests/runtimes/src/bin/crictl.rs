//! Stands in for crictl of kubernetes-sigs/cri-tools, which no package of Debian has: the commands that docs/runtimes use,
//! with crictl's own files and what it prints. It is a client of the runtime's CRI, as crictl is.
//!
//! A key of a file that it does not pass on is an error, so that no page can say what would do nothing.

#![allow(clippy::unwrap_used, reason = "it serves tests")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command line program")]

use std::fs;
use std::process::ExitCode;

use runtimes::cri::Cri;
use serde_json::Value;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(text) => print!("{text}"),
        Err(error) => {
            eprintln!("FATA[0000] {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(words: &[&str]) -> Result<String, String> {
    let read = |file: &str| fs::read_to_string(file).map_err(|error| format!("{file}: {error}"));
    let line = |text: String| text + "\n";
    let cri = Cri::new(endpoint()?);
    match words {
        ["runp", pod] => cri.run_pod_file(&read(pod)?).map(line),
        ["create", id, container, pod] => {
            cri.create_container_file(id, &read(container)?, &read(pod)?).map(line)
        }
        ["start", id] => cri.start_container(id).map(|()| format!("{id}\n")),
        ["exec", id, command @ ..] if !command.is_empty() => cri.exec(id, command),
        ["stopp", id] => cri.stop_pod(id).map(|()| format!("Stopped sandbox {id}\n")),
        ["rmp", id] => cri.remove_pod(id).map(|()| format!("Removed sandbox {id}\n")),
        words => Err(format!("this stand-in for crictl does not know {words:?}")),
    }
}

/// The socket that crictl's configuration names.
fn endpoint() -> Result<String, String> {
    let text =
        fs::read_to_string("/etc/crictl.yaml").map_err(|error| format!("/etc/crictl.yaml: {error}"))?;
    let configuration: Value = serde_yaml_ng::from_str(&text).map_err(|error| error.to_string())?;
    let endpoint = configuration["runtime-endpoint"].as_str().unwrap_or_default();
    endpoint.strip_prefix("unix://").map(str::to_owned).ok_or(format!("runtime-endpoint: {endpoint:?}"))
}
