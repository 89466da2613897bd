//! What others left in the folder: the reference, an earlier boot, a stranger.

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
    assert_eq!(network.leases(), ["10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"], "nobody else's");
    network.del("c2", &[]);
    network.del("c3", &[]);
    assert_eq!(network.leases(), ["10.1.0.5", "10.1.0.6"]);
    network.del("c3", &[]);
    assert_eq!(network.names().len(), 3, "nothing was made: {:?}", network.names());
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
    // A configuration that became wrong keeps nothing from being released.
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
    nix::unistd::mkfifo(&network.folder().join("10.1.0.4"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(network.add("c1", "").unwrap(), ["10.1.0.5"]);
    assert_eq!(network.add("c2", "10.1.0.2").unwrap_err().code(), 102);
    network.del("c1", &["10.1.0.2/24", "10.1.0.3/24", "10.1.0.4/24"]);
    assert_eq!(network.leases(), ["10.1.0.2", "10.1.0.3", "10.1.0.4"]);
    assert_eq!(fs::read_to_string(network.folder().join("secret")).unwrap(), "c1\r\neth0");
}
