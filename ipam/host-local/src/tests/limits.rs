//! Full ranges, killed processes, many at once.

use super::*;

#[test]
fn an_exhausted_range_is_told_and_used_up_to_the_last_address() {
    let network = Network::single("10.1.0.0/29");
    status(&network.request(&json!({})), BOOT).unwrap();
    assert!(!network.root.path().join("networks").exists(), "STATUS makes nothing");
    for host in 2..=6 {
        status(&network.request(&json!({})), BOOT).unwrap();
        assert_eq!(network.add(&format!("c{host}"), "").unwrap(), [format!("10.1.0.{host}")]);
    }
    let error = cni::Error::from(status(&network.request(&json!({})), BOOT).unwrap_err());
    assert_eq!(error.code(), 50);
    assert!(error.message().contains("5 of 5"), "{error}");
    status(&network.request(&json!({})), Some("boot-2")).unwrap();
    assert_eq!(network.add("c9", "").unwrap_err().code(), 50);
    network.del("c4", &[]);
    assert_eq!(network.add("c9", "").unwrap(), ["10.1.0.4"]);
    // The reference leaves an empty lease when it is killed between two system calls.
    network.put("10.1.0.3", "");
    status(&network.request(&json!({})), BOOT).unwrap();
    assert_eq!(network.add("c10", "").unwrap(), ["10.1.0.3"]);
    assert_eq!(fs::read_to_string(network.folder().join("10.1.0.3")).unwrap(), "c10\r\neth0");
}

#[test]
fn what_a_killed_add_leaves_is_removed_by_del_or_replaced_by_the_next_add() {
    // Killed after each step of an ADD of c1: the file, its link, its lease as a second name of the file.
    for step in 1..=3 {
        for cleaned_by_del in [true, false] {
            let network = Network::single("10.1.0.0/24");
            network.add("c0", "10.1.0.9").unwrap();
            let folder = network.folder();
            fs::write(folder.join(".writing"), "c1\r\neth0").unwrap();
            if step >= 2 {
                let link = format!(".owners/{}.0", target("c1").attachment.token());
                symlink("../10.1.0.10", folder.join(link)).unwrap();
            }
            if step >= 3 {
                fs::hard_link(folder.join(".writing"), folder.join("10.1.0.10")).unwrap();
            }
            if cleaned_by_del {
                network.del("c1", &[]);
                network.del("c0", &[]);
                network.assert_empty();
                continue;
            }
            let wanted = if step >= 3 { "10.1.0.11" } else { "10.1.0.10" };
            assert_eq!(network.add("c2", "").unwrap(), [wanted]);
            let kept = fs::read_to_string(folder.join("10.1.0.10")).unwrap();
            assert_eq!(kept, if step >= 3 { "c1\r\neth0" } else { "c2\r\neth0" });
            assert!(!network.names().contains(".writing"));
            network.del("c1", &[]);
            assert_eq!(network.leases(), [wanted, "10.1.0.9"]);
        }
    }
}

#[test]
fn at_once_no_address_is_leased_twice() {
    let network = Network::new(json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}));
    let all: Vec<String> = std::thread::scope(|scope| {
        let network = &network;
        let workers: Vec<_> = (0..8)
            .map(|worker| {
                scope.spawn(move || -> Vec<String> {
                    (0..25).flat_map(|turn| network.add(&format!("c{worker}-{turn}"), "").unwrap()).collect()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 400);
    assert_eq!(network.leases().len(), 400);
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let network = &network;
            scope.spawn(move || (0..25).for_each(|turn| network.del(&format!("c{worker}-{turn}"), &[])));
        }
    });
    network.assert_empty();
}

#[test]
fn a_nearly_full_large_range_is_fast() {
    let network = Network::single("10.1.0.0/16");
    network.add("first", "").unwrap();
    let content = network.folder().join("10.1.0.2");
    // Leases of all addresses but one. Hard links are enough, and quicker to make than files.
    for number in 3..=65_534_u32 {
        let address = std::net::Ipv4Addr::from_bits(0x0a01_0000 + number).to_string();
        if address != "10.1.200.7" {
            fs::hard_link(&content, network.folder().join(address)).unwrap_or_else(|_| {
                network.put(&std::net::Ipv4Addr::from_bits(0x0a01_0000 + number).to_string(), "x\r\neth0");
            });
        }
    }
    let mut times = Vec::new();
    for _ in 0..20 {
        let begin = Instant::now();
        assert_eq!(network.add("last", "").unwrap(), ["10.1.200.7"]);
        times.push(begin.elapsed());
        network.del("last", &["10.1.200.7/16"]);
        network.put("last_reserved_ip.0", "10.1.0.2");
    }
    let first = times.remove(0);
    times.sort_unstable();
    println!("ADD to a /16 with one free address: first {first:?}, then {:?}", times[times.len() / 2]);
    assert!(times[times.len() / 2] < Duration::from_millis(5), "{times:?}");
    // An address that another program released is found by reading the names in the folder.
    network.add("last", "").unwrap();
    fs::remove_file(network.folder().join("10.1.3.4")).unwrap();
    assert_eq!(network.add("other", "").unwrap(), ["10.1.3.4"]);
    let error = network.add("full", "").unwrap_err();
    assert!(error.message().contains("65533 of 65533"), "{error}");
}
