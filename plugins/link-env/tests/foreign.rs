//! Lines that containers add to their own hosts files, as they do with Docker, while other members are added and removed.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something fails")]

mod place;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use place::Place;
use serde_json::json;

const MINE: &str = "192.0.2.50 mine # by hand";

fn append(place: &Place, container: &str, text: &str) {
    let file = OpenOptions::new().append(true).open(place.file(container, "hosts"));
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

fn edit(place: &Place, container: &str, change: impl FnOnce(String) -> String) {
    let file = place.file(container, "hosts");
    fs::write(&file, change(fs::read_to_string(&file).unwrap())).unwrap();
}

#[test]
fn added_lines_stay_while_others_come_go_and_move() {
    let place = Place::new(json!({}));
    let shop = place.shop();
    shop.add("c1", &["10.0.0.2/24"], &json!({"name": "a"}));
    shop.add("c2", &["10.0.0.3/24"], &json!({"name": "b", "aliases": ["bee"]}));
    let inode = fs::metadata(place.file("c1", "hosts")).unwrap().ino();
    // Without a newline at the end, as `printf >>` leaves it.
    append(&place, "c1", &format!("# my own\n{MINE}\r\n10.0.0.3 store"));
    let b = "10.0.0.3 b.shop b bee c2 bee.shop c2.shop";
    let own = ["10.0.0.2 c1 a a.shop c1.shop", b, "192.0.2.50 mine # by hand", "10.0.0.3 store"];
    assert!(shop.check("c1", &["10.0.0.2/24"]).ok);
    let c = |address: &str| format!("{address} c.shop c c3 c3.shop");
    let see = |others: &[&str]| {
        assert_eq!(place.hosts("c1"), [&own[..], others].concat());
        assert!(fs::read_to_string(place.file("c1", "hosts")).unwrap().contains("\n# my own\n"));
        assert!(shop.check("c1", &["10.0.0.2/24"]).ok);
    };
    // Existing lines keep their places.
    for _ in 0..2 {
        shop.add("c3", &["10.0.0.4/24"], &json!({"name": "c"}));
        see(&[&c("10.0.0.4")]);
        shop.add("c3", &["10.0.0.5/24"], &json!({"name": "c"}));
        see(&[&c("10.0.0.5")]);
        shop.del("c3");
        see(&[]);
    }
    // The container adds one more line and removes one.
    append(&place, "c1", "192.0.2.51 more\n");
    edit(&place, "c1", |text| text.replace("10.0.0.3 store\n", ""));
    shop.del("c2");
    assert_eq!(place.hosts("c1"), [own[0], MINE, "192.0.2.51 more"]);
    assert_eq!(fs::metadata(place.file("c1", "hosts")).unwrap().ino(), inode, "the file is mounted");
    // A container that is added anew gets a new file.
    shop.del("c1");
    shop.add("c1", &["10.0.0.2/24"], &json!({"name": "a"}));
    assert_eq!(place.hosts("c1"), [own[0]]);
    shop.del("c1");
    place.assert_nothing_is_left();
}

#[test]
fn what_a_container_does_to_our_lines_is_put_right_and_its_own_stay_where_they_are() {
    let place = Place::new(json!({}));
    let shop = place.shop();
    shop.add("c2", &["10.0.0.3/24"], &json!({"name": "b"}));
    shop.add("c1", &["10.0.0.2/24"], &json!({"name": "a", "links": ["b:db"]}));
    let before = place.hosts("c1");
    assert_eq!(before, ["10.0.0.3 db c2 b", "10.0.0.2 c1 a a.shop c1.shop", "10.0.0.3 b.shop b c2 c2.shop"]);
    let come_and_go = || {
        shop.add("c3", &["10.0.0.4/24"], &json!({}));
        assert!(place.hosts("c1").contains(&"10.0.0.4 c3.shop c3".to_owned()));
        shop.del("c3");
    };
    // One line before all others and one between two of ours: a resolver finds both before ours.
    edit(&place, "c1", |text| {
        format!("192.0.2.1 b\n{}", text.replacen("10.0.0.3", "192.0.2.2 db\n10.0.0.3", 1))
    });
    come_and_go();
    let with = [&["192.0.2.1 b", "192.0.2.2 db"].map(str::to_owned)[..], &before].concat();
    assert_eq!(place.hosts("c1"), with);
    assert!(fs::read_to_string(place.file("c1", "hosts")).unwrap().starts_with("192.0.2.1 b\n127.0.0.1"));
    // A name that the container adds to one of our lines stays as long as that line, also in the line of the container itself.
    edit(&place, "c1", |text| text.replace("c2 c2.shop", "c2 c2.shop bee").replace("c1 a ", "c1 me a "));
    assert!(shop.check("c1", &["10.0.0.2/24"]).ok);
    come_and_go();
    let hosts = place.hosts("c1");
    assert_eq!(hosts[3..], ["10.0.0.2 c1 me a a.shop c1.shop", "10.0.0.3 b.shop b c2 c2.shop bee"]);
    assert!(shop.check("c1", &["10.0.0.2/24"]).ok);
    edit(&place, "c1", |text| text.replace(" bee", "").replace(" me ", " "));
    // Any other edit of one of our lines is an error of CHECK, which names the expected line. The next ADD or DEL restores it.
    edit(&place, "c1", |text| text.replacen("b.shop b c2 c2.shop", "b.shop b c2 edited", 1));
    let message = shop.check("c1", &["10.0.0.2/24"]).error().1;
    assert!(message.contains(", not \"10.0.0.3\\tb.shop b c2 c2.shop\""), "{message}");
    come_and_go();
    assert_eq!(place.hosts("c1"), with);
    shop.del("c2");
    assert_eq!(place.hosts("c1"), [&with[0], &with[1], &before[1]].map(Clone::clone));
    shop.add("c2", &["10.0.0.3/24"], &json!({"name": "b"}));
    for text in ["", "\n\n", "127.0.0.1\tlocal", &"\0".repeat(100_000)] {
        edit(&place, "c1", |_| text.to_owned());
        assert_eq!(shop.check("c1", &["10.0.0.2/24"]).error().0, 101, "{text:?}");
        come_and_go();
        let hosts = place.hosts("c1");
        assert_eq!(hosts[hosts.len() - 3..], before, "{text:?}");
        assert!(shop.check("c1", &["10.0.0.2/24"]).ok);
    }
    // A file of another inode, as `sed -i` makes it on the host.
    let (file, new) = (place.file("c1", "hosts"), place.file("c1", "sedXYZ"));
    fs::write(&new, format!("{}{MINE}\n", fs::read_to_string(&file).unwrap().replace('\n', "\r\n"))).unwrap();
    fs::rename(&new, &file).unwrap();
    come_and_go();
    let hosts = place.hosts("c1");
    assert!(hosts.contains(&MINE.to_owned()) && hosts.starts_with(&before), "{hosts:?}");
    assert!(shop.check("c1", &["10.0.0.2/24"]).ok);
}

#[test]
fn there_is_an_end_to_added_lines_and_it_is_told() {
    let place = Place::new(json!({}));
    let shop = place.shop();
    shop.add("c1", &["10.0.0.2/24"], &json!({}));
    append(&place, "c1", &"192.0.2.50 advertisement\n".repeat(50_000));
    shop.add("c2", &["10.0.0.3/24"], &json!({}));
    let hosts = place.hosts("c1");
    assert_eq!(hosts.last().unwrap(), "10.0.0.3 c2.shop c2");
    assert_eq!(hosts.len() - 2, (64 << 10) / "192.0.2.50 advertisement\n".len());
    assert_eq!(place.hosts("c2").len(), 2);
    let notes = fs::read_to_string(place.file("c1", "notes")).unwrap();
    assert!(notes.contains("c1/hosts: of the lines that others have added, 65536 bytes are kept"), "{notes}");
    // Later changes of the network keep the same lines, and write no further note.
    shop.add("c3", &["10.0.0.4/24"], &json!({}));
    shop.del("c2");
    assert_eq!(place.hosts("c1").len(), hosts.len());
    assert_eq!(place.hosts("c1").last().unwrap(), "10.0.0.4 c3.shop c3");
    assert_eq!(fs::read_to_string(place.file("c1", "notes")).unwrap(), notes);
}

#[test]
fn a_container_of_several_networks_keeps_its_lines_and_check_agrees_all_the_while() {
    let place = Place::new(json!({}));
    let (front, back) = (place.on("front"), place.on("back"));
    let web = json!({"name": "web", "aliases": ["www"]});
    let own = [("10.1.0.2/24", &front), ("10.2.0.2/24", &back)];
    let check = |on: &[(&str, &place::View<'_>)], members: usize| {
        for (address, network) in on {
            let answer = network.check("c1", &[address]);
            assert!(answer.ok, "{answer:?}");
        }
        let hosts = place.hosts("c1");
        assert_eq!(hosts.iter().filter(|line| *line == MINE).count(), 1, "{hosts:?}");
        assert_eq!(hosts.len(), 1 + members, "{hosts:?}");
    };
    front.add("c2", &["10.1.0.3/24"], &json!({"name": "one"}));
    front.add("c1", &["10.1.0.2/24"], &web);
    append(&place, "c1", &format!("{MINE}\n"));
    check(&own[..1], 2);
    back.add("c1", &["10.2.0.2/24"], &web);
    check(&own, 3);
    back.add("c3", &["10.2.0.3/24"], &json!({"name": "two"}));
    check(&own, 4);
    front.add("c4", &["10.1.0.4/24"], &json!({"name": "three"}));
    check(&own, 5);
    assert!(place.hosts("c3").contains(&"10.2.0.2 web.back web www c1 www.back c1.back".to_owned()));
    front.del("c2");
    check(&own, 4);
    front.call("DEL", "c1", &json!({}));
    check(&own[1..], 2);
    assert_eq!(front.check("c1", &["10.1.0.2/24"]).error().0, 101);
    front.add("c5", &["10.1.0.5/24"], &json!({}));
    check(&own[1..], 2);
    back.del("c3");
    check(&own[1..], 1);
}

/// On a network where only links make names known, files are written whole each time.
#[test]
fn lines_stay_where_links_alone_make_names_known() {
    let place = Place::new(json!({"names": "links", "waitForLinks": true}));
    let shop = place.shop();
    shop.add("c1", &["10.0.0.2/24"], &json!({"name": "web", "links": ["db:sql"]}));
    append(&place, "c1", &format!("{MINE}\n"));
    for address in ["10.0.0.3", "10.0.0.4"] {
        shop.add("c2", &[&format!("{address}/24")], &json!({"name": "db"}));
        assert_eq!(place.hosts("c1"), [&format!("{address} sql c2 db"), "10.0.0.2 c1", MINE]);
        assert!(shop.check("c1", &["10.0.0.2/24"]).ok);
        shop.del("c2");
        assert_eq!(place.hosts("c1"), ["10.0.0.2 c1", MINE]);
    }
}

/// Lines that a killed process left in a hosts file are not taken for lines that the container added.
#[test]
fn lines_of_members_that_nobody_knows_any_more_go() {
    let place = Place::new(json!({}));
    let shop = place.shop();
    shop.add("c1", &["10.0.0.2/24"], &json!({}));
    shop.add("c2", &["10.0.0.3/24"], &json!({}));
    append(&place, "c1", "192.0.2.50 mine\n");
    fs::remove_dir_all(place.state().join("registry/shop")).unwrap();
    shop.add("c1", &["10.0.0.2/24"], &json!({}));
    assert_eq!(place.hosts("c1"), ["10.0.0.2 c1 c1.shop", "192.0.2.50 mine"]);
    assert!(shop.check("c1", &["10.0.0.2/24"]).ok);
    edit(&place, "c1", |text| format!("{text}10.0.0.9\tstale.shop stale \t\n"));
    let message = shop.check("c1", &["10.0.0.2/24"]).error().1;
    assert!(message.contains("is \"10.0.0.9\\tstale.shop stale\", of no member"), "{message}");
}

/// A container adds line after line while other members are added and removed, and a thread reads its file.
#[test]
fn nobody_reads_half_a_line_while_lines_are_added_and_members_come_and_go() {
    const MEMBERS: usize = 60;
    let place = Place::new(json!({}));
    let network = place.shop();
    let name = |index: usize| format!("member-{}{index}", "x".repeat(index % 7));
    let join = |index: usize| {
        let address = format!("10.0.1.{}/16", index + 1);
        network.add(&format!("c{index}"), &[&address], &json!({"name": name(index)}));
    };
    network.add("observer", &["10.0.0.1/16"], &json!({}));
    let file = place.file("observer", "hosts");
    let mut known: BTreeSet<String> =
        fs::read_to_string(&file).unwrap().lines().map(|line| line.trim_end().to_owned()).collect();
    for index in 0..MEMBERS {
        known.insert(format!(
            "10.0.1.{}\t{name}.shop {name} c{index} c{index}.shop",
            index + 1,
            name = name(index)
        ));
        known.insert(format!("192.0.2.{index} own-{}{index}", "y".repeat(index % 11)));
    }
    let is_over = AtomicBool::new(false);
    let times = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !is_over.load(Ordering::Relaxed) {
                let text = fs::read_to_string(&file).unwrap();
                for line in text.lines().map(str::trim_end).filter(|line| !line.starts_with('#')) {
                    assert!(known.contains(line), "half a line after {reads} reads: {line:?}");
                }
                reads += 1;
            }
            reads
        });
        for index in 0..MEMBERS {
            append(&place, "observer", &format!("192.0.2.{index} own-{}{index}\n", "y".repeat(index % 11)));
            join(index);
            join((index + 7) % MEMBERS);
            network.del(&format!("c{}", index / 2));
        }
        is_over.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(times > 100, "{times} reads are too few to show anything");
    let hosts = place.hosts("observer");
    assert_eq!(hosts.iter().filter(|line| line.starts_with("192.0.2.")).count(), MEMBERS);
    assert!(network.check("observer", &["10.0.0.1/16"]).ok);
}
