//! The bytes that a runtime sends to `cleat-nri`.

use std::path::Path;
use std::sync::Mutex;

use registry::Registry;
use sandbox::nri::field;

use crate::members::{self, Pod, State};

/// A state folder that does not exist, as where link-env has never run.
const STATE: &str = "/nonexistent";

/// The methods of the NRI plugin service, and an unknown one.
const METHODS: [&str; 6] =
    ["CreateContainer", "Synchronize", "Configure", "StateChange", "Shutdown", "Nonsense"];

/// The bytes as those of the whole connection, then as the request of a `CreateContainer` call.
pub fn nri(bytes: &[u8]) {
    let _ = cleat_nri::converse(Path::new(STATE), bytes, Vec::new());
    let mut answers = Vec::new();
    let call = call("CreateContainer", bytes);
    let outcome = cleat_nri::converse(Path::new(STATE), call.as_slice(), &mut answers);
    if bytes.len() < 1 << 20 {
        outcome.expect("an invalid request is answered, and the session goes on");
        // There are two messages, the registration and the answer. The headers of each are a frame's 8 bytes and a message's 10.
        assert!(answers.len() > 2 * 18, "{answers:?}");
    }
}

/// A whole session, on a node with a pod `c1` that has links and shares its environment. The bytes are calls: a byte for the
/// method (`0` is the first), two for the length of the request, and the request. Each call is answered. Other pods are
/// added and removed as always.
pub fn nri_session(bytes: &[u8]) {
    // One session at a time: several in one process could disturb each other.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|poisoned| {
        ONE.clear_poison();
        poisoned.into_inner()
    });
    let state = State::new();
    let pod = Pod { id: "c1", name: "web", annotations: &[("links", "db"), ("share-env", "true")] };
    for pod in [&members::DB, &pod] {
        state.add(pod).expect("an ordinary pod is added");
    }
    let (mut frames, mut calls, mut rest) = (Vec::new(), 0, bytes);
    while let Some((&[method, high, low], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(after.len());
        let (payload, after) = after.split_at(length);
        let method = METHODS[usize::from(method.wrapping_sub(b'0')) % METHODS.len()];
        frames.extend(call(method, payload));
        (calls, rest) = (calls + 1, after);
        if calls == 50 {
            break;
        }
    }
    let mut answers = Vec::new();
    cleat_nri::converse(state.path(), frames.as_slice(), &mut answers).expect("the session goes on");
    // One more message than calls: the registration.
    assert_eq!(messages(&answers), calls + 1);
    let other = Pod { id: "c9", name: "other", annotations: &[] };
    state.add(&other).expect("another pod is added");
    state.assert_bounded();
    for id in ["c1", "c2", "c9"] {
        state.del(id);
        assert!(!Registry::at(state.path()).container_dir(id).exists(), "{id} is left");
    }
}

/// The number of messages in frames.
fn messages(mut frames: &[u8]) -> usize {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap()) as usize;
    let mut connections = [Vec::new(), Vec::new()];
    while let Some((header, after)) = frames.split_first_chunk::<8>() {
        let (chunk, after) = after.split_at(number(&header[4..]));
        connections[number(&header[..4]) - 1].extend_from_slice(chunk);
        frames = after;
    }
    let count = |mut messages: &[u8]| {
        let mut count = 0;
        while let Some(length) = messages.get(..4) {
            messages = &messages[10 + number(length)..];
            count += 1;
        }
        count
    };
    connections.iter().map(|messages| count(messages)).sum()
}

/// The frames of a call of the plugin service, as a runtime sends them. The request has the fields 1 to 3 of containerd/ttrpc
/// `request.proto`.
fn call(method: &str, payload: &[u8]) -> Vec<u8> {
    let request = [field(1, "nri.pkg.api.v1alpha1.Plugin"), field(2, method), field(3, payload)].concat();
    let length = |bytes: usize| u32::try_from(bytes).unwrap().to_be_bytes();
    let mut message = [length(request.len()), length(1)].concat();
    message.extend([1, 0]);
    message.extend(request);
    let mut frames = Vec::new();
    for chunk in message.chunks(4096) {
        frames.extend([length(1), length(chunk.len())].concat());
        frames.extend_from_slice(chunk);
    }
    frames
}
