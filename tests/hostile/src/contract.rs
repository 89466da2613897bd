//! What runtimes pass to plugins: standard input and environment variables.
//!
//! The input takes the whole way from the process boundary to a valid configuration and back, in this process. The plugins
//! only validate it: no request goes to the kernel.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::process::ExitCode;

use cni::schema::Described;
use cni::{
    AddResult, Boundary, Conf, Error, NetworkName, Plugin, Request, Target, Version, case_blind, dispatch,
};
use serde_json::{Map, Value, json};

/// The verbs of CNI, and an unknown one.
const VERBS: [&str; 7] = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "EXPLODE"];
/// The size that no error object may reach, in bytes.
const LONGEST_ERROR: usize = 64 << 10;

/// Bytes on bridge's standard input.
pub fn bridge(bytes: &[u8]) {
    every_verb::<bridge::Bridge>(bytes);
}

/// Bytes on host-local's standard input.
pub fn host_local(bytes: &[u8]) {
    every_verb::<host_local::HostLocal>(bytes);
}

/// Bytes on host-port's standard input.
pub fn host_port(bytes: &[u8]) {
    every_verb::<host_port::HostPort>(bytes);
}

/// Bytes on link-env's standard input.
pub fn link_env(bytes: &[u8]) {
    every_verb::<link_env::LinkEnv>(bytes);
}

/// Bytes on loopback's standard input.
pub fn loopback(bytes: &[u8]) {
    every_verb::<loopback::Loopback>(bytes);
}

fn every_verb<P: Plugin + Described>(stdin: &[u8]) {
    for verb in VERBS {
        let env = Environment::new(verb);
        let answer = answer::<Judge<P>>(&env, stdin);
        assert!(
            verb != "DEL" || answer.is_some() || !is_removable(stdin),
            "a DEL fails although its configuration has all that it needs"
        );
    }
}

/// Whether a configuration is an object with a valid network name. A DEL must not require more.
fn is_removable(stdin: &[u8]) -> bool {
    let name = |object: &Map<String, Value>| {
        let name = case_blind::get(object, "name").and_then(Value::as_str);
        name.is_some_and(|name| NetworkName::new(name).is_ok())
    };
    cni::read_object(stdin).is_ok_and(|object| name(&object))
}

/// The environment of an ADD, for every plugin. The lines are the values of `CNI_ARGS`, `CNI_IFNAME`, `CNI_CONTAINERID`,
/// `CNI_COMMAND` and `CNI_PATH`, and need not be UTF-8. A variable whose line is missing has a valid value.
pub fn cni_args(bytes: &[u8]) {
    let names = ["CNI_ARGS", "CNI_IFNAME", "CNI_CONTAINERID", "CNI_COMMAND", "CNI_PATH"];
    let mut env = Environment::new("ADD");
    for (name, line) in names.into_iter().zip(bytes.split(|byte| *byte == b'\n')) {
        env.0.insert(name, line.to_vec());
    }
    let conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "x",
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}});
    let conf = conf.to_string().into_bytes();
    answer::<Judge<bridge::Bridge>>(&env, &conf);
    answer::<Judge<host_local::HostLocal>>(&env, &conf);
    answer::<Judge<host_port::HostPort>>(&env, &conf);
    answer::<Judge<link_env::LinkEnv>>(&env, &conf);
    answer::<Judge<loopback::Loopback>>(&env, &conf);
}

/// The environment variables of a call.
pub(crate) struct Environment(BTreeMap<&'static str, Vec<u8>>);

impl Environment {
    pub(crate) fn new(verb: &str) -> Self {
        Self::of("c1", verb)
    }

    /// The same for a container. The namespace is that of this process, which no plugin needs to enter.
    pub(crate) fn of(id: &str, verb: &str) -> Self {
        let variables = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", id),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", "/proc/self/ns/net"),
            ("CNI_NETNS_OVERRIDE", "1"),
            ("CNI_ARGS", ""),
            ("CNI_PATH", "/nonexistent"),
        ];
        Self(variables.map(|(name, value)| (name, value.as_bytes().to_vec())).into())
    }

    /// The same with a variable set or replaced.
    pub(crate) fn with(mut self, name: &'static str, value: String) -> Self {
        self.0.insert(name, value.into_bytes());
        self
    }
}

/// Calls a plugin in this process, and checks that its answer is a valid one. Returns `None` if the plugin failed.
pub(crate) fn answer<P: Plugin>(env: &Environment, mut stdin: &[u8]) -> Option<Value> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let variable = |name: &str| {
        let value = env.0.get(name)?.clone();
        Some(String::from_utf8(value).map_err(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    };
    let code = dispatch::<P>(&mut Boundary {
        env: &variable,
        stdin: &mut stdin,
        stdout: &mut stdout,
        stderr: &mut stderr,
    });
    if code == ExitCode::SUCCESS {
        if stdout.is_empty() {
            return Some(Value::Null);
        }
        return Some(serde_json::from_slice(&stdout).expect("what a plugin answers is JSON"));
    }
    assert!(stdout.len() < LONGEST_ERROR, "an error of {} bytes", stdout.len());
    let error: Value = serde_json::from_slice(&stdout).expect("an error is JSON");
    let version = error["cniVersion"].as_str().expect("an error has a version");
    assert!(Version::parse(version).is_ok(), "{error}");
    assert!(error["msg"].as_str().is_some_and(|msg| !msg.is_empty()), "{error}");
    let number = error["code"].as_u64().expect("an error has a code");
    assert!(![0, 999].contains(&number), "a defect: {error}");
    None
}

/// A plugin that validates its input as `P` does, and does nothing else.
struct Judge<P>(PhantomData<P>);

impl<P: Plugin + Described> Judge<P> {
    fn judge(request: &Request, target: Option<&Target>) -> Result<(), Error> {
        // The list of valid attachments is for GC, but is read here for every verb.
        request.conf.valid_attachments()?;
        again(&request.conf);
        P::validate(request, target)
    }
}

/// A `prevResult` that was parsed can be written in the configuration's version and parsed again. In the newest version, which
/// loses nothing, both are equal.
fn again(conf: &Conf) {
    let Some(result) = &conf.prev_result else { return };
    let Ok(value) = result.to_value(conf.version) else { return };
    let read = AddResult::parse(&value, conf.version).expect("what was written can be read");
    if conf.version == Version::NEWEST {
        assert_eq!(&read, result);
    }
}

impl<P: Plugin + Described> Plugin for Judge<P> {
    const NAME: &'static str = P::NAME;
    const ENTERS_NETNS: bool = P::ENTERS_NETNS;

    fn add(request: &Request, target: &Target) -> Result<AddResult, Error> {
        Self::judge(request, Some(target))?;
        Ok(request.conf.prev_result.clone().unwrap_or_default())
    }

    fn del(request: &Request, _: &Target) -> Result<(), Error> {
        again(&request.conf);
        Ok(())
    }

    fn check(request: &Request, target: &Target) -> Result<(), Error> {
        Self::judge(request, Some(target))?;
        request.conf.require_prev_result().map(|_| ())
    }

    fn gc(request: &Request) -> Result<(), Error> {
        again(&request.conf);
        request.conf.valid_attachments().map(|_| ())
    }

    fn status(request: &Request) -> Result<(), Error> {
        Self::judge(request, None)
    }
}
