//! What one container is given: variables of its pod's links, and the pod's hosts file.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use link_env::{Given, Pod};
use registry::Registry;

use crate::away;
use crate::fields::Malformed;
use crate::hosts_file;
use crate::log::{log, name};
use crate::messages::{ContainerAdjustment, KeyValue, Mount};
use crate::request::{Container, PodSandbox, created};
use crate::workers::Workers;

/// The runtime waits for the answer with the container, and for two seconds at most. Registry and files take a
/// thousandth of that; what takes longer hangs.
const LIMIT: Duration = Duration::from_millis(90);

/// A pod with this annotation offers its containers' environment to those who link to it. They may hold secrets, so it
/// is for the pod's author to say.
const SHARE: &str = "link-env.cni/share-env";
pub(crate) const HOSTS: &str = "/etc/hosts";

/// What a container offers to links at most, and what it is given, in bytes of `KEY=value` with an end each. A message
/// may have four mebibytes, a process two, with what it has besides.
const OFFERED: usize = 64 << 10;
const GIVEN: usize = 1 << 20;

/// Decides for the container of a `CreateContainerRequest`. Where the registry is busy for too long, the container gets
/// what its pod was given when it joined the network.
pub(crate) fn within_limit(
    state_dir: &Path,
    workers: &Workers,
    request: Vec<u8>,
) -> Result<Option<ContainerAdjustment>, Malformed> {
    let request = Arc::new(request);
    let Some((pod, container)) = created(&request)? else {
        return Ok(None);
    };
    let decided = {
        let (state_dir, request) = (state_dir.to_owned(), Arc::clone(&request));
        workers.run(LIMIT, move || match created(&request) {
            Ok(Some((pod, container))) => adjust(&state_dir, &pod, &container),
            _ => Ok(None),
        })
    };
    let trouble = match decided {
        Ok(Ok(adjustment)) => return Ok(adjustment),
        Ok(Err(error)) => error.to_string(),
        Err(trouble) => trouble.to_string(),
    };
    let what = what(&pod, &container);
    let Some(given) = Given::read(state_dir, pod.id) else {
        tell(state_dir, &pod, &format!("{what} starts without links: {trouble}"));
        return Ok(None);
    };
    tell(state_dir, &pod, &format!("{what} starts with links as they were when the pod started: {trouble}"));
    let variables = bounded(state_dir, &pod, &container, given.environment);
    Ok(Some(adjustment(variables, &given.hosts, &container, &place(pod.id, &container))))
}

fn adjust(
    state_dir: &Path,
    pod: &PodSandbox<'_>,
    container: &Container<'_>,
) -> Result<Option<ContainerAdjustment>, link_env::Error> {
    // Before the lock: a file may take its time.
    let place = place(pod.id, container);
    let entries = match place {
        Place::Kubelets(file) => hosts_file::read(Path::new(file)),
        Place::Free | Place::Taken(_) => hosts_file::Entries::default(),
    };
    let offer = (pod.annotation(SHARE) == Some("true")).then(|| offered(container));
    let Some(attached) = Pod::find(state_dir, pod.id)? else {
        return Ok(None);
    };
    let what = what(pod, container);
    // Where the network does not let it, ADD has told.
    let offer = if offer.is_some() && attached.may_offer_environment()? { offer } else { None };
    if let Some(Offer { variables, left_out }) = offer {
        if !left_out.is_empty() {
            let some: Vec<String> = left_out.iter().take(3).map(|key| name(key)).collect();
            tell(
                state_dir,
                pod,
                &format!(
                    "{what} offers more than {OFFERED} bytes of environment to links: {} of its {} variables are \
                     left out, {} first",
                    left_out.len(),
                    left_out.len() + variables.len(),
                    some.join(", "),
                ),
            );
        }
        let trouble = match attached.offer_environment(&variables) {
            Ok(0) => None,
            // Other containers of the pod, and its annotations, count as well.
            Ok(left_out) => Some(format!("{left_out} variables of it, as the pod offers as many as it may")),
            Err(error) => Some(error.to_string()),
        };
        if let Some(trouble) = trouble {
            tell(state_dir, pod, &format!("{what} does not offer its environment to links: {trouble}"));
        }
    }
    if let Place::Taken(by) = place {
        tell(state_dir, pod, &format!("{what} keeps its own {HOSTS}, {}", name(by)));
    } else {
        if entries.is_cut {
            tell(
                state_dir,
                pod,
                &format!(
                    "{what}: kubelet's hosts file has too many entries: those after the first {} are left out",
                    entries.hosts.len()
                ),
            );
        }
        let trouble = match attached.add_extra_hosts(&entries.hosts) {
            Ok(0) => None,
            Ok(left_out) => Some(format!("{left_out} of them, as the pod has as many as it may")),
            Err(error) => Some(error.to_string()),
        };
        if let Some(trouble) = trouble {
            tell(
                state_dir,
                pod,
                &format!("{what} starts without the entries of kubelet's hosts file: {trouble}"),
            );
        }
    }
    let variables = bounded(state_dir, pod, container, attached.environment()?);
    away::is_served(&attached, container);
    Ok(Some(adjustment(variables, &attached.hosts(), container, &place)))
}

/// Tells what a pod did not get, in the log and to `cleat check`.
fn tell(state_dir: &Path, pod: &PodSandbox<'_>, text: &str) {
    log(text);
    if let Err(error) = Registry::at(state_dir).note(pod.id, &crate::log::printable(text, 1000)) {
        log(&format!("keep that for cleat check: {error}"));
    }
}

/// A container in words, none of whose names is trusted.
fn what(pod: &PodSandbox<'_>, container: &Container<'_>) -> String {
    let slash = if pod.namespace.is_empty() { "" } else { "/" };
    format!("container {} of pod {}{slash}{}", name(container.name), name(pod.namespace), name(pod.name))
}

/// The variables, or none where they are too many for an answer.
fn bounded(
    state_dir: &Path,
    pod: &PodSandbox<'_>,
    container: &Container<'_>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Vec<(String, String)> {
    let variables: Vec<(String, String)> = variables.into_iter().collect();
    let bytes: usize = variables.iter().map(|(key, value)| size(key, value)).sum();
    if bytes <= GIVEN {
        return variables;
    }
    let what = what(pod, container);
    let text = format!(
        "{what} starts without the variables of its links: they take {bytes} bytes, of {GIVEN} at most"
    );
    tell(state_dir, pod, &text);
    Vec::new()
}

/// What a variable takes in an environment.
fn size(key: &str, value: &str) -> usize {
    key.len() + value.len() + 2
}

fn adjustment(
    variables: Vec<(String, String)>,
    hosts: &Path,
    container: &Container<'_>,
    place: &Place<'_>,
) -> ContainerAdjustment {
    let mounts = match place {
        Place::Free | Place::Kubelets(_) => vec![mount(hosts)],
        Place::Taken(_) => Vec::new(),
    };
    ContainerAdjustment { env: missing(variables, container), mounts }
}

/// Whose the container's `/etc/hosts` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// Nobody's, or the runtime's own copy of the node's.
    Free,
    /// kubelet's, whose entries stay.
    Kubelets(&'a str),
    /// That of the pod's author, who mounts a file there.
    Taken(&'a str),
}

/// Judged by the file's path alone, which only kubelet and the runtime choose: what an author mounts is not opened, as it
/// may hang, and may begin as kubelet's does.
pub(crate) fn place<'a>(pod_id: &str, container: &Container<'a>) -> Place<'a> {
    let Some(source) = container.mounted(HOSTS) else {
        return Place::Free;
    };
    let has = |name: &str| source.split('/').any(|part| part == name);
    // The runtime's copy lies in a folder of the pod.
    if !pod_id.is_empty() && has(pod_id) {
        Place::Free
    } else if source.ends_with("/etc-hosts") && !has("volumes") && !has("volume-subpaths") {
        Place::Kubelets(source)
    } else {
        Place::Taken(source)
    }
}

/// link-env rewrites the file in place, so the container follows. It lies where all containers' files are: who may write to
/// it can fill that.
fn mount(hosts: &Path) -> Mount {
    let access = if link_env::is_writable(hosts) { "rw" } else { "ro" };
    Mount {
        destination: HOSTS.to_owned(),
        kind: "bind".to_owned(),
        source: hosts.display().to_string(),
        options: ["rbind", "rprivate", access].map(str::to_owned).to_vec(),
    }
}

/// The variables that the container does not set itself: its own win, as in Docker.
fn missing(variables: Vec<(String, String)>, container: &Container<'_>) -> Vec<KeyValue> {
    let given: HashSet<&str> = variables.iter().map(|(key, _)| key.as_str()).collect();
    let own: HashSet<&str> = container.env().map(|(key, _)| key).filter(|key| given.contains(key)).collect();
    let is_missing: Vec<bool> = variables.iter().map(|(key, _)| !own.contains(key.as_str())).collect();
    let missing = variables.into_iter().zip(is_missing).filter(|(_, is_missing)| *is_missing);
    missing.map(|((key, value), _)| KeyValue { key, value }).collect()
}

/// What a container's environment offers to others.
#[derive(Debug, Default)]
struct Offer<'a> {
    variables: BTreeMap<String, String>,
    /// The names of those for which there is no room.
    left_out: Vec<&'a str>,
}

/// All but what the runtime and kubelet put there, as far as there is room.
fn offered<'a>(container: &Container<'a>) -> Offer<'a> {
    let (mut offer, mut room) = (Offer::default(), OFFERED);
    for (key, value) in container.env() {
        if key == "HOSTNAME" || key.starts_with("KUBERNETES_") {
            continue;
        }
        // Of two of one name, the last is the one that the process has.
        let before = offer.variables.remove(key);
        room += before.map_or(0, |before| size(key, &before));
        match room.checked_sub(size(key, value)) {
            Some(left) => {
                room = left;
                offer.variables.insert(key.to_owned(), value.to_owned());
            }
            None => offer.left_out.push(key),
        }
    }
    offer
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sandbox::nri;

    use super::*;

    fn container(of_container: &[u8], judge: impl FnOnce(&PodSandbox<'_>, &Container<'_>)) {
        let message = nri::created("0abc", "web", &[], of_container);
        let (pod, container) = created(&message).unwrap().unwrap();
        judge(&pod, &container);
    }

    #[test]
    fn the_containers_own_variables_win() {
        let links = [("DB_PORT", "tcp://10.1.0.2:5432"), ("DB_NAME", "/web/db")];
        let links = links.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        container(&nri::env(&["DB_PORT=mine", "PATH=/bin", "odd"]), |_, container| {
            let added = missing(links, container);
            assert_eq!(added, [KeyValue { key: "DB_NAME".into(), value: "/web/db".into() }]);
        });
    }

    #[test]
    fn a_container_offers_what_its_author_set_as_far_as_there_is_room() {
        let (large, small) =
            (format!("LARGE={}", "x".repeat(OFFERED - 20)), format!("SECOND={}", "y".repeat(30)));
        let env = [
            "PG=old",
            "PG=9=3",
            "HOSTNAME=db",
            "KUBERNETES_PORT=tcp://10.0.0.1:443",
            "odd",
            &large,
            &small,
            "Z=",
        ];
        container(&nri::env(&env), |_, container| {
            let Offer { variables, left_out } = offered(container);
            assert_eq!(variables.keys().collect::<Vec<_>>(), ["LARGE", "PG", "Z"]);
            assert_eq!((variables["PG"].as_str(), left_out), ("9=3", vec!["SECOND"]));
        });
    }

    #[test]
    fn a_hosts_file_that_the_author_mounts_stays() {
        for (source, expected) in [
            ("/var/lib/kubelet/pods/1-2/volume-subpaths/files/app/0", Place::Taken as fn(_) -> _),
            ("/var/lib/kubelet/pods/1-2/volumes/kubernetes.io~empty-dir/files/etc-hosts", Place::Taken),
            ("/srv/of-0abc", Place::Taken),
            ("/var/lib/kubelet/pods/1-2/etc-hosts", Place::Kubelets),
            ("/run/containerd/io.containerd.grpc.v1.cri/sandboxes/0abc/hosts", |_| Place::Free),
        ] {
            container(&nri::mount(HOSTS, source), |pod, container| {
                assert_eq!(place(pod.id, container), expected(source));
                // A runtime that tells no ID has no folder of it.
                assert_ne!(place("", container), Place::Free);
            });
        }
    }

    /// Somebody holds the registry for ever: the container starts all the same, and soon, with what is there.
    #[test]
    fn a_registry_that_hangs_does_not_hold_up_a_container() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("state");
        let locked = Registry::at(&state_dir).lock().unwrap();
        let workers = Workers::default();
        let request = nri::created("0abc", "web", &[], &[]);
        assert_eq!(within_limit(&state_dir, &workers, request.clone()), Ok(None));
        let files = state_dir.join("containers/0abc");
        fs::create_dir_all(&files).unwrap();
        fs::write(files.join("env.json"), r#"{"DB_NAME":"/web/db"}"#).unwrap();
        let adjustment = within_limit(&state_dir, &workers, request.clone()).unwrap().unwrap();
        assert_eq!(adjustment.env, [KeyValue { key: "DB_NAME".into(), value: "/web/db".into() }]);
        assert_eq!(adjustment.mounts[0].source, files.join("hosts").display().to_string());
        assert_eq!(adjustment.mounts[0].options.last().unwrap(), "ro");
        fs::write(files.join("writable"), "").unwrap();
        assert_eq!(mount(&files.join("hosts")).options.last().unwrap(), "rw");
        let notes = Registry::at(&state_dir).notes("0abc").unwrap();
        assert!(notes.len() == 1 && notes[0].contains("the registry did not answer within"), "{notes:?}");
        // What a pod joined with before there were bounds.
        let large = format!(r#"{{"A":"{0}","B":"{0}"}}"#, "x".repeat(GIVEN / 2));
        fs::write(files.join("env.json"), large).unwrap();
        let adjustment = within_limit(&state_dir, &workers, request).unwrap().unwrap();
        assert_eq!((adjustment.env.len(), adjustment.mounts.len()), (0, 1));
        drop(locked);
    }
}
