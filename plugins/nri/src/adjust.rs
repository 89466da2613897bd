//! What one container is given: variables of its pod's links, and the pod's hosts file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use link_env::{Given, Pod};
use registry::{ExtraHost, Registry};

use crate::hosts_file;
use crate::log;
use crate::messages::{Container, ContainerAdjustment, CreateContainerRequest, KeyValue, Mount, PodSandbox};

/// The runtime waits for the answer with the container, and for two seconds at most. Registry and files take a
/// thousandth of that; what takes longer hangs.
const LIMIT: Duration = Duration::from_millis(90);

/// A pod with this annotation offers its containers' environment to those who link to it. They may hold secrets, so it
/// is for the pod's author to say.
const SHARE: &str = "link-env.cni/share-env";
const HOSTS: &str = "/etc/hosts";

/// Decides for a container. Where the registry is busy for too long, the container gets what its pod was given when it
/// joined the network.
pub(crate) fn within_limit(state_dir: &Path, request: CreateContainerRequest) -> Option<ContainerAdjustment> {
    let CreateContainerRequest { pod: Some(pod), container: Some(container) } = request else {
        return None;
    };
    let (sender, receiver) = mpsc::sync_channel(1);
    // Where a lock or a file hangs, the thread is left to wait for it.
    let thread = {
        let (state_dir, pod, container) = (state_dir.to_owned(), pod.clone(), container.clone());
        thread::Builder::new().spawn(move || sender.send(adjust(&state_dir, &pod, &container)))
    };
    let trouble = match thread.map(|_| receiver.recv_timeout(LIMIT)) {
        Ok(Ok(Ok(adjustment))) => return adjustment,
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(_)) => format!("the registry did not answer within {LIMIT:?}"),
        Err(error) => format!("start a thread: {error}"),
    };
    let what = what(&pod, &container);
    let Some(given) = Given::read(state_dir, &pod.id) else {
        tell(state_dir, &pod, &format!("{what} starts without links: {trouble}"));
        return None;
    };
    tell(state_dir, &pod, &format!("{what} starts with links as they were when the pod started: {trouble}"));
    let mount = place(&pod, &container, |_| None);
    Some(adjustment(given.environment, &given.hosts, &container, &mount))
}

fn adjust(
    state_dir: &Path,
    pod: &PodSandbox,
    container: &Container,
) -> Result<Option<ContainerAdjustment>, link_env::Error> {
    // Before the lock: a file may take its time.
    let place = place(pod, container, hosts_file::read);
    let Some(attached) = Pod::find(state_dir, &pod.id)? else {
        return Ok(None);
    };
    if pod.annotations.get(SHARE).is_some_and(|value| value == "true") {
        let left_out = attached.offer_environment(&offered(&container.env))?;
        if left_out > 0 {
            let what = what(pod, container);
            tell(state_dir, pod, &format!("{what} has {left_out} variables more than a pod may offer"));
        }
    }
    match &place {
        Place::Free(entries) => {
            let left_out = attached.add_extra_hosts(entries)?;
            if left_out > 0 {
                let what = what(pod, container);
                tell(
                    state_dir,
                    pod,
                    &format!("{what} has {left_out} hosts entries more than a pod may have"),
                );
            }
        }
        Place::Taken(by) => {
            tell(state_dir, pod, &format!("{} keeps its own {HOSTS}, {by}", what(pod, container)));
        }
    }
    Ok(Some(adjustment(attached.environment()?, &attached.hosts(), container, &place)))
}

/// Tells what a pod did not get, in the log and to `cleat check`.
fn tell(state_dir: &Path, pod: &PodSandbox, text: &str) {
    log(text);
    if let Err(error) = Registry::at(state_dir).note(&pod.id, text) {
        log(&format!("keep that for cleat check: {error}"));
    }
}

fn what(pod: &PodSandbox, container: &Container) -> String {
    format!("container {} of pod {}", container.name, pod.name)
}

fn adjustment(
    variables: impl IntoIterator<Item = (String, String)>,
    hosts: &Path,
    container: &Container,
    place: &Place,
) -> ContainerAdjustment {
    let mounts = match place {
        Place::Free(_) => vec![mount(hosts)],
        Place::Taken(_) => Vec::new(),
    };
    ContainerAdjustment { env: missing(variables, &container.env), mounts }
}

/// Whether the container's `/etc/hosts` may be ours.
#[derive(Clone, Debug)]
enum Place {
    /// Nobody cares, or kubelet and the runtime do; with the entries of kubelet's file.
    Free(Vec<ExtraHost>),
    /// The pod's author mounts a file there.
    Taken(String),
}

/// `read` gives the entries of a file that kubelet wrote.
fn place(
    pod: &PodSandbox,
    container: &Container,
    read: impl FnOnce(&Path) -> Option<Vec<ExtraHost>>,
) -> Place {
    let Some(mount) = container.mounts.iter().rfind(|mount| mount.destination == HOSTS) else {
        return Place::Free(Vec::new());
    };
    // The runtime's own copy of the node's file lies in a folder of the pod.
    if mount.source.contains(&pod.id) {
        return Place::Free(Vec::new());
    }
    // The name that kubelet's file has in the pod's folder, which no volume lies in.
    let is_kubelets = mount.source.ends_with("/etc-hosts") && !mount.source.contains("/volumes/");
    match read(Path::new(&mount.source)) {
        Some(entries) => Place::Free(entries),
        None if is_kubelets => Place::Free(Vec::new()),
        None => Place::Taken(mount.source.clone()),
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
fn missing(variables: impl IntoIterator<Item = (String, String)>, own: &[String]) -> Vec<KeyValue> {
    let is_own = |key: &str| own.iter().any(|line| line.split_once('=').is_some_and(|(name, _)| name == key));
    let missing = variables.into_iter().filter(|(key, _)| !is_own(key));
    missing.map(|(key, value)| KeyValue { key, value }).collect()
}

/// What a container's environment offers to others: all but what the runtime and kubelet put there.
fn offered(env: &[String]) -> BTreeMap<String, String> {
    let variables = env.iter().filter_map(|line| line.split_once('='));
    let chosen = variables.filter(|(key, _)| *key != "HOSTNAME" && !key.starts_with("KUBERNETES_"));
    chosen.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn the_containers_own_variables_win() {
        let links = [("DB_PORT", "tcp://10.1.0.2:5432"), ("DB_NAME", "/web/db")];
        let links = links.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let added = missing(links, &lines(&["DB_PORT=mine", "PATH=/bin", "odd"]));
        assert_eq!(added, [KeyValue { key: "DB_NAME".into(), value: "/web/db".into() }]);
    }

    #[test]
    fn a_container_offers_what_its_author_set() {
        let offered =
            offered(&lines(&["PG=9=3", "HOSTNAME=db", "KUBERNETES_PORT=tcp://10.0.0.1:443", "odd"]));
        assert_eq!(offered, BTreeMap::from([("PG".to_owned(), "9=3".to_owned())]));
    }

    #[test]
    fn a_hosts_file_that_the_author_mounts_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place_of = |name: &str, text: &str| {
            let source = folder.path().join(name);
            fs::write(&source, text).unwrap();
            let mount =
                Mount { destination: HOSTS.into(), source: source.display().to_string(), ..Mount::default() };
            let container = Container { mounts: vec![mount], ..Container::default() };
            let pod = PodSandbox { id: "0abc".into(), ..PodSandbox::default() };
            place(&pod, &container, hosts_file::read)
        };
        assert!(matches!(place_of("mine", "127.0.0.1 localhost\n"), Place::Taken(_)));
        assert!(
            matches!(place_of("of-0abc", "127.0.0.1 localhost\n"), Place::Free(entries) if entries.is_empty())
        );
        let kubelets = "# Kubernetes-managed hosts file.\n192.0.2.9\tprinter\n";
        assert!(matches!(place_of("etc-hosts", kubelets), Place::Free(entries) if entries.len() == 1));
    }

    /// Somebody holds the registry for ever: the container starts all the same, and soon, with what is there.
    #[test]
    fn a_registry_that_hangs_does_not_hold_up_a_container() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("state");
        let locked = Registry::at(&state_dir).lock().unwrap();
        let request = CreateContainerRequest {
            pod: Some(PodSandbox { id: "0abc".into(), ..PodSandbox::default() }),
            container: Some(Container::default()),
        };
        assert_eq!(within_limit(&state_dir, request.clone()), None);
        let files = state_dir.join("containers/0abc");
        fs::create_dir_all(&files).unwrap();
        fs::write(files.join("env.json"), r#"{"DB_NAME":"/web/db"}"#).unwrap();
        let adjustment = within_limit(&state_dir, request).unwrap();
        assert_eq!(adjustment.env, [KeyValue { key: "DB_NAME".into(), value: "/web/db".into() }]);
        assert_eq!(adjustment.mounts[0].source, files.join("hosts").display().to_string());
        assert_eq!(adjustment.mounts[0].options.last().unwrap(), "ro");
        fs::write(files.join("writable"), "").unwrap();
        assert_eq!(mount(&files.join("hosts")).options.last().unwrap(), "rw");
        let notes = Registry::at(&state_dir).notes("0abc").unwrap();
        assert!(notes.len() == 1 && notes[0].contains("the registry did not answer within"), "{notes:?}");
        drop(locked);
    }
}
