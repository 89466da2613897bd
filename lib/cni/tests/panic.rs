//! A plugin that panics must still print one error object. That shows only in a process of its own: this test starts itself.

#![allow(
    clippy::panic,
    clippy::disallowed_methods,
    reason = "the test is about a panic in a process of its own"
)]

use std::process::Command;

use cni::{AddResult, Error, Plugin, Request, Target};
use serde_json::Value;

struct Defect;

impl Plugin for Defect {
    const NAME: &'static str = "defect";

    fn add(_: &Request, _: &Target) -> Result<AddResult, Error> {
        unreachable!()
    }

    fn del(_: &Request, _: &Target) -> Result<(), Error> {
        unreachable!()
    }

    fn check(_: &Request, _: &Target) -> Result<(), Error> {
        unreachable!()
    }

    fn gc(_: &Request) -> Result<(), Error> {
        unreachable!()
    }

    fn status(_: &Request) -> Result<(), Error> {
        panic!("the sky is falling")
    }
}

#[test]
fn a_panic_is_told_as_an_error_object() {
    const INSIDE: &str = "CNI_PANIC_TEST";
    if std::env::var_os(INSIDE).is_some() {
        let _ = cni::run::<Defect>();
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["a_panic_is_told_as_an_error_object", "--exact", "--nocapture"]);
    let file = std::env::temp_dir().join(format!("cni-panic-{}", std::process::id()));
    std::fs::write(&file, r#"{"cniVersion":"1.1.0","name":"n","type":"defect"}"#).unwrap();
    let stdin = std::fs::File::open(&file).unwrap();
    let output = command.env(INSIDE, "1").env("CNI_COMMAND", "STATUS").stdin(stdin).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(output.status.code(), Some(1));
    // The test harness writes lines of its own.
    let said = String::from_utf8(output.stdout).unwrap();
    let objects: Vec<Value> =
        said.lines().filter_map(|line| serde_json::from_str(&line[line.find('{')?..]).ok()).collect();
    assert_eq!(objects.len(), 1, "{said}");
    assert_eq!((&objects[0]["code"], &objects[0]["cniVersion"]), (&Value::from(999), &Value::from("1.1.0")));
    assert!(objects[0]["msg"].as_str().unwrap().contains("the sky is falling"), "{said}");
}
