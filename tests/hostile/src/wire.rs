//! What a runtime says to `cleat-nri`.

use std::path::Path;
use std::sync::Mutex;

use registry::Registry;
use sandbox::nri::field;

use crate::members::{self, Pod, State};

/// There is no link-env here.
const STATE: &str = "/nonexistent";

/// The methods of the plugin's service, and one that it does not have.
const METHODS: [&str; 6] =
    ["CreateContainer", "Synchronize", "Configure", "StateChange", "Shutdown", "Nonsense"];

/// Bytes of the connection; then the same bytes as what a call of `CreateContainer` is about.
pub fn nri(bytes: &[u8]) {
    let _ = cleat_nri::converse(Path::new(STATE), bytes, Vec::new());
    let mut answers = Vec::new();
    let call = call("CreateContainer", bytes);
    let outcome = cleat_nri::converse(Path::new(STATE), call.as_slice(), &mut answers);
    if bytes.len() < 1 << 20 {
        outcome.expect("a call that cannot be read is answered");
        // The registration, and the answer, behind the headers of a frame and a message each.
        assert!(answers.len() > 2 * 18, "{answers:?}");
    }
}

/// A whole session beside a pod, `c1`, that has links and shares its environment: calls, each with a byte for its method, `0`
/// for the first, two for its length, and what it is about. Each is answered, and others go on.
pub fn nri_session(bytes: &[u8]) {
    // Two at a time would look at each other's memory.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|poisoned| {
        ONE.clear_poison();
        poisoned.into_inner()
    });
    let state = State::new();
    let pod = Pod { id: "c1", name: "web", annotations: &[("links", "db"), ("share-env", "true")] };
    for pod in [&members::DB, &pod] {
        state.add(pod).expect("a pod like any other is added");
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
    // The registration is one of them.
    assert_eq!(messages(&answers), calls + 1);
    let other = Pod { id: "c9", name: "other", annotations: &[] };
    state.add(&other).expect("another pod is added");
    state.assert_bounded();
    for id in ["c1", "c2", "c9"] {
        state.del(id);
        assert!(!Registry::at(state.path()).container_dir(id).exists(), "{id} has gone");
    }
}

/// How many messages there are in frames.
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

/// A call of a method of the plugin's service, as a runtime sends it: containerd/ttrpc `request.proto`, fields 1 to 3.
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
