//! What a runtime says to `cleat-nri`.

use std::path::Path;

/// There is no link-env here.
const STATE: &str = "/nonexistent";

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

/// A call of a method of the plugin's service, as a runtime sends it: containerd/ttrpc `request.proto`, fields 1 to 3.
fn call(method: &str, payload: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    for (field, value) in [(1, &b"nri.pkg.api.v1alpha1.Plugin"[..]), (2, method.as_bytes()), (3, payload)] {
        request.push(field << 3 | 2);
        let mut length = value.len();
        while length > 0x7f {
            request.push(0x80 | u8::try_from(length & 0x7f).unwrap());
            length >>= 7;
        }
        request.push(u8::try_from(length).unwrap());
        request.extend_from_slice(value);
    }
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
