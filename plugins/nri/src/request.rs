//! What the runtime says of pods and their containers, read where it lies.
//!
//! Numbers: containerd/nri `pkg/api/api.proto`.

use crate::fields::{Fields, Malformed, Value, text};

/// The state of a container that has ended (`ContainerState.CONTAINER_STOPPED`).
const STOPPED: u64 = 4;

/// A pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodSandbox<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a str,
    message: &'a [u8],
}

/// A container of a pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Container<'a> {
    pub(crate) pod_id: &'a str,
    pub(crate) name: &'a str,
    /// Whether it has ended.
    pub(crate) is_over: bool,
    message: &'a [u8],
}

/// The pod and the container of a `CreateContainerRequest`; `None` where it is not about one of a pod.
pub(crate) fn created(message: &[u8]) -> Result<Option<(PodSandbox<'_>, Container<'_>)>, Malformed> {
    let (mut pod, mut container) = (None, None);
    for field in Fields::of(message) {
        match field? {
            (1, Value::Bytes(bytes)) => pod = Some(PodSandbox::read(bytes)?),
            (2, Value::Bytes(bytes)) => container = Some(Container::read(bytes)?),
            _ => {}
        }
    }
    Ok(pod.zip(container))
}

/// The containers of a `SynchronizeRequest`, and whether there is more to come.
pub(crate) fn synchronized(message: &[u8]) -> Result<(impl Iterator<Item = Container<'_>>, bool), Malformed> {
    let mut more = false;
    for field in Fields::of(message) {
        if let (3, Value::Number(number)) = field? {
            more = number != 0;
        }
    }
    let containers = Fields::all(message, 2).filter_map(|bytes| Container::read(bytes).ok());
    Ok((containers, more))
}

impl<'a> PodSandbox<'a> {
    fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut pod = Self { message, ..Self::default() };
        for field in Fields::of(message) {
            match field? {
                (1, Value::Bytes(bytes)) => pod.id = text(bytes)?,
                (2, Value::Bytes(bytes)) => pod.name = text(bytes)?,
                (4, Value::Bytes(bytes)) => pod.namespace = text(bytes)?,
                _ => {}
            }
        }
        Ok(pod)
    }

    /// The value of an annotation.
    pub(crate) fn annotation(&self, key: &str) -> Option<&'a str> {
        let entries = Fields::all(self.message, 6).map(|entry| (field(entry, 1), field(entry, 2)));
        entries.filter(|(known, _)| *known == key).last().map(|(_, value)| value)
    }
}

impl<'a> Container<'a> {
    fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut container = Self { message, ..Self::default() };
        for field in Fields::of(message) {
            match field? {
                (2, Value::Bytes(bytes)) => container.pod_id = text(bytes)?,
                (3, Value::Bytes(bytes)) => container.name = text(bytes)?,
                (4, Value::Number(state)) => container.is_over = state == STOPPED,
                _ => {}
            }
        }
        Ok(container)
    }

    /// Its environment, as `KEY` and value. What has no `=`, or is no text, is none.
    pub(crate) fn env(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        Fields::all(self.message, 8).filter_map(|line| text(line).ok()?.split_once('='))
    }

    /// The source of what is mounted at a path last, and so is seen there.
    pub(crate) fn mounted(&self, destination: &str) -> Option<&'a str> {
        let mounts = Fields::all(self.message, 9).filter(|mount| field(mount, 1) == destination);
        mounts.last().map(|mount| field(mount, 3))
    }
}

/// A text of a message, empty where there is none.
fn field(message: &[u8], number: u64) -> &str {
    Fields::all(message, number).last().and_then(|bytes| text(bytes).ok()).unwrap_or_default()
}

/// Messages as a runtime makes them, for tests.
#[cfg(test)]
pub(crate) mod make {
    /// A text or a message as a field.
    pub(crate) fn field(number: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
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

    pub(crate) fn mount(destination: &str, source: &str) -> Vec<u8> {
        field(9, [field(1, destination), field(2, "bind"), field(3, source)].concat())
    }

    pub(crate) fn env(lines: &[&str]) -> Vec<u8> {
        lines.iter().flat_map(|line| field(8, line)).collect()
    }

    pub(crate) fn annotation(key: &str, value: &str) -> Vec<u8> {
        field(6, [field(1, key), field(2, value)].concat())
    }

    /// A request for container `app` of a pod `web`, with further fields of either.
    pub(crate) fn created(pod_id: &str, of_pod: &[u8], of_container: &[u8]) -> Vec<u8> {
        let pod = [&field(1, pod_id)[..], &field(2, "web"), of_pod].concat();
        let container = [&field(2, pod_id)[..], &field(3, "app"), of_container].concat();
        [field(1, pod), field(2, container)].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_is_what_comes_last() {
        let of_pod = [make::annotation("a", "1"), make::annotation("b", "2"), make::annotation("a", "3")];
        let of_container = [
            make::mount("/etc/hosts", "/one"),
            make::mount("/etc/hosts", "/two"),
            make::mount("/etc", "/three"),
            make::env(&["A=1=2", "odd", "B="]),
            vec![4 << 3, 4],
        ];
        let message = make::created("0abc", &of_pod.concat(), &of_container.concat());
        let (pod, container) = created(&message).unwrap().unwrap();
        assert_eq!((pod.id, pod.name, container.name, container.pod_id), ("0abc", "web", "app", "0abc"));
        assert_eq!((pod.annotation("a"), pod.annotation("c")), (Some("3"), None));
        assert_eq!((container.mounted("/etc/hosts"), container.mounted("/")), (Some("/two"), None));
        assert_eq!(container.env().collect::<Vec<_>>(), [("A", "1=2"), ("B", "")]);
        assert!(container.is_over);
        assert!(created(&make::field(1, "")).unwrap().is_none());
        assert!(created(&message[..message.len() - 1]).is_err());
    }
}
