//! Runs the examples of a crate.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs an example of the crate in `folder` (`CARGO_MANIFEST_DIR`), and returns what it printed; it must succeed.
///
/// `cargo test` builds the examples too, beside the tests. Only `cargo test --test NAME` does not: this panics then unless the
/// example is at least as new as its source.
#[must_use]
pub fn example(folder: &str, name: &str, arguments: &[&str]) -> String {
    let source = Path::new(folder).join("examples").join(name).with_extension("rs");
    let program = built().join(name);
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let written = changed(&source).unwrap_or_else(|| panic!("there is no {}", source.display()));
    assert!(
        changed(&program).is_some_and(|built| built >= written),
        "{} is missing or older than its source: add --examples to the arguments of cargo test",
        program.display()
    );
    let output = Command::new(&program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}, {}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Where cargo puts examples: beside the folder of the running test.
fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples")
}
