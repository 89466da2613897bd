//! The picture of an example, drawn in each format.

use super::picture::{Card, Lane, Link, Port};
use super::*;

/// Two networks: one with a published web server that links to a database, one that is empty.
pub(super) fn example() -> Picture {
    let card = |name: &str, address: &str| Card {
        short_id: "60707a2f0f64".to_owned(),
        name: name.to_owned(),
        ifname: "eth0".to_owned(),
        addresses: vec![address.to_owned()],
        ..Card::default()
    };
    let port = |host: &str, inner: &str| Port { host: host.to_owned(), inner: inner.to_owned() };
    let web = Card {
        ports: vec![port(":80", "80/tcp"), port("127.0.0.1:8080", "80/tcp")],
        links: vec![Link { source: 1, alias: "webdb".to_owned() }],
        ..card("we\"b", "10.90.0.2/16")
    };
    let db = Card {
        exposed: vec!["5432/tcp".to_owned()],
        elsewhere: vec!["other".to_owned()],
        gone: true,
        ..card("db", "10.90.0.3/16")
    };
    let first = Lane {
        name: "cleat".to_owned(),
        bridge: Some("cleat0".to_owned()),
        subnets: vec!["10.90.0.0/16".to_owned()],
        tags: vec!["internal"],
        cards: vec![web, db],
    };
    Picture { lanes: vec![first, Lane { name: "empty".to_owned(), ..Lane::default() }] }
}

#[test]
fn mermaid_has_every_thing_and_escapes() {
    let wanted = r#"flowchart LR
  host(["host"])
  subgraph net0["cleat · 10.90.0.0/16 · internal"]
    n0{{"cleat0"}}
    n0c0["we#quot;b<br>10.90.0.2/16"]
    n0c1["db<br>10.90.0.3/16<br>exposes 5432/tcp · also on other<br>gone"]
  end
  host --- n0
  n0 ---|"eth0"| n0c0
  host ==>|":80 → 80/tcp"| n0c0
  host ==>|"127.0.0.1:8080 → 80/tcp"| n0c0
  n0c0 -.->|"webdb"| n0c1
  n0 ---|"eth0"| n0c1
  subgraph net1["empty"]
    n1{{"no bridge"}}
  end
  host --- n1
"#;
    assert_eq!(example().draw(Format::Mermaid), wanted);
}

#[test]
fn dot_has_every_thing_and_escapes() {
    let drawn = example().draw(Format::Dot);
    for line in [
        r#"    label="cleat  10.90.0.0/16  internal""#,
        r#"    n0c0 [label="we\"b\n10.90.0.2/16"]"#,
        r#"    n0c1 [label="db\n10.90.0.3/16\nexposes 5432/tcp · also on other\ngone", style="rounded,dashed"]"#,
        r##"  host -> n0c0 [label=":80 → 80/tcp", color="#0e7490", penwidth=1.5]"##,
        r#"  n0c0 -> n0c1 [label="webdb", style=dashed, constraint=false]"#,
    ] {
        assert!(drawn.lines().any(|drawn| drawn == line), "{line}\n{drawn}");
    }
    assert_eq!(drawn.matches('{').count(), drawn.matches('}').count());
}

#[test]
fn a_drawing_has_every_name_once_for_each_thing() {
    let drawn = example().draw(Format::Svg);
    let document = roxmltree::Document::parse(&drawn).unwrap();
    assert_eq!(document.root_element().tag_name().namespace(), Some("http://www.w3.org/2000/svg"));
    for (text, times) in [
        (">we&quot;b<", 1),
        (">cleat0<", 1),
        (">:80<", 1),
        (">127.0.0.1:8080<", 1),
        (">80/tcp<", 2),
        (">webdb<", 1),
        (">exposes 5432/tcp · also on other<", 1),
        (">gone<", 1),
        (">no containers<", 1),
        (">internal<", 1),
        ("marker-end=\"url(#port)\"", 2),
        ("marker-end=\"url(#link)\"", 1),
    ] {
        assert_eq!(drawn.matches(text).count(), times, "{text}\n{drawn}");
    }
}
