//! The programs with hostile input: on standard input, in the environment, and in every file that they read.
//!
//! With any input a program ends soon, by itself and with little memory, and a plugin prints one result or error that a runtime
//! understands. `tests/hostile` tests the functions with the same input.

mod calls;
mod files;

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, killpg};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;
use serde_json::Value;

use crate::shared::programs::folder;

/// The limit of a program's data, in bytes: an allocation beyond it fails and aborts the program. A plugin usually needs less
/// than five mebibytes.
const MEMORY: u64 = 64 << 20;
/// The limit of the CPU time of a program with its children, and of the time that it waits for anything else. These programs
/// are built without optimisation.
const TIME: Duration = Duration::from_secs(5);
/// On a busy machine a program may take this many times its CPU time.
const BUSY: u32 = 10;
/// A program that has not ended after this time hangs.
const HANGS: Duration = Duration::from_mins(1);
/// The limit of an error's length, in bytes.
const LONGEST: usize = 64 << 10;

/// One call of a program.
struct Call {
    what: String,
    command: Command,
}

/// The success and the output of a program that has ended.
struct Ended {
    what: String,
    success: bool,
    stdout: Vec<u8>,
    stderr: String,
}

impl Call {
    /// Of a program with arguments; `what` names the call in failures. The program inherits none of this process's environment.
    fn new(what: &str, program: &str, args: &[&str]) -> Self {
        let mut command = Command::new("prlimit");
        command.env_clear().arg(format!("--data={MEMORY}")).arg("--").arg(program).args(args);
        command.env("CNI_PATH", folder());
        Self { what: what.to_owned(), command }
    }

    fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs the program, which must end soon and must not be killed by a signal.
    fn run(mut self, input: &[u8]) -> Ended {
        self.command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let what = self.what;
        let mut child =
            self.command.spawn().unwrap_or_else(|error| panic!("prlimit(1) of util-linux: {error}"));
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (before, began) = (spent(), Instant::now());
        thread::scope(|scope| {
            // A program that has read enough closes the pipe.
            scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(input)));
            let stdout = scope.spawn(|| everything(stdout));
            let stderr = scope.spawn(|| everything(stderr));
            let status = wait(&mut child, &what);
            let (worked, took) = (spent().saturating_sub(before), began.elapsed());
            let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
            let stderr = String::from_utf8_lossy(&stderr).into_owned();
            let code = status.code().unwrap_or_else(|| panic!("{what}: {status}: {stderr}"));
            // A Rust program that panics exits with 101.
            assert!(code != 101 && !stderr.contains("panicked"), "{what}: {status}: {stderr}");
            assert!(worked < TIME, "{what} used {worked:?} of CPU time");
            assert!(took < TIME + BUSY * worked, "{what} took {took:?}, with {worked:?} of CPU time");
            assert!(stderr.len() < LONGEST, "{what} wrote {} bytes of errors", stderr.len());
            Ended { what, success: status.success(), stdout, stderr }
        })
    }
}

/// The CPU time of all children that have ended. The tests run one child at a time.
fn spent() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(micros.cast_unsigned())
}

fn everything(from: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn wait(child: &mut Child, what: &str) -> std::process::ExitStatus {
    let deadline = Instant::now() + HANGS;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            // The plugins that it has called are killed with it: they hold its pipes open.
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            panic!("{what} hangs");
        }
        thread::sleep(Duration::from_millis(1));
    }
}

impl Ended {
    /// Asserts that a plugin kept the contract: on success it printed a JSON document or nothing, and otherwise an error
    /// with a code and a message. Returns whether it succeeded.
    fn expect_contract(&self) -> bool {
        let Self { what, stdout, .. } = self;
        assert!(self.stderr.is_empty(), "{what}: {}", self.stderr);
        if self.success {
            assert!(stdout.is_empty() || serde_json::from_slice::<Value>(stdout).is_ok(), "{what}");
            return true;
        }
        assert!(stdout.len() < LONGEST, "{what}: an error of {} bytes", stdout.len());
        let text = String::from_utf8_lossy(stdout);
        let error: Value =
            serde_json::from_slice(stdout).unwrap_or_else(|why| panic!("{what}: {why}: {text}"));
        let code = error["code"].as_u64().unwrap_or_else(|| panic!("{what}: no code: {text}"));
        // A panic is reported with code 999.
        assert!(code != 0 && code != 999, "{what}: {text}");
        assert!(error["cniVersion"].is_string(), "{what}: {text}");
        assert!(error["msg"].as_str().is_some_and(|msg| msg.len() > 5), "{what}: {text}");
        false
    }

    /// Asserts that a `cleat` that failed has printed why.
    fn expect_words(&self) {
        let Self { what, stdout, stderr, success } = self;
        assert!(*success || !stderr.is_empty() || !stdout.is_empty(), "{what} failed without output");
        // `cleat` reports a plugin that was aborted as one that ended without an error object.
        assert!(
            !stderr.contains("without an error object") && !stderr.contains("defect"),
            "{what}: {stderr}"
        );
    }
}

/// A value of an environment variable, which need not be UTF-8.
fn raw(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}
