//! A runtime's side of NRI, with just enough of ttrpc and protobuf.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use sandbox::nri::{created, field};

/// The program.
pub(crate) const NRI: &str = env!("CARGO_BIN_EXE_cleat-nri");
const SERVICE: &str = "nri.pkg.api.v1alpha1.Plugin";

/// The payload of `Synchronize` for a container `app` of each of these pods.
pub(crate) fn synchronized(containers: &[(&str, &[u8])]) -> Vec<u8> {
    let container = |(id, more): &(&str, &[u8])| {
        field(2, [&field(1, "c"), &field(2, id)[..], &field(3, "app"), more].concat())
    };
    containers.iter().flat_map(container).collect()
}

/// A runtime with a connected plugin.
pub(crate) struct Runtime {
    socket: UnixStream,
    plugin: Option<Child>,
    stream: u32,
    came: HashMap<u32, Vec<u8>>,
}

impl Runtime {
    /// A runtime that starts its plugin.
    pub(crate) fn new() -> Self {
        Self::with(Stdio::piped())
    }

    /// The same, with this as the plugin's standard error.
    pub(crate) fn with(stderr: Stdio) -> Self {
        let (socket, child) = start(stderr);
        let mut runtime = Self::over(socket);
        runtime.plugin = Some(child);
        runtime
    }

    /// Only starts a plugin, as a runtime does.
    pub(crate) fn start() -> Child {
        start(Stdio::piped()).1
    }

    /// A runtime to which a plugin has connected.
    pub(crate) fn over(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let mut runtime = Self { socket, plugin: None, stream: 1, came: HashMap::new() };
        let registration = runtime.receive(2);
        assert!(registration.windows(14).any(|window| window == b"RegisterPlugin"), "{registration:?}");
        runtime.call("Configure", &[]);
        runtime.call("Synchronize", &[]);
        runtime
    }

    /// Asks about a container, and returns the answer's bytes.
    pub(crate) fn create(&mut self, id: &str, name: &str, of_pod: &[u8], of_container: &[u8]) -> Vec<u8> {
        self.call("CreateContainer", &created(id, name, of_pod, of_container))
    }

    /// Calls a method, and returns the answer's bytes.
    pub(crate) fn call(&mut self, method: &str, payload: &[u8]) -> Vec<u8> {
        let request = [field(1, SERVICE), field(2, method), field(3, payload)].concat();
        let number = |number: usize| u32::try_from(number).unwrap().to_be_bytes();
        let mut message = [number(request.len()), self.stream.to_be_bytes()].concat();
        message.extend([1, 0]);
        message.extend(request);
        self.stream += 2;
        for chunk in message.chunks(4096) {
            self.socket.write_all(&[&number(1)[..], &number(chunk.len()), chunk].concat()).unwrap();
        }
        self.receive(1)
    }

    fn receive(&mut self, connection: u32) -> Vec<u8> {
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        loop {
            let came = self.came.entry(connection).or_default();
            if let Some(header) = came.get(..4) {
                let end = 10 + number(header) as usize;
                if came.len() >= end {
                    return came.drain(..end).skip(10).collect();
                }
            }
            let mut header = [0; 8];
            self.socket.read_exact(&mut header).expect("the plugin stays connected");
            let mut chunk = vec![0; number(&header[4..]) as usize];
            self.socket.read_exact(&mut chunk).unwrap();
            self.came.entry(number(&header[..4])).or_default().extend(chunk);
        }
    }

    pub(crate) fn process(&self) -> u32 {
        self.plugin.as_ref().unwrap().id()
    }

    pub(crate) fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.process())).unwrap().count()
    }

    pub(crate) fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process())).unwrap().count()
    }

    /// The most memory that the plugin had, in KiB.
    pub(crate) fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Closes the connection, and returns the plugin's log.
    pub(crate) fn end(mut self) -> String {
        let plugin = self.plugin.take().unwrap();
        self.socket.shutdown(std::net::Shutdown::Both).unwrap();
        let output = plugin.wait_with_output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{log}");
        log
    }

    /// Kills the plugin.
    pub(crate) fn kill(mut self) {
        let mut plugin = self.plugin.take().unwrap();
        plugin.kill().unwrap();
        plugin.wait().unwrap();
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(mut plugin) = self.plugin.take() {
            let _ = plugin.kill();
            let _ = plugin.wait();
        }
    }
}

fn start(stderr: Stdio) -> (UnixStream, Child) {
    let (runtime, plugin) = UnixStream::pair().unwrap();
    fcntl(&plugin, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let mut command = Command::new(NRI);
    command.env_clear().env("NRI_PLUGIN_NAME", "cleat-nri").env("NRI_PLUGIN_IDX", "10");
    command.env("NRI_PLUGIN_SOCKET", plugin.as_raw_fd().to_string());
    (runtime, command.stderr(stderr).spawn().unwrap())
}
