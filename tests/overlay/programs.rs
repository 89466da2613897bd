//! The freshly built programs. Cargo builds only the agent for this test; the others lie beside it, see `make test-overlay`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

/// The agent: Cargo says where it is to tests, and puts an example one folder below it.
pub(crate) fn agent() -> &'static str {
    static AGENT: LazyLock<String> = LazyLock::new(|| {
        let known = option_env!("CARGO_BIN_EXE_cleat-overlay").map(PathBuf::from);
        let beside = || {
            let own = std::env::current_exe().unwrap();
            own.parent().and_then(Path::parent).unwrap().join("cleat-overlay")
        };
        let path = known.unwrap_or_else(beside);
        assert!(path.is_file(), "{} is missing: {CURE}", path.display());
        path.display().to_string()
    });
    &AGENT
}

/// The path of another program. It must have been built after the last change of what it is made from, which is what Cargo's
/// file beside it names.
pub(crate) fn program(name: &str) -> String {
    let path = Path::new(agent()).with_file_name(name);
    let built = changed(&path).unwrap_or_else(|| panic!("{} is missing: {CURE}", path.display()));
    let sources = fs::read_to_string(path.with_extension("d"))
        .unwrap_or_else(|error| panic!("{}.d: {error}: {CURE}", path.display()));
    for source in sources.split_once(": ").map_or("", |(_, sources)| sources).split_whitespace() {
        let is_newer = changed(Path::new(source)).is_some_and(|changed| changed > built);
        assert!(!is_newer, "{} is older than {source}: {CURE}", path.display());
    }
    path.display().to_string()
}

/// The folder of all programs, which is what goes into `CNI_PATH`.
pub(crate) fn folder() -> PathBuf {
    Path::new(agent()).parent().unwrap().to_owned()
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

const CURE: &str = "`make test-overlay` builds all programs, or `cargo build --bins`";
