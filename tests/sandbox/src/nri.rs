//! NRI messages as a runtime sends them, in the part of protobuf that they need. The field numbers are those of
//! containerd/nri `pkg/api/api.proto`.

/// A field of a message whose value is a string, bytes or a message.
#[must_use]
pub fn field(number: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let mut bytes = vec![number << 3 | 2];
    let mut length = value.len();
    while length > 0x7f {
        bytes.push(0x80 | u8::try_from(length & 0x7f).unwrap());
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    [&bytes, value].concat()
}

/// A mount, as a field of a container.
#[must_use]
pub fn mount(destination: &str, source: &str) -> Vec<u8> {
    field(9, [field(1, destination), field(2, "bind"), field(3, source)].concat())
}

/// Environment variables, as fields of a container.
#[must_use]
pub fn env(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| field(8, line)).collect()
}

/// An annotation, as a field of a pod.
#[must_use]
pub fn annotation(key: &str, value: &str) -> Vec<u8> {
    field(6, [field(1, key), field(2, value)].concat())
}

/// The request of `CreateContainer` for a container `app` of a pod, with more fields of the pod and of the container.
#[must_use]
pub fn created(id: &str, name: &str, of_pod: &[u8], of_container: &[u8]) -> Vec<u8> {
    let pod = [&field(1, id)[..], &field(2, name), of_pod].concat();
    let container = [&field(2, id)[..], &field(3, "app"), of_container].concat();
    [field(1, pod), field(2, container)].concat()
}
