//! What one container is given: variables of its pod's links, and the pod's hosts file.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use link_env::{Given, Pod};
use registry::Registry;

use crate::fields::Malformed;
use crate::hosts_file;
use crate::hosts_owner::{HOSTS, HostsOwner};
use crate::log::{log, name, printable};
use crate::messages::{ContainerAdjustment, KeyValue, Mount};
use crate::request::{Container, PodSandbox, created};
use crate::synchronize;
use crate::workers::Workers;

/// The runtime creates the container after the answer, and waits for two seconds at most. Registry and files take a
/// thousandth of that; what takes longer hangs.
const LIMIT: Duration = Duration::from_millis(90);

/// A pod with this annotation offers its containers' environment to containers with a link to it. It may hold secrets, so
/// the pod's author decides.
const SHARE: &str = "link-env.cni/share-env";

/// How much environment a container offers to links at most, and how much it is given, in bytes of `KEY=value` with an end
/// each. A message may have four mebibytes; a process may have two, its arguments included.
const OFFERED: usize = 64 << 10;
const GIVEN: usize = 1 << 20;

/// Decides for the container of a `CreateContainerRequest`. Where the registry is locked for too long, the container gets
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
            Ok(Some((pod, container))) => Creation::new(&state_dir, &pod, &container).adjust(),
            _ => Ok(None),
        })
    };
    let trouble = match decided {
        Ok(Ok(adjustment)) => return Ok(adjustment),
        Ok(Err(error)) => error.to_string(),
        Err(trouble) => trouble.to_string(),
    };
    let creation = Creation::new(state_dir, &pod, &container);
    let Some(given) = Given::read(state_dir, pod.id) else {
        creation.note(format_args!("starts without links: {trouble}"));
        return Ok(None);
    };
    creation.note(format_args!("starts with links as they were when the pod started: {trouble}"));
    Ok(Some(creation.adjustment(given.environment, &given.hosts)))
}

/// A container that the runtime is about to create, and its pod.
struct Creation<'a> {
    state_dir: &'a Path,
    pod: &'a PodSandbox<'a>,
    container: &'a Container<'a>,
    hosts: HostsOwner<'a>,
}

impl<'a> Creation<'a> {
    fn new(state_dir: &'a Path, pod: &'a PodSandbox<'a>, container: &'a Container<'a>) -> Self {
        Self { state_dir, pod, container, hosts: HostsOwner::of(pod.id, container) }
    }

    fn adjust(&self) -> Result<Option<ContainerAdjustment>, link_env::Error> {
        // Before link-env's lock: a file may take its time.
        let entries = match self.hosts {
            HostsOwner::Kubelet(file) => hosts_file::read(Path::new(file)),
            HostsOwner::Runtime | HostsOwner::Author(_) => hosts_file::Entries::default(),
        };
        let offer = (self.pod.annotation(SHARE) == Some("true")).then(|| offered(self.container));
        let Some(pod) = Pod::find(self.state_dir, self.pod.id)? else {
            return Ok(None);
        };
        // Where the network does not allow it, ADD has said so.
        if let Some(offer) = offer
            && pod.may_offer_environment()?
        {
            self.offer_environment(&pod, &offer);
        }
        match self.hosts {
            HostsOwner::Author(file) => self.note(format_args!("keeps its own {HOSTS}, {}", name(file))),
            HostsOwner::Runtime | HostsOwner::Kubelet(_) => self.keep_entries(&pod, &entries),
        }
        let adjustment = self.adjustment(pod.environment()?, &pod.hosts());
        synchronize::is_served(&pod, self.container);
        Ok(Some(adjustment))
    }

    fn offer_environment(&self, pod: &Pod<'_>, offer: &Offer<'_>) {
        let Offer { variables, left_out } = offer;
        if !left_out.is_empty() {
            let some: Vec<String> = left_out.iter().take(3).map(|key| name(key)).collect();
            self.note(format_args!(
                "offers more than {OFFERED} bytes of environment to links: {} of its {} variables are left out, {} \
                 first",
                left_out.len(),
                left_out.len() + variables.len(),
                some.join(", "),
            ));
        }
        let trouble = match pod.offer_environment(variables) {
            Ok(0) => return,
            // Other containers of the pod, and its annotations, count as well.
            Ok(left_out) => format!("{left_out} variables of it, as the pod offers as many as it may"),
            Err(error) => error.to_string(),
        };
        self.note(format_args!("does not offer its environment to links: {trouble}"));
    }

    /// Takes the entries of kubelet's hosts file into the pod's.
    fn keep_entries(&self, pod: &Pod<'_>, entries: &hosts_file::Entries) {
        if entries.is_cut {
            self.note(format_args!(
                "starts without some entries: kubelet's hosts file has too many entries, and those after the first {} are left out",
                entries.hosts.len()
            ));
        }
        let trouble = match pod.add_extra_hosts(&entries.hosts) {
            Ok(0) => return,
            Ok(left_out) => format!("{left_out} of them, as the pod has as many as it may"),
            Err(error) => error.to_string(),
        };
        self.note(format_args!("starts without the entries of kubelet's hosts file: {trouble}"));
    }

    /// What the runtime is to add: variables, unless they are too many for an answer, and the mount.
    fn adjustment(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
        hosts: &Path,
    ) -> ContainerAdjustment {
        let mut variables: Vec<(String, String)> = environment.into_iter().collect();
        let bytes: usize = variables.iter().map(|(key, value)| size(key, value)).sum();
        if bytes > GIVEN {
            self.note(format_args!(
                "starts without the variables of its links: they take {bytes} bytes, of {GIVEN} at most"
            ));
            variables.clear();
        }
        let mounts = match self.hosts {
            HostsOwner::Runtime | HostsOwner::Kubelet(_) => vec![mount(hosts)],
            HostsOwner::Author(_) => Vec::new(),
        };
        ContainerAdjustment { env: missing(variables, self.container), mounts }
    }

    /// Reports what the container did not get, in the log and to `cleat check`. No name in it is trusted.
    fn note(&self, what: fmt::Arguments<'_>) {
        let PodSandbox { namespace, name: pod, id, .. } = self.pod;
        let slash = if namespace.is_empty() { "" } else { "/" };
        let container = name(self.container.name);
        let text = format!("container {container} of pod {}{slash}{} {what}", name(namespace), name(pod));
        log(&text);
        if let Err(error) = Registry::at(self.state_dir).note(id, &printable(&text, 1000)) {
            log(&format!("keep that for cleat check: {error}"));
        }
    }
}

/// What a variable takes in an environment, in bytes.
fn size(key: &str, value: &str) -> usize {
    key.len() + value.len() + 2
}

/// link-env rewrites the file in place, so the container sees it. It is writable only where link-env says so: its file system
/// has all containers' files, and can be filled through it.
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
    let own = container.env().map(|(key, _)| key).filter(|key| given.contains(key));
    let own: HashSet<String> = own.map(str::to_owned).collect();
    let missing = variables.into_iter().filter(|(key, _)| !own.contains(key));
    missing.map(|(key, value)| KeyValue { key, value }).collect()
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
