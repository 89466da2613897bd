//! The programs among hostile input: on standard input, in the environment, and in every file that they read.
//!
//! Whatever comes, a program ends soon, by itself, with little memory, and a plugin says one thing that a runtime
//! understands. What its functions make of the same is tested in `tests/hostile`.

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

/// In bytes, of data; who wants more gets none and is aborted. A plugin takes less than five mebibytes as a rule.
const MEMORY: u64 = 64 << 20;
/// What a program with its children may have of processors, and how long it may wait for anything else. These programs are
/// not optimised.
const TIME: Duration = Duration::from_secs(5);
/// How many times as long work takes on a busy machine.
const BUSY: u32 = 10;
/// When a program that has not ended is taken to hang.
const HANGS: Duration = Duration::from_mins(1);
/// More than anybody reads, in bytes.
const LONGEST: usize = 64 << 10;

/// One call of a program.
struct Call {
    what: String,
    command: Command,
}

/// What a program said in the end.
struct Ended {
    what: String,
    success: bool,
    stdout: Vec<u8>,
    stderr: String,
}

impl Call {
    /// Of a program with arguments; `what` names it where it fails. It has nothing of this process's environment.
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

    /// Runs it to its end, which must come soon and be its own.
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
            // Rust's code of a panic.
            assert!(code != 101 && !stderr.contains("panicked"), "{what}: {status}: {stderr}");
            assert!(worked < TIME, "{what} had a processor for {worked:?}");
            assert!(took < TIME + BUSY * worked, "{what} took {took:?}, {worked:?} of it with a processor");
            assert!(stderr.len() < LONGEST, "{what} said {} bytes", stderr.len());
            Ended { what, success: status.success(), stdout, stderr }
        })
    }
}

/// The time of processors that all children had which are over. They are called one after the other.
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
            // With the plugins that it has called, which have its pipes.
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            panic!("{what} hangs");
        }
        thread::sleep(Duration::from_millis(1));
    }
}

impl Ended {
    /// Asserts that a plugin kept the contract: a JSON document or nothing where it succeeded, and otherwise an error
    /// with a code and words. Returns whether it succeeded.
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
        // A panic would be told as 999.
        assert!(code != 0 && code != 999, "{what}: {text}");
        assert!(error["cniVersion"].is_string(), "{what}: {text}");
        assert!(error["msg"].as_str().is_some_and(|msg| msg.len() > 5), "{what}: {text}");
        false
    }

    /// Asserts that `cleat` said what is wrong, where it failed.
    fn expect_words(&self) {
        let Self { what, stdout, stderr, success } = self;
        assert!(*success || !stderr.is_empty() || !stdout.is_empty(), "{what} failed without a word");
        // A plugin that ended without an error object of its own, which is one that was aborted.
        assert!(
            !stderr.contains("without an error object") && !stderr.contains("defect"),
            "{what}: {stderr}"
        );
    }
}

/// Text for an environment, which need not be UTF-8.
fn raw(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}
