//! Runs a program under ptrace(2), with all its threads and children, and kills it at a system call or makes the call fail.
//!
//! Calls are counted over the whole process tree, in the order in which they begin. strace(1) counts for each thread, and so
//! could not reach every call. Numbers and registers are those of x86-64.

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
    /// The program's path.
    pub program: String,
    /// The arguments without the program's name.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The bytes on standard input; they must fit into a pipe.
    pub input: Vec<u8>,
}

/// What the tracer does, and at which call; the first call is 0.
#[derive(Clone, Copy, Debug)]
pub enum Plan {
    /// It only records the calls.
    Watch,
    /// It kills every process of the tree before the call is made.
    Kill(usize),
    /// The call is not made, and returns an error instead. It is counted only among those with the kernel's number `kind`,
    /// because the order of threads and the number of their waits vary from run to run.
    Fail {
        /// [`SystemCall::number`].
        kind: i64,
        /// [`SystemCall::place`].
        at: usize,
        /// The error that it returns.
        errno: Errno,
    },
}

/// A system call as it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemCall {
    /// Its number in the kernel.
    pub number: i64,
    /// Its first arguments.
    pub args: [u64; 3],
    /// The first bytes that it sends, if it is sendto(2).
    pub sends: [u8; 8],
}

impl SystemCall {
    /// Whether it opens a netfilter socket.
    #[must_use]
    pub fn opens_netfilter(&self) -> bool {
        let netfilter = [libc::AF_NETLINK, libc::NETLINK_NETFILTER].map(|word| u64::try_from(word).ok());
        self.number == libc::SYS_socket && [self.args[0], self.args[2]].map(Some) == netfilter
    }

    /// Whether it sends a transaction to the packet filter, which begins with the message `NFNL_MSG_BATCH_BEGIN`. rtnetlink's
    /// `RTM_NEWLINK` has the same number, but another length.
    #[must_use]
    pub fn sends_batch(&self) -> bool {
        let [a, b, c, d, low, high, ..] = self.sends;
        u16::from_ne_bytes([low, high]) == 0x10 && matches!(u32::from_ne_bytes([a, b, c, d]), 20 | 28)
    }

    /// How many calls with the same number began before it.
    #[must_use]
    pub fn place(&self, before: &[Self]) -> usize {
        before.iter().filter(|call| call.number == self.number).count()
    }
}

/// How the program ended.
#[derive(Debug)]
pub struct Outcome {
    /// The calls that were begun.
    pub calls: Vec<SystemCall>,
    /// The call at which it was killed or that was made to fail, if there was one.
    pub hit: Option<SystemCall>,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The highest peak memory of its processes in kB (`VmHWM` of proc(5)). Killed processes do not count.
    pub peak_memory: u64,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// Whether a call can return an error at all.
pub type IsPossible<'a> = &'a dyn Fn(SystemCall, Errno) -> bool;

impl Job {
    /// Runs it to its end, without tracing.
    #[must_use]
    pub fn run(&self) -> Outcome {
        let mut child = self.spawn(&self.program, &self.args);
        self.feed(&mut child);
        let output = child.wait_with_output().unwrap();
        let (code, stdout, stderr) = (output.status.code(), output.stdout, output.stderr);
        Outcome { calls: Vec::new(), hit: None, code, peak_memory: 0, stdout, stderr }
    }

    /// Runs it to its end, and records its calls.
    #[must_use]
    pub fn watch(&self) -> Outcome {
        self.trace(Plan::Watch, &|_, _| false)
    }

    /// Runs it to its end by a plan. The calling process must have no other children.
    #[must_use]
    pub fn trace(&self, plan: Plan, is_possible: IsPossible<'_>) -> Outcome {
        // The shell stops itself before it executes the program, so that it can be seized in time.
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
        // Writing fails if the program exits before it has read its input.
        let _ = child.stdin.take().unwrap().write_all(&self.input);
    }
}

struct Run<'a> {
    main: Pid,
    plan: Plan,
    is_possible: IsPossible<'a>,
    /// Whether the shell has executed the program.
    started: bool,
    alive: BTreeSet<Pid>,
    /// The thread whose call was skipped and has to return this error.
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

    /// Handles the next event. Returns false if no process is left.
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
                // No system call has this number, so the kernel does nothing. The error is set when the call returns.
                registers.orig_rax = u64::MAX;
                ptrace::setregs(pid, registers).unwrap();
                self.failing = Some((pid, errno));
            }
            _ => {}
        }
    }
}

/// The peak memory of a process that is about to end, in kB.
fn peak_memory(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default()
}

/// Lets a thread continue. It may have been killed meanwhile: the next wait reports that.
fn go_on(pid: Pid, signal: Option<Signal>) {
    match ptrace::syscall(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("go on with the traced program: {error}"),
    }
}
