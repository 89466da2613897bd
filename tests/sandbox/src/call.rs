//! Calling a plugin as a runtime does.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::host::Namespaced;

/// One call of a plugin: the environment and the configuration.
#[derive(Clone, Debug)]
pub struct Call {
    /// The words of the command line: the program, or setpriv(1) and the program.
    command: Vec<PathBuf>,
    env: Vec<(String, String)>,
    conf: Vec<u8>,
}

impl Call {
    /// A call of a program; `CNI_PATH` is its folder.
    #[must_use]
    pub fn new(program: &str, command: &str, conf: &Value) -> Self {
        let path = Path::new(program).parent().unwrap_or(Path::new("/")).display().to_string();
        let call =
            Self { command: vec![program.into()], env: Vec::new(), conf: conf.to_string().into_bytes() };
        call.env("CNI_COMMAND", command).env("CNI_PATH", &path)
    }

    /// The same call for a container.
    #[must_use]
    pub fn of(self, id: &str, netns: &Namespaced, ifname: &str) -> Self {
        let netns = netns.path().display().to_string();
        self.env("CNI_CONTAINERID", id).env("CNI_NETNS", &netns).env("CNI_IFNAME", ifname)
    }

    /// The same call with a variable set or replaced.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same call without a variable.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self
    }

    /// The same call with other bytes on standard input.
    #[must_use]
    pub fn stdin(self, bytes: &[u8]) -> Self {
        Self { conf: bytes.to_vec(), ..self }
    }

    /// The same call by a process that has only these capabilities and can get no others. They are written in lower case and
    /// without `cap_`.
    #[must_use]
    pub fn with_only(self, capabilities: &[&str]) -> Self {
        self.by(only(capabilities).iter().map(String::as_str))
    }

    /// The same call on a host that keeps its state in a folder: `/run/cleat` and `/var/lib/cni` of several hosts in one sandbox
    /// would be the same.
    #[must_use]
    pub fn with_state_in(self, folder: &Path) -> Self {
        let mount = "mkdir -p \"$1/run\" \"$1/lib\" /run/cleat /var/lib/cni && mount --bind \"$1/run\" /run/cleat && \
                     mount --bind \"$1/lib\" /var/lib/cni && shift && exec \"$@\"";
        let folder = folder.display().to_string();
        self.by(["unshare", "--mount", "sh", "-c", mount, "sh", &folder])
    }

    /// The same call by a command that ends with the program: these are the words before it.
    #[must_use]
    pub fn by<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut command: Vec<PathBuf> = words.into_iter().map(PathBuf::from).collect();
        command.append(&mut self.command);
        Self { command, ..self }
    }

    /// The call as a job for the tracer.
    #[cfg(target_arch = "x86_64")]
    #[must_use]
    pub fn job(&self) -> crate::tracer::Job {
        let mut words = self.command.iter().map(|word| word.display().to_string());
        let program = words.next().unwrap_or_default();
        crate::tracer::Job { program, args: words.collect(), env: self.env.clone(), input: self.conf.clone() }
    }

    /// Runs the program, and returns its answer.
    #[must_use]
    pub fn run(&self) -> Answer {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        Answer(run(&mut command, &self.conf))
    }
}

/// The words before a command that leave its process only these capabilities: a command line of setpriv(1) of util-linux.
#[must_use]
pub fn only(capabilities: &[&str]) -> Vec<String> {
    let bounding = capabilities.iter().fold("--bounding-set=-all".to_owned(), |set, name| set + ",+" + name);
    vec!["setpriv".into(), "--no-new-privs".into(), "--inh-caps=-all".into(), bounding, "--".into()]
}

/// Runs a program with bytes on its standard input, and returns its output and status.
#[must_use]
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    // Writing fails if the program exits before it has read its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// A plugin's answer.
#[derive(Debug)]
pub struct Answer(Output);

impl Answer {
    /// The result of a successful ADD or VERSION.
    #[must_use]
    pub fn result(&self) -> Value {
        assert!(self.0.status.success(), "{self:?}");
        self.document()
    }

    /// Asserts success without any output.
    pub fn silent(&self) {
        assert!(self.0.status.success() && self.0.stdout.is_empty(), "{self:?}");
    }

    /// Asserts failure with a valid error object, and returns its code and its text.
    #[must_use]
    pub fn error(&self) -> (u64, String) {
        assert!(!self.0.status.success(), "{self:?}");
        let document = self.document();
        assert!(document["cniVersion"].is_string(), "{document}");
        let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
        assert!(!text("msg").is_empty(), "{document}");
        (document["code"].as_u64().unwrap(), format!("{} ({})", text("msg"), text("details")))
    }

    /// Standard output as one JSON document.
    fn document(&self) -> Value {
        serde_json::from_slice(&self.0.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The program's output and status.
    #[must_use]
    pub fn output(&self) -> &Output {
        &self.0
    }
}
