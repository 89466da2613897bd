//! The conversation with the runtime: the plugin registers, and answers until the runtime ends.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use prost::Message;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use crate::adjust;
use crate::error::Error;
use crate::fields::Malformed;
use crate::log::{log, printable};
use crate::messages::{
    CREATE_CONTAINER, ConfigureResponse, CreateContainerResponse, PLUGIN, RUNTIME, RegisterPluginRequest,
    Request, Response, Status, SynchronizeResponse,
};
use crate::request;
use crate::synchronize::Existing;
use crate::ttrpc::{self, Frame, MESSAGE_MAX, REQUEST, RESPONSE, Reader, TO_PLUGIN, TO_RUNTIME};
use crate::workers::Workers;

/// `google.rpc.Code`
const UNIMPLEMENTED: i32 = 12;
const INVALID_ARGUMENT: i32 = 3;
const INTERNAL: i32 = 13;
/// Clients count their streams in odd numbers.
const REGISTRATION: u32 = 1;

/// The plugin, as it registers with a runtime.
#[derive(Debug)]
pub(crate) struct Plugin {
    /// The name under which it registers.
    pub name: String,
    /// Its place among other plugins, two digits.
    pub index: String,
    /// link-env's state folder.
    pub state_dir: PathBuf,
    /// The threads that decide. They outlive a session, as one that hangs does.
    pub workers: Workers,
}

/// Registers the plugin and serves, until the runtime closes the connection.
fn run(plugin: &Plugin, stream: UnixStream) -> Result<(), Error> {
    let to = stream.try_clone()?;
    converse(plugin, stream, to)
}

/// The same for a runtime that has to be dialled.
pub(crate) fn dial(plugin: &Plugin, socket: &Path) -> Result<(), Error> {
    let refused = |source| Error::Connect { path: socket.to_owned(), source };
    run(plugin, UnixStream::connect(socket).map_err(refused)?)
}

/// The same for the runtime that started the plugin, by the number of the connection's descriptor. A number alone proves
/// nothing to Rust, so the kernel is asked for a duplicate of this process's own descriptor (`pidfd_getfd(2)`, Linux 5.6).
pub(crate) fn inherit(plugin: &Plugin, descriptor: i32) -> Result<(), Error> {
    let own = pidfd_open(getpid(), PidfdFlags::empty());
    let socket = own.and_then(|own| pidfd_getfd(own, descriptor, PidfdGetfdFlags::empty()));
    let socket = socket.map_err(|errno| Error::Inherit { descriptor, source: errno.into() })?;
    run(plugin, socket.into())
}

/// The same over any pair of streams.
pub(crate) fn converse(plugin: &Plugin, from: impl Read, mut to: impl Write) -> Result<(), Error> {
    let mut reader = Reader::new(from);
    let mut existing = Existing::default();
    ttrpc::write(&mut to, &registration(plugin))?;
    // The runtime configures the plugin before it answers the registration.
    while let Some(Frame { connection, stream, kind, payload }) = reader.read()? {
        match (connection, kind) {
            (TO_PLUGIN, REQUEST) => {
                // A defect in one request must not end the session: other pods need answers.
                let answered =
                    panic::catch_unwind(AssertUnwindSafe(|| answer(plugin, &mut existing, &payload)));
                let response = answered.unwrap_or_else(|_| refusal(INTERNAL, "a defect of cleat-nri"));
                let payload = fitting(&response);
                ttrpc::write(&mut to, &Frame { connection, stream, kind: RESPONSE, payload })?;
            }
            (TO_RUNTIME, RESPONSE) if stream == REGISTRATION => check_registered(&payload)?,
            // Messages of later versions of the protocol.
            _ => {}
        }
    }
    Ok(())
}

/// A response in bytes. One that is too long for a message is replaced by an empty one, and the session goes on.
fn fitting(response: &Response) -> Vec<u8> {
    let length = response.encoded_len();
    if length <= MESSAGE_MAX {
        return response.encode_to_vec();
    }
    log(&format!("an answer of {length} bytes is longer than ttrpc allows: an empty one is sent instead"));
    Response::default().encode_to_vec()
}

fn registration(plugin: &Plugin) -> Frame {
    let request =
        RegisterPluginRequest { plugin_name: plugin.name.clone(), plugin_idx: plugin.index.clone() };
    let payload = request.encode_to_vec();
    let request = Request { service: RUNTIME.to_owned(), method: "RegisterPlugin".to_owned(), payload };
    Frame { connection: TO_RUNTIME, stream: REGISTRATION, kind: REQUEST, payload: request.encode_to_vec() }
}

fn check_registered(payload: &[u8]) -> Result<(), Error> {
    let response = Response::decode(payload)?;
    match response.status {
        Some(Status { code, message }) if code != 0 => Err(Error::Refused(printable(&message, 500))),
        _ => Ok(()),
    }
}

/// Answers a call. An unknown or malformed one is answered by an error, and the session goes on.
fn answer(plugin: &Plugin, existing: &mut Existing, payload: &[u8]) -> Response {
    let Request { service, method, payload } = match Request::decode(payload) {
        Ok(request) => request,
        Err(error) => return refusal(INVALID_ARGUMENT, &error.to_string()),
    };
    let answer = match (service.as_str(), method.as_str()) {
        (PLUGIN, "Configure") => Ok(ConfigureResponse { events: CREATE_CONTAINER }.encode_to_vec()),
        (PLUGIN, "Synchronize") => synchronize(plugin, existing, &payload),
        (PLUGIN, "CreateContainer") => adjust::within_limit(&plugin.state_dir, &plugin.workers, payload)
            .map(|adjust| CreateContainerResponse { adjust }.encode_to_vec()),
        // Events that were not subscribed to, and the end: nothing to do.
        (PLUGIN, "Shutdown" | "StateChange") => Ok(Vec::new()),
        _ => {
            let (method, service) = (printable(&method, 100), printable(&service, 100));
            return refusal(UNIMPLEMENTED, &format!("no method {method} of service {service}"));
        }
    };
    match answer {
        Ok(payload) => Response { status: None, payload },
        Err(malformed) => refusal(INVALID_ARGUMENT, &malformed.to_string()),
    }
}

/// The last step before the first `CreateContainer`: the runtime sends the containers that exist.
fn synchronize(plugin: &Plugin, existing: &mut Existing, payload: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (containers, more) = request::synchronized(payload)?;
    existing.add(&plugin.state_dir, containers);
    if !more {
        std::mem::take(existing).keep(&plugin.state_dir, &plugin.workers);
        log(&format!("joined the runtime as {}-{}", plugin.index, plugin.name));
    }
    Ok(SynchronizeResponse { more }.encode_to_vec())
}

fn refusal(code: i32, message: &str) -> Response {
    Response { status: Some(Status { code, message: message.to_owned() }), payload: Vec::new() }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn plugin() -> Plugin {
        let workers = Workers::default();
        Plugin { name: "cleat-nri".into(), index: "10".into(), state_dir: "/nonexistent".into(), workers }
    }

    /// A runtime that sends these calls and returns the answers, in order.
    fn converse(calls: &[(&str, Vec<u8>)]) -> Vec<Response> {
        let (runtime, stream) = UnixStream::pair().unwrap();
        let served = thread::spawn(move || run(&plugin(), stream));
        let mut to = runtime.try_clone().unwrap();
        let mut reader = Reader::new(runtime.try_clone().unwrap());
        let registration = reader.read().unwrap().unwrap();
        assert_eq!((registration.connection, registration.kind), (TO_RUNTIME, REQUEST));
        let mut answers = Vec::new();
        for (number, (method, payload)) in calls.iter().enumerate() {
            let request =
                Request { service: PLUGIN.into(), method: (*method).into(), payload: payload.clone() };
            let stream = u32::try_from(number).unwrap() * 2 + 1;
            let frame =
                Frame { connection: TO_PLUGIN, stream, kind: REQUEST, payload: request.encode_to_vec() };
            ttrpc::write(&mut to, &frame).unwrap();
            let answer = reader.read().unwrap().unwrap();
            assert_eq!((answer.connection, answer.stream, answer.kind), (TO_PLUGIN, stream, RESPONSE));
            answers.push(Response::decode(answer.payload.as_slice()).unwrap());
        }
        let accepted = Response::default().encode_to_vec();
        let frame = Frame { connection: TO_RUNTIME, stream: 1, kind: RESPONSE, payload: accepted };
        ttrpc::write(&mut to, &frame).unwrap();
        drop((to, reader, runtime));
        served.join().unwrap().unwrap();
        answers
    }

    #[test]
    fn calls_are_answered_while_the_registration_is_under_way() {
        let more = vec![3 << 3, 1];
        let answers = converse(&[
            ("Configure", Vec::new()),
            ("Synchronize", more),
            ("StateChange", Vec::new()),
            ("Unheard", Vec::new()),
            ("CreateContainer", vec![0xff]),
            ("CreateContainer", Vec::new()),
            ("Shutdown", Vec::new()),
        ]);
        let events = ConfigureResponse::decode(answers[0].payload.as_slice()).unwrap().events;
        assert_eq!(events, 0x8);
        assert!(SynchronizeResponse::decode(answers[1].payload.as_slice()).unwrap().more);
        let codes: Vec<i32> =
            answers.iter().map(|answer| answer.status.as_ref().map_or(0, |status| status.code)).collect();
        assert_eq!(codes, [0, 0, 0, UNIMPLEMENTED, INVALID_ARGUMENT, 0, 0]);
        // A container without a pod, or of a pod that link-env does not know, is started as it is.
        let answer = CreateContainerResponse::decode(answers[5].payload.as_slice()).unwrap();
        assert_eq!(answer.adjust, None);
    }

    #[test]
    fn an_answer_that_is_too_long_is_none_and_no_end() {
        let response = |length| Response { status: None, payload: vec![7; length] };
        assert_eq!(fitting(&response(1000)), response(1000).encode_to_vec());
        assert_eq!(fitting(&response(MESSAGE_MAX)), Vec::<u8>::new());
    }

    #[test]
    fn a_refusal_to_register_ends_the_session_with_the_runtimes_message() {
        let (runtime, stream) = UnixStream::pair().unwrap();
        let payload = refusal(2, "not you").encode_to_vec();
        let frame = Frame { connection: TO_RUNTIME, stream: 1, kind: RESPONSE, payload };
        ttrpc::write(&runtime, &frame).unwrap();
        let error = run(&plugin(), stream).unwrap_err();
        assert_eq!(error.to_string(), "the runtime refused to register the plugin: not you");
    }
}
