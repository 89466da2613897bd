//! Runs a program under ptrace(2), with all its threads and children, and interferes at one of its system calls.
//!
//! Calls are counted over the whole tree, in the order in which they are begun; strace(1) counts for each thread, and
//! so could not reach every call. Numbers and registers are those of x86-64.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// One run of a program.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its path.
    pub program: String,
    /// What follows its name on the command line.
    pub args: Vec<String>,
    /// All of its environment.
    pub env: Vec<(String, String)>,
    /// What it finds on standard input, less than a pipe holds.
    pub input: Vec<u8>,
}

/// What is done, and at which call; the first is 0.
#[derive(Clone, Copy, Debug)]
pub enum Plan {
    /// Nothing at all.
    Watch,
    /// Every process of the tree is killed before the call is made.
    Kill(usize),
    /// The call is not made and returns an error instead. It is counted among those with the kernel's number `kind`
    /// alone, as threads change places and wait more or less often from run to run.
    Fail {
        /// [`SystemCall::number`].
        kind: i64,
        /// [`SystemCall::place`].
        at: usize,
        /// What it returns.
        errno: Errno,
    },
}

/// A system call as it was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemCall {
    /// The kernel's number of it.
    pub number: i64,
    /// Its first arguments.
    pub args: [u64; 3],
    /// The first bytes of what it sends, where it is sendto(2).
    pub sends: [u8; 8],
}

impl SystemCall {
    /// Whether it opens a socket of netfilter's.
    #[must_use]
    pub fn opens_netfilter(&self) -> bool {
        let netfilter = [libc::AF_NETLINK, libc::NETLINK_NETFILTER].map(|word| u64::try_from(word).ok());
        self.number == libc::SYS_socket && [self.args[0], self.args[2]].map(Some) == netfilter
    }

    /// Whether it sends a transaction to the packet filter: a message `NFNL_MSG_BATCH_BEGIN`, whose number is that of
    /// rtnetlink's `RTM_NEWLINK` too, but not its length.
    #[must_use]
    pub fn sends_batch(&self) -> bool {
        let [a, b, c, d, low, high, ..] = self.sends;
        u16::from_ne_bytes([low, high]) == 0x10 && matches!(u32::from_ne_bytes([a, b, c, d]), 20 | 28)
    }

    /// How many of its kind were begun before it.
    #[must_use]
    pub fn place(&self, before: &[Self]) -> usize {
        before.iter().filter(|call| call.number == self.number).count()
    }
}

/// How the program ended.
#[derive(Debug)]
pub struct Outcome {
    /// The calls, as far as they were made.
    pub calls: Vec<SystemCall>,
    /// The call that was interfered with, where it came to that.
    pub hit: Option<SystemCall>,
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// The most memory that any of its processes had at once, in kB (`VmHWM` of proc(5)), of those that ended by themselves.
    pub peak_memory: u64,
    /// What it said on standard output.
    pub stdout: Vec<u8>,
    /// What it said on standard error.
    pub stderr: Vec<u8>,
}

/// Answers whether an error is one that the call can return at all.
pub type IsPossible<'a> = &'a dyn Fn(SystemCall, Errno) -> bool;

impl Job {
    /// Runs it to its end, without interference.
    #[must_use]
    pub fn run(&self) -> Outcome {
        let mut child = self.spawn(&self.program, &self.args);
        self.feed(&mut child);
        let output = child.wait_with_output().unwrap();
        let (code, stdout, stderr) = (output.status.code(), output.stdout, output.stderr);
        Outcome { calls: Vec::new(), hit: None, code, peak_memory: 0, stdout, stderr }
    }

    /// Runs it to its end and observes it.
    #[must_use]
    pub fn watch(&self) -> Outcome {
        self.trace(Plan::Watch, &|_, _| false)
    }

    /// Runs it under observation. The calling process must have no other children.
    #[must_use]
    pub fn trace(&self, plan: Plan, is_possible: IsPossible<'_>) -> Outcome {
        // A shell that stops before it becomes the program can be seized in time.
        let args = ["-c", "kill -STOP $$; exec \"$0\" \"$@\"", &self.program].map(str::to_owned);
        let mut child = self.spawn("/bin/sh", &[&args[..], &self.args].concat());
        self.feed(&mut child);
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(stopped, WaitStatus::Stopped(pid, Signal::SIGSTOP));
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(pid, options).unwrap();
        kill(pid, Signal::SIGCONT).unwrap();
        let mut run = Run::new(pid, plan, is_possible);
        while run.step() {}
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        let Run { calls, hit, code, peak_memory, .. } = run;
        Outcome { calls, hit, code, peak_memory, stdout, stderr }
    }

    fn spawn(&self, program: &str, args: &[String]) -> Child {
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap_or_else(|error| panic!("start {program}: {error}"))
    }

    fn feed(&self, child: &mut Child) {
        assert!(self.input.len() < 60_000, "more than a pipe holds");
        // A program that refuses its input early closes the pipe.
        let _ = child.stdin.take().unwrap().write_all(&self.input);
    }
}

struct Run<'a> {
    main: Pid,
    plan: Plan,
    is_possible: IsPossible<'a>,
    /// The program itself runs, and no longer the shell.
    started: bool,
    alive: BTreeSet<Pid>,
    /// The thread whose call is to return an error, once it has been left out.
    failing: Option<(Pid, Errno)>,
    calls: Vec<SystemCall>,
    hit: Option<SystemCall>,
    code: Option<i32>,
    peak_memory: u64,
}

impl<'a> Run<'a> {
    fn new(main: Pid, plan: Plan, is_possible: IsPossible<'a>) -> Self {
        Self {
            main,
            plan,
            is_possible,
            started: false,
            alive: BTreeSet::from([main]),
            failing: None,
            calls: Vec::new(),
            hit: None,
            code: None,
            peak_memory: 0,
        }
    }

    /// Takes what happens next; answers whether anything is left to happen.
    fn step(&mut self) -> bool {
        let status = match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Ok(status) => status,
            Err(Errno::ECHILD) => return false,
            Err(error) => panic!("wait for the traced program: {error}"),
        };
        match status {
            WaitStatus::Exited(pid, code) => {
                self.alive.remove(&pid);
                if pid == self.main {
                    self.code = Some(code);
                }
            }
            WaitStatus::Signaled(pid, ..) => {
                self.alive.remove(&pid);
            }
            WaitStatus::PtraceSyscall(pid) => {
                self.system_call(pid);
                go_on(pid, None);
            }
            WaitStatus::PtraceEvent(pid, _, event) => {
                self.alive.insert(pid);
                self.started |= event == libc::PTRACE_EVENT_EXEC;
                go_on(pid, None);
            }
            WaitStatus::Stopped(pid, signal) => {
                self.alive.insert(pid);
                let is_ours = matches!(signal, Signal::SIGTRAP | Signal::SIGSTOP | Signal::SIGCONT);
                go_on(pid, (!is_ours).then_some(signal));
            }
            _ => {}
        }
        true
    }

    fn system_call(&mut self, pid: Pid) {
        let Ok(info) = ptrace::syscall_info(pid) else { return };
        if info.op == libc::PTRACE_SYSCALL_INFO_EXIT {
            if let Some((failing, errno)) = self.failing
                && failing == pid
            {
                self.failing = None;
                let mut registers = ptrace::getregs(pid).unwrap();
                registers.rax = i64::from(-(errno as i32)).cast_unsigned();
                ptrace::setregs(pid, registers).unwrap();
            }
            return;
        }
        if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY || !self.started {
            return;
        }
        let Ok(mut registers) = ptrace::getregs(pid) else { return };
        let call = SystemCall {
            number: registers.orig_rax.cast_signed(),
            args: [registers.rdi, registers.rsi, registers.rdx],
            sends: if registers.orig_rax.cast_signed() == libc::SYS_sendto {
                ptrace::read(pid, registers.rsi as ptrace::AddressType).unwrap_or_default().to_ne_bytes()
            } else {
                [0; 8]
            },
        };
        if call.number == libc::SYS_exit_group {
            self.peak_memory = self.peak_memory.max(peak_memory(pid));
        }
        let number = self.calls.len();
        let place = call.place(&self.calls);
        self.calls.push(call);
        match self.plan {
            Plan::Kill(at) if at == number => {
                self.hit = Some(call);
                for pid in &self.alive {
                    let _ = kill(*pid, Signal::SIGKILL);
                }
            }
            Plan::Fail { kind, at, errno }
                if (kind, at) == (call.number, place) && (self.is_possible)(call, errno) =>
            {
                self.hit = Some(call);
                // No call has this number: the kernel does nothing, and the result is set when it returns.
                registers.orig_rax = u64::MAX;
                ptrace::setregs(pid, registers).unwrap();
                self.failing = Some((pid, errno));
            }
            _ => {}
        }
    }
}

/// The kernel's own account of a process that is about to end.
fn peak_memory(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default()
}

/// A thread that has been killed meanwhile is told of by the next wait.
fn go_on(pid: Pid, signal: Option<Signal>) {
    match ptrace::syscall(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("go on with the traced program: {error}"),
    }
}
