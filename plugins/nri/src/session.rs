//! The conversation with the runtime: the plugin registers, and answers until the runtime ends.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use prost::Message;

use crate::adjust;
use crate::error::Error;
use crate::log;
use crate::messages::{
    CREATE_CONTAINER, ConfigureResponse, CreateContainerRequest, CreateContainerResponse, PLUGIN, RUNTIME,
    RegisterPluginRequest, Request, Response, Status, SynchronizeRequest, SynchronizeResponse,
};
use crate::wire::{self, Frame, REQUEST, RESPONSE, Reader, TO_PLUGIN, TO_RUNTIME};

/// `google.rpc.Code`
const UNIMPLEMENTED: i32 = 12;
const INVALID_ARGUMENT: i32 = 3;
/// Clients count their streams in odd numbers.
const REGISTRATION: u32 = 1;

/// What the plugin is.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    /// Its name and place, by which the runtime knows it.
    pub name: String,
    pub index: String,
    /// link-env's state folder.
    pub state_dir: PathBuf,
}

/// Registers the plugin and serves, until the runtime closes the connection.
pub(crate) fn run(plugin: &Plugin, stream: UnixStream) -> Result<(), Error> {
    let to = stream.try_clone()?;
    converse(plugin, stream, to)
}

/// The same over whatever carries the bytes.
pub(crate) fn converse(plugin: &Plugin, from: impl Read, mut to: impl Write) -> Result<(), Error> {
    let mut reader = Reader::new(from);
    wire::write(&mut to, &registration(plugin))?;
    // The runtime configures the plugin before it answers the registration.
    while let Some(frame) = reader.read()? {
        match (frame.connection, frame.kind) {
            (TO_PLUGIN, REQUEST) => {
                let response = match Request::decode(frame.payload.as_slice()) {
                    Ok(request) => answer(plugin, &request),
                    Err(error) => refusal(INVALID_ARGUMENT, error.to_string()),
                };
                let payload = response.encode_to_vec();
                wire::write(&mut to, &Frame { kind: RESPONSE, payload, ..frame })?;
            }
            (TO_RUNTIME, RESPONSE) if frame.stream == REGISTRATION => check_registered(&frame)?,
            // Later versions may say more than this one knows.
            _ => {}
        }
    }
    Ok(())
}

fn registration(plugin: &Plugin) -> Frame {
    let request =
        RegisterPluginRequest { plugin_name: plugin.name.clone(), plugin_idx: plugin.index.clone() };
    let payload = request.encode_to_vec();
    let request = Request { service: RUNTIME.to_owned(), method: "RegisterPlugin".to_owned(), payload };
    Frame { connection: TO_RUNTIME, stream: REGISTRATION, kind: REQUEST, payload: request.encode_to_vec() }
}

fn check_registered(frame: &Frame) -> Result<(), Error> {
    let response = Response::decode(frame.payload.as_slice())?;
    match response.status {
        Some(Status { code, message }) if code != 0 => Err(Error::Refused(message)),
        _ => Ok(()),
    }
}

/// Answers a call. One that is not known, or cannot be read, is an error to the runtime and no more.
fn answer(plugin: &Plugin, request: &Request) -> Response {
    let Request { service, method, payload } = request;
    let answer = match (service.as_str(), method.as_str()) {
        (PLUGIN, "Configure") => Ok(ConfigureResponse { events: CREATE_CONTAINER }.encode_to_vec()),
        (PLUGIN, "Synchronize") => SynchronizeRequest::decode(payload.as_slice()).map(|request| {
            // The last step before containers are asked about.
            if !request.more {
                log(&format!("joined the runtime as {}-{}", plugin.index, plugin.name));
            }
            SynchronizeResponse { more: request.more }.encode_to_vec()
        }),
        (PLUGIN, "CreateContainer") => CreateContainerRequest::decode(payload.as_slice()).map(|request| {
            let adjust = adjust::within_limit(&plugin.state_dir, request);
            CreateContainerResponse { adjust }.encode_to_vec()
        }),
        // Events that nobody asked for, and the end: nothing to do, and nothing to say.
        (PLUGIN, "Shutdown" | "StateChange") => Ok(Vec::new()),
        _ => {
            return refusal(UNIMPLEMENTED, format!("no method {method} of service {service}"));
        }
    };
    match answer {
        Ok(payload) => Response { status: None, payload },
        Err(error) => refusal(INVALID_ARGUMENT, error.to_string()),
    }
}

fn refusal(code: i32, message: String) -> Response {
    Response { status: Some(Status { code, message }), payload: Vec::new() }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn plugin() -> Plugin {
        Plugin { name: "cleat-nri".into(), index: "10".into(), state_dir: "/nonexistent".into() }
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
            wire::write(&mut to, &frame).unwrap();
            let answer = reader.read().unwrap().unwrap();
            assert_eq!((answer.connection, answer.stream, answer.kind), (TO_PLUGIN, stream, RESPONSE));
            answers.push(Response::decode(answer.payload.as_slice()).unwrap());
        }
        let accepted = Response::default().encode_to_vec();
        let frame = Frame { connection: TO_RUNTIME, stream: 1, kind: RESPONSE, payload: accepted };
        wire::write(&mut to, &frame).unwrap();
        drop((to, reader, runtime));
        served.join().unwrap().unwrap();
        answers
    }

    #[test]
    fn calls_are_answered_while_the_registration_is_under_way() {
        let more = SynchronizeRequest { more: true }.encode_to_vec();
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
    fn a_runtime_that_refuses_the_plugin_is_told_of() {
        let (runtime, stream) = UnixStream::pair().unwrap();
        let payload = refusal(2, "not you".into()).encode_to_vec();
        let frame = Frame { connection: TO_RUNTIME, stream: 1, kind: RESPONSE, payload };
        wire::write(&runtime, &frame).unwrap();
        let error = run(&plugin(), stream).unwrap_err();
        assert_eq!(error.to_string(), "the runtime refused to register the plugin: not you");
    }
}
