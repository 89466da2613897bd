//! What others left in the folder: the reference, an earlier boot, another user.

use super::*;

#[test]
fn leases_of_the_reference_are_released_with_and_without_a_previous_result() {
    let network = Network::single("10.1.0.0/24");
    network.put("lock", "");
    network.put("10.1.0.2", "c1\r\neth0");
    network.put("10.1.0.3", "c2\r\neth0");
    network.put("10.1.0.4", "c3");
    network.put("10.1.0.5", "c3\r\neth1");
    network.put("10.1.0.6", "c1\r\neth1");
    network.del("c1", &["10.1.0.2/24", "10.1.0.3/24"]);
    assert_eq!(network.leases(), ["10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"], "leases of others stay");
    network.del("c2", &[]);
    network.del("c3", &[]);
    assert_eq!(network.leases(), ["10.1.0.5", "10.1.0.6"]);
    network.del("c3", &[]);
    // The two leases that are left, a link for each, `.owners` and the lock. With these links a DEL without a lease no longer
    // reads all leases.
    assert_eq!(network.names().len(), 6, "{:?}", network.names());
}

/// Whether every lease has its link: then a DEL without a lease and an ADD to a full range need not read the leases.
fn is_sealed(network: &Network) -> bool {
    Store::open(&network.folder()).unwrap().unwrap().is_index_complete().unwrap()
}

#[test]
fn the_seal_holds_through_our_verbs_and_breaks_with_anybody_elses() {
    let network = Network::single("10.1.0.0/29");
    let seals = || {
        network.del("nobody", &[]);
        is_sealed(&network)
    };
    network.add("c1", "").unwrap();
    assert!(is_sealed(&network), "a new folder");
    network.add("c2", "").unwrap();
    network.del("c2", &[]);
    network.add("c1", "").unwrap_err();
    assert!(is_sealed(&network) && seals());
    // The reference's ADD directly after ours breaks the seal, even within one tick of the clock.
    for _ in 0..200 {
        network.add("c2", "10.1.0.4").unwrap();
        network.put("10.1.0.5", "theirs\r\neth0");
        assert!(!is_sealed(&network));
        network.add("c3", "10.1.0.6").unwrap();
        assert!(!is_sealed(&network), "a later ADD of ours does not hide it");
        for id in ["theirs", "c2", "c3"] {
            network.del(id, &[]);
        }
        assert_eq!(network.leases(), ["10.1.0.2"]);
        assert!(is_sealed(&network));
    }
    // Nor does a killed ADD of ours hide it, where the reference then leases another address.
    let link = format!(".owners/{}.0", target("c4").attachment.token());
    symlink("../10.1.0.3", network.folder().join(link)).unwrap();
    network.put("10.1.0.5", "c4\r\neth0");
    network.del("c4", &[]);
    assert_eq!(network.leases(), ["10.1.0.2"]);
    // A lease without an interface can have no link: while there is one, a DEL reads all leases each time.
    network.put("10.1.0.3", "old");
    network.put("10.1.0.4", "new\r\neth0");
    assert!(!seals());
    network.del("new", &[]);
    network.del("old", &[]);
    assert_eq!(network.leases(), ["10.1.0.2"]);
    assert!(seals());
    // The seal does not hold for a folder under another name: it may be a copy, or the folder of another network.
    let copy = network.root.path().join("networks/copy");
    fs::rename(network.folder(), &copy).unwrap();
    assert!(!Store::open(&copy).unwrap().unwrap().is_index_complete().unwrap());
}

#[test]
fn a_range_that_was_full_is_looked_at_again_when_anybody_released() {
    let network = Network::single("10.1.0.0/29");
    let free = || fs::read_to_string(network.folder().join(".free")).unwrap_or_default();
    network.put("lock", "");
    for host in 2..=6 {
        network.put(&format!("10.1.0.{host}"), &format!("c{host}\r\neth0"));
    }
    let full = || {
        assert_eq!(network.add("more", "").unwrap_err().code(), 50);
        assert!(is_sealed(&network) && free().contains("full 10.1.0.1-10.1.0.6 10.1.0.1"), "{}", free());
        status(&network.request(&json!({})), BOOT).unwrap_err();
    };
    full();
    full();
    // One address is released by the reference, then one by our DEL, then one by GC: each time exactly one is free.
    fs::remove_file(network.folder().join("10.1.0.3")).unwrap();
    status(&network.request(&json!({})), BOOT).unwrap();
    assert_eq!(network.add("c3", "").unwrap(), ["10.1.0.3"]);
    full();
    network.del("c4", &[]);
    status(&network.request(&json!({})), BOOT).unwrap();
    assert_eq!(network.add("c4", "").unwrap(), ["10.1.0.4"]);
    full();
    let valid: Vec<Value> =
        [2, 3, 4, 6].map(|host| json!({"containerID": format!("c{host}"), "ifname": "eth0"})).to_vec();
    gc(&network.request(&json!({"cni.dev/valid-attachments": valid}))).unwrap();
    assert_eq!(network.add("c5", "").unwrap(), ["10.1.0.5"]);
    full();
    // The same subnet with its gateway elsewhere has one more address.
    let mut wider = network;
    wider.ipam = json!({"subnet": "10.1.0.0/29", "gateway": "169.254.1.1", "dataDir": wider.ipam["dataDir"]});
    assert_eq!(wider.add("more", "").unwrap(), ["10.1.0.1"]);
}

#[test]
fn del_takes_what_is_gone_for_released_and_makes_nothing() {
    let network = Network::single("10.1.0.0/24");
    network.del("c1", &["10.1.0.2/24"]);
    network.del("c1", &[]);
    assert!(!network.root.path().join("networks").exists());
    fs::create_dir_all(network.folder()).unwrap();
    network.del("c1", &["10.1.0.2/24"]);
    assert!(network.names().is_empty());
    let address = network.add("c1", "").unwrap();
    // A DEL whose configuration became invalid still releases the address.
    let mut broken = network;
    broken.ipam["subnet"] = "nonsense".into();
    broken.ipam["ranges"] = json!(7);
    broken.del("c1", &[]);
    broken.del("c1", &[&format!("{}/24", address[0])]);
    broken.assert_empty();
}

#[test]
fn links_of_leases_that_the_reference_released_do_no_harm() {
    let network = Network::single("10.1.0.0/24");
    network.add("c1", "").unwrap();
    fs::remove_file(network.folder().join("10.1.0.2")).unwrap();
    assert_eq!(network.add("c2", "10.1.0.2").unwrap(), ["10.1.0.2"]);
    network.del("c1", &[]);
    assert_eq!(network.leases(), ["10.1.0.2"]);
    network.del("c2", &[]);
    network.assert_empty();
}

#[test]
fn a_reboot_drops_leases_and_a_live_folder_of_the_reference_keeps_them() {
    let network = Network::single("10.1.0.0/24");
    network.put("10.1.0.2", "old\r\neth0");
    network.put("last_reserved_ip.0", "10.1.0.2");
    assert_eq!(network.add("c1", "").unwrap(), ["10.1.0.3"]);
    assert_eq!(network.leases(), ["10.1.0.2", "10.1.0.3"]);
    add(&network.request(&json!({})), &target("c2"), None).unwrap();
    assert_eq!(network.leases().len(), 3, "an unknown boot drops nothing");
    let result = add(&network.request(&json!({})), &target("c1"), Some("boot-2")).unwrap();
    assert_eq!(result.ips[0].address.to_string(), "10.1.0.5/24", "the order goes on");
    assert_eq!(network.leases(), ["10.1.0.5"]);
    assert_eq!(fs::read_to_string(network.folder().join("boot_id")).unwrap(), "boot-2");
    network.del("c1", &[]);
    network.assert_empty();
}

#[test]
fn what_is_no_lease_is_neither_followed_nor_handed_out() {
    let network = Network::single("10.1.0.0/24");
    network.put("secret", "c1\r\neth0");
    symlink("secret", network.folder().join("10.1.0.2")).unwrap();
    fs::create_dir(network.folder().join("10.1.0.3")).unwrap();
    for fifo in ["10.1.0.4", "lock", "boot_id", "last_reserved_ip.0", ".free"] {
        nix::unistd::mkfifo(&network.folder().join(fifo), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    assert_eq!(network.add("c1", "").unwrap(), ["10.1.0.5"]);
    assert_eq!(network.add("c2", "10.1.0.2").unwrap_err().code(), 102);
    network.del("c1", &["10.1.0.2/24", "10.1.0.3/24", "10.1.0.4/24"]);
    assert_eq!(network.leases(), ["10.1.0.2", "10.1.0.3", "10.1.0.4"]);
    assert_eq!(fs::read_to_string(network.folder().join("secret")).unwrap(), "c1\r\neth0");
}

/// A user who may write to the folder may put links under every name in it; none is followed.
#[test]
fn links_under_every_name_lead_nowhere() {
    let network = Network::single("10.1.0.0/29");
    network.add("c1", "").unwrap();
    network.del("c1", &[]);
    let elsewhere = network.root.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let token = target("c2").attachment.token();
    let victims: Vec<PathBuf> =
        ["file".to_owned(), format!("{token}.0")].iter().map(|name| elsewhere.join(name)).collect();
    for victim in &victims {
        fs::write(victim, "c2\r\neth0").unwrap();
    }
    let plant = |name: &str, to: &Path| {
        let link = network.folder().join(name);
        let _ = fs::remove_dir_all(&link).or_else(|_| fs::remove_file(&link));
        symlink(to, link).unwrap();
    };
    let files = ["boot_id", "last_reserved_ip.0", ".free", ".writing", "10.1.0.2", "10.1.0.3", "10.1.0.4"];
    for name in files {
        plant(name, &victims[0]);
    }
    let verbs = |is_able: bool| {
        assert_eq!(network.add("c2", "").is_ok(), is_able);
        network.add("c2", "10.1.0.3").unwrap_err();
        let _ = del(&network.request(&json!({})), &target("c2"));
        for victim in &victims {
            assert_eq!(fs::read_to_string(victim).unwrap(), "c2\r\neth0", "{}", victim.display());
        }
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 2);
    };
    verbs(true);
    for (name, to) in [(".owners", &elsewhere), ("lock", &victims[0])] {
        plant(name, to);
        verbs(false);
    }
    fs::remove_dir_all(network.folder()).unwrap();
    symlink(&elsewhere, network.folder()).unwrap();
    verbs(false);
}
