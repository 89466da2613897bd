//! The registry in a folder of its own: what is kept, what is seen without the lock, what is left at the end.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use registry::{Error, Member, Network, Registry};
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    (place, state)
}

fn member(container_id: &str) -> Member {
    Member {
        container_id: container_id.into(),
        ifname: "eth0".into(),
        name: container_id.into(),
        expose: vec!["80-81".parse().unwrap()],
        addresses: vec!["10.1.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
        ..Member::default()
    }
}

fn join(registry: &Registry, container_id: &str, network: &str) {
    let locked = registry.lock().unwrap();
    locked.join(container_id, network).unwrap();
    let before = locked.network(network).unwrap();
    let mut after = before.clone();
    after.put(member(container_id));
    locked.change(&before, &after).unwrap();
}

fn leave(registry: &Registry, container_id: &str, network: &str) {
    let Some(locked) = registry.lock_existing().unwrap() else {
        return;
    };
    let before = locked.network(network).unwrap();
    let mut after = before.clone();
    after.remove(container_id, "eth0");
    locked.leave(container_id, network).unwrap();
    locked.change(&before, &after).unwrap();
}

#[test]
fn what_was_saved_is_seen_without_the_lock_and_the_last_one_leaves_nothing() {
    let (place, state) = place();
    let registry = Registry::at(&state);
    assert_eq!(registry.networks().unwrap(), []);
    join(&registry, "c1", "web");
    join(&registry, "c1", "back");
    join(&registry, "c2", "web");
    let held = registry.lock().unwrap();
    let seen: Vec<(String, usize)> = registry
        .networks()
        .unwrap()
        .into_iter()
        .map(|network| (network.name, network.members.len()))
        .collect();
    assert_eq!(seen, [("back".into(), 1), ("web".into(), 2)]);
    let container = held.container("c1").unwrap().unwrap();
    assert_eq!(held.networks_of(&container).unwrap(), ["web", "back"]);
    assert_eq!(registry.network("web").unwrap().unwrap().members[0], member("c1"));
    drop(held);
    leave(&registry, "c1", "web");
    assert!(registry.container_dir("c1").exists());
    leave(&registry, "c1", "back");
    assert!(!registry.container_dir("c1").exists());
    for _ in 0..2 {
        leave(&registry, "c2", "web");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_lock_taken_and_let_go_leaves_nothing() {
    let (place, state) = place();
    let registry = Registry::at(state);
    registry.lock().unwrap().probe().unwrap();
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    assert!(registry.lock_existing().unwrap().is_none());
}

#[test]
fn an_unfinished_file_does_not_keep_the_folders() {
    let (place, state) = place();
    let registry = Registry::at(&state);
    join(&registry, "c1", "web");
    fs::write(state.join("registry/web/members/.new"), "{").unwrap();
    fs::write(state.join("containers/c1/.new"), "{").unwrap();
    assert_eq!(registry.networks().unwrap().len(), 1);
    leave(&registry, "c1", "web");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

/// The state folder is removed and made again all the time; the lock must exclude all the same.
#[test]
fn the_lock_excludes_while_the_state_folder_comes_and_goes() {
    let (_place, state) = place();
    let inside = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let locked = Registry::at(&state).lock().unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    locked.join("c1", "web").unwrap();
                    locked.leave("c1", "web").unwrap();
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert!(!state.exists());
}

#[test]
fn a_state_folder_that_others_may_write_to_is_refused() {
    let (_place, state) = place();
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
    let error = Registry::at(&state).lock().unwrap_err();
    assert!(error.to_string().contains("chmod it to 0700"), "{error}");
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let (_place, state) = place();
    let locked = Registry::at(state).lock().unwrap();
    for name in ["../x", "a/b", "", ".."] {
        let refused = locked.join(name, "web").unwrap_err();
        assert!(
            matches!(&refused, Error::Io(error) if error.source.kind() == ErrorKind::InvalidFilename),
            "{refused}"
        );
        assert!(locked.network(&format!("x/{name}")).is_err());
    }
}

#[test]
fn keys_of_a_newer_registry_do_no_harm() {
    let (_place, state) = place();
    let registry = Registry::at(&state);
    join(&registry, "c1", "web");
    let file = state.join("registry/web/members/c1:eth0");
    fs::remove_file(state.join("registry/web/all")).unwrap();
    fs::write(&file, r#"{"containerID":"c1","new":2}"#).unwrap();
    let network: Network = registry.network("web").unwrap().unwrap();
    assert_eq!(network.members[0].container_id, "c1");
}

#[test]
fn a_damaged_member_is_in_nobodys_way_and_is_named_mended_and_forgotten() {
    for damage in ["", "garbage", r#"{"expose":["0/tcp"]}"#] {
        let (place, state) = place();
        let registry = Registry::at(&state);
        join(&registry, "c1", "web");
        join(&registry, "c2", "web");
        let file = state.join("registry/web/members/c1:eth0");
        fs::write(&file, damage).unwrap();
        let seen = registry.network("web").unwrap().unwrap();
        assert_eq!(seen.members.iter().map(|member| &*member.container_id).collect::<Vec<_>>(), ["c2"]);
        let locked = registry.lock().unwrap();
        let message = locked.examine("web", "c1", "eth0").unwrap_err().to_string();
        assert!(message.contains("registry/web/members/c1:eth0"), "{message}");
        locked.mend("web", &member("c1")).unwrap();
        assert_eq!(locked.examine("web", "c1", "eth0").unwrap(), Some(member("c1")));
        fs::write(&file, damage).unwrap();
        locked.leave("c1", "web").unwrap();
        locked.forget("web", "c1", "eth0").unwrap();
        assert_eq!(locked.examine("web", "c1", "eth0").unwrap(), None);
        drop(locked);
        leave(&registry, "c2", "web");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}

/// Where an ID and the interface do not fit into a file name, the name of the member's file has a hash.
#[test]
fn a_container_whose_id_fills_a_file_name_is_found_by_it() {
    for length in [250, 251, 255] {
        let (_place, state) = place();
        let registry = Registry::at(&state);
        let id = "c".repeat(length);
        join(&registry, &id, "web");
        join(&registry, "c1", "web");
        fs::remove_file(state.join("registry/web/all")).unwrap();
        let found = registry.lock().unwrap().around("web", &[&id], None).unwrap();
        assert!(found.member(&id, "eth0").is_some(), "{length}");
    }
}
