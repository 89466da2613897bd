//! Finding a family's programs and running them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::libc::O_NONBLOCK;
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::words::expect_name;
use crate::{Error, Result, Rule, Transaction};

/// Which packets a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `iptables`.
    V4,
    /// `ip6tables`.
    V6,
}

/// Where a program keeps its rules. A host can have both, with rules in either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// In `nf_tables`, where `nft` sees them too.
    Nft,
    /// In the kernel's older `ip_tables`.
    Legacy,
}

/// One family's program, and the one beside it that takes transactions.
#[derive(Clone, Debug)]
pub struct Iptables {
    program: PathBuf,
    restore: PathBuf,
}

impl Iptables {
    /// The program that the host's administrator has chosen: `iptables` or `ip6tables`. Nothing is started.
    pub fn find(family: Family) -> Result<Self> {
        Self::named(family.program().to_owned())
    }

    /// The program of one variant, whichever is chosen: `iptables-nft`, `ip6tables-legacy`. Nothing is started.
    pub fn find_variant(family: Family, variant: Variant) -> Result<Self> {
        Self::named(format!("{}-{variant}", family.program()))
    }

    /// Fails where the chosen programs are not there, or cannot list that built-in chain: each family's that the kernel has.
    pub fn expect_chain(table: &str, chain: &str) -> Result<()> {
        for family in Family::ALL {
            let program = Self::find(family)?;
            // A kernel without IPv6 has no table for it either.
            if family == Family::V4 || Path::new("/proc/sys/net/ipv6").exists() {
                program.rules(table, chain)?;
            }
        }
        Ok(())
    }

    fn named(name: String) -> Result<Self> {
        let program = folders().map(|folder| folder.join(&name)).find(|file| is_program(file));
        let Some(program) = program else { return Err(Error::Missing { name }) };
        // Beside it: the two must be of one variant.
        let restore = program.with_file_name(format!("{name}-restore"));
        Ok(Self { program, restore })
    }

    /// The program's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.program
    }

    /// Which variant it is, by its `--version`. Programs before 1.8 name none and are legacy.
    pub fn variant(&self) -> Result<Variant> {
        let doing = "tell its version";
        let output = self.start(&self.program, &["--version"], "", doing)?;
        let said = expect_success(&self.program, &output, doing)?;
        Ok(if said.contains("nf_tables") { Variant::Nft } else { Variant::Legacy })
    }

    /// The rules of a chain, in their order; `None` where there is no such chain. Built-in chains are always there:
    /// to ask for one shows whether the program works.
    pub fn rules(&self, table: &str, chain: &str) -> Result<Option<Vec<Rule>>> {
        let lines = self.list(table, chain)?;
        Ok(lines.map(|lines| lines.lines().filter_map(Rule::parse).collect()))
    }

    /// What becomes of packets that reach the end of a built-in chain: `ACCEPT` or `DROP`. `None` for other chains.
    pub fn policy(&self, table: &str, chain: &str) -> Result<Option<String>> {
        let lines = self.list(table, chain)?.unwrap_or_default();
        let policy = |line: &str| Some(line.strip_prefix("-P ")?.split(' ').nth(1)?.to_owned());
        Ok(lines.lines().find_map(policy))
    }

    /// A chain as the program prints it; `None` where there is no such chain.
    fn list(&self, table: &str, chain: &str) -> Result<Option<String>> {
        expect_name(table)?;
        expect_name(chain)?;
        let doing = format!("list chain {chain} of table {table}");
        let output = self.start_and_wait(&self.program, &["-t", table, "-S", chain], "", &doing)?;
        if !output.status.success() && says_no_such_chain(&output.stderr, chain) {
            return Ok(None);
        }
        expect_success(&self.program, &output, &doing).map(Some)
    }

    /// The chains that rules of a base chain lead to, each with the comment of such a rule: whose the chain is.
    pub fn entries(&self, table: &str, base: &str) -> Result<Vec<(String, String)>> {
        let rules = self.rules(table, base)?.unwrap_or_default();
        let entry = |rule: &Rule| Some((rule.target()?.to_owned(), rule.comment()?.to_owned()));
        Ok(rules.iter().filter_map(entry).collect())
    }

    /// Carries out the changes that `prepare` asks for, all or none; `None` is nothing to do. Where the program refuses them,
    /// another process may have changed the table in between: `prepare` is called again, with the number of the attempt, from 0.
    ///
    /// # Errors
    ///
    /// What `prepare` could not read, or the last refusal.
    pub fn put<E: From<Error>>(
        &self,
        mut prepare: impl FnMut(usize) -> std::result::Result<Option<Transaction>, E>,
    ) -> std::result::Result<(), E> {
        /// How often a change is tried, the first time included.
        const TRIES: usize = 6;
        let mut attempt = 0;
        loop {
            let Some(change) = prepare(attempt)? else { return Ok(()) };
            attempt += 1;
            match self.commit(&change) {
                Err(_) if attempt < TRIES => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Carries out all changes of a transaction, or none.
    ///
    /// The words with which the programs refuse differ from variant to variant, and legacy ones mostly have none: a
    /// caller that others may come in between reads again and tries again, whatever the failure says.
    pub fn commit(&self, transaction: &Transaction) -> Result<()> {
        let Some(script) = transaction.script()? else { return Ok(()) };
        let doing = format!("change table {}", transaction.table());
        let output = self.start_and_wait(&self.restore, &["--noflush"], &script, &doing)?;
        let doing = match transaction.line_of(&said(&output)) {
            Some(line) => format!("{doing} by \"{line}\""),
            None => doing,
        };
        expect_success(&self.restore, &output, &doing).map(drop)
    }

    /// Runs one of the two programs, which waits where another one has the lock of the legacy variant.
    fn start_and_wait(&self, program: &Path, args: &[&str], input: &str, doing: &str) -> Result<Output> {
        let (begun, patience) = (Instant::now(), patience()?);
        let output = self.start(program, &[&["--wait", &patience], args].concat(), input, doing)?;
        expect_lock(&output, begun)?;
        Ok(output)
    }

    fn start(&self, program: &Path, args: &[&str], input: &str, doing: &str) -> Result<Output> {
        run(program, args, input).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound if program == self.restore => {
                Error::Missing { name: program.display().to_string() }
            }
            _ => Error::Start { program: program.to_owned(), doing: doing.to_owned(), source },
        })
    }
}

/// What a program wrote on standard output.
fn expect_success(program: &Path, output: &Output, doing: &str) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Failed { program: program.to_owned(), doing: doing.to_owned(), said: said(output) })
}

impl Family {
    /// Both families.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    const fn program(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        })
    }
}

/// Where programs are looked for: `PATH`, then where distributions have them. Runtimes' clean-up may come with a `PATH`
/// that has neither, or with none.
#[expect(clippy::disallowed_methods, reason = "PATH is how an administrator chooses among several iptables")]
fn folders() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(usual).collect();
    // A relative one depends on the runtime's working directory.
    folders.into_iter().filter(|folder| folder.is_absolute())
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs a program. It has ended in any case when this returns: an undo must not run beside it.
///
/// Its standard error is a file in memory, so that two pipes need not be read at once: `Child::wait_with_output` panics where
/// reading fails, and a thread cannot be started where memory is short.
#[expect(clippy::disallowed_methods, reason = "this crate is the one place that starts iptables")]
fn run(program: &Path, args: &[&str], input: &str) -> io::Result<Output> {
    let mut errors = File::from(memfd_create("stderr", MFdFlags::MFD_CLOEXEC)?);
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors.try_clone()?);
    let mut child = command.spawn()?;
    // A program that fails early need not read everything. Its own message says more than a broken pipe.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let read = child.stdout.take().map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut stdout));
    let status = child.wait()?;
    read?;
    errors.rewind()?;
    errors.read_to_end(&mut stderr)?;
    match written {
        Err(error) if status.success() => Err(error),
        _ => Ok(Output { status, stdout, stderr }),
    }
}

/// The lock file of the legacy variant's programs, which only root can open (`XT_LOCK_NAME`).
const LOCK: &str = "/run/xtables.lock";

fn open_lock() -> io::Result<File> {
    // A FIFO in its place must not block.
    File::options().read(true).custom_flags(O_NONBLOCK).open(LOCK)
}

/// For how many seconds a program may wait for the lock of the legacy variant. Fails where the time is used up and the lock is
/// still held.
fn patience() -> Result<String> {
    let left = lock::left().as_secs();
    if left == 0
        && let Ok(file) = open_lock()
    {
        lock::take_within(&file, Path::new(LOCK), lock::Mode::Exclusive, Duration::ZERO)
            .or_else(|error| if let lock::Error::Busy(busy) = error { Err(busy) } else { Ok(()) })?;
    }
    // 0 would be no limit.
    Ok(left.max(1).to_string())
}

/// Fails where a program has waited for the lock in vain, and names who holds it.
fn expect_lock(output: &Output, begun: Instant) -> Result<()> {
    /// `RESOURCE_PROBLEM` (xtables.h).
    const RESOURCE: i32 = 4;
    if output.status.code() != Some(RESOURCE)
        || !String::from_utf8_lossy(&output.stderr).contains("xtables lock")
    {
        return Ok(());
    }
    let waited = begun.elapsed();
    lock::spend(waited);
    let holders = open_lock().map(lock::holders).unwrap_or_default();
    Err(lock::Busy { path: LOCK.into(), waited, holders }.into())
}

/// What a program that failed said, on one line; warnings about other programs' tables left out.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines: Vec<&str> = lines.filter(|line| !line.starts_with("Try `")).collect();
    if lines.is_empty() { output.status.to_string() } else { lines.join("; ") }
}

/// The legacy variant, the newer variant, and what version 1.8.9 of the newer one says instead.
fn says_no_such_chain(stderr: &[u8], chain: &str) -> bool {
    let text = String::from_utf8_lossy(stderr);
    text.contains("No chain/target/match by that name")
        || text.contains(&format!("chain `{chain}' in table"))
        || text.contains(&format!("Chain '{chain}' does not exist"))
}
