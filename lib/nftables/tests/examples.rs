//! The crate's examples do what they say, and leave nothing in the namespace that they are started in.

#![allow(missing_docs)]

mod inside;

/// Runs an example, which must print `expected`.
fn example(name: &str, expected: &str) {
    inside::run(|| {
        assert_eq!(sandbox::example(env!("CARGO_MANIFEST_DIR"), name, &[]), expected);
        assert_eq!(inside::program("nft", &["list", "ruleset"], ""), "");
    });
}

#[test]
fn transaction_is_carried_out_as_a_whole_or_not_at_all() {
    example(
        "transaction",
        "\
made inet demo by one transaction of 6 operations
  port 80 (web)
  rule 3: accept (open ports)
  rule 4: drop (all other ports)
refused: create element 80 to inet demo open: file exists (operation Some(1), is_exists: true)
  port 80 (web)
  rule 3: accept (open ports)
  rule 4: drop (all other ports)
inet demo is there: false
",
    );
}

#[test]
fn shared_table_is_made_by_the_first_member_and_removed_by_the_last() {
    example(
        "shared",
        "\
all have come: 8 members, 1 rule, made by whoever was first
all have gone: inet demo is there: false
",
    );
}
