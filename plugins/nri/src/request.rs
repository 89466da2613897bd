//! What the runtime says of pods and their containers, read in place.
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

    /// Its environment, as key and value, without entries that have no `=` or are not UTF-8.
    pub(crate) fn env(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        Fields::all(self.message, 8).filter_map(|line| text(line).ok()?.split_once('='))
    }

    /// The source of the last mount at a path, which hides the others.
    pub(crate) fn mounted(&self, destination: &str) -> Option<&'a str> {
        let mounts = Fields::all(self.message, 9).filter(|mount| field(mount, 1) == destination);
        mounts.last().map(|mount| field(mount, 3))
    }
}

/// A text of a message, empty where there is none.
fn field(message: &[u8], number: u64) -> &str {
    Fields::all(message, number).last().and_then(|bytes| text(bytes).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use sandbox::nri;

    use super::*;

    #[test]
    fn what_is_seen_is_what_comes_last() {
        let of_pod = [nri::annotation("a", "1"), nri::annotation("b", "2"), nri::annotation("a", "3")];
        let of_container = [
            nri::mount("/etc/hosts", "/one"),
            nri::mount("/etc/hosts", "/two"),
            nri::mount("/etc", "/three"),
            nri::env(&["A=1=2", "odd", "B="]),
            vec![4 << 3, 4],
        ];
        let message = nri::created("0abc", "web", &of_pod.concat(), &of_container.concat());
        let (pod, container) = created(&message).unwrap().unwrap();
        assert_eq!((pod.id, pod.name, container.name, container.pod_id), ("0abc", "web", "app", "0abc"));
        assert_eq!((pod.annotation("a"), pod.annotation("c")), (Some("3"), None));
        assert_eq!((container.mounted("/etc/hosts"), container.mounted("/")), (Some("/two"), None));
        assert_eq!(container.env().collect::<Vec<_>>(), [("A", "1=2"), ("B", "")]);
        assert!(container.is_over);
        assert!(created(&nri::field(1, "")).unwrap().is_none());
        assert!(created(&message[..message.len() - 1]).is_err());
    }
}
