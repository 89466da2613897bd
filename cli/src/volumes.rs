//! Which folders of the host a container's volumes are.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::runs;
use crate::spec::{Source, Spec};

/// Where volumes with a name are kept.
const NAMED: &str = "/var/lib/cleat/volumes";
/// How many containers `--volumes-from` leads through.
const DEEPEST: usize = 16;

/// A file or folder of the host, and where a container has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Mounted {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
}

/// The volumes of a container, the outer ones first. `own` is the folder for those without a name. What does not exist is made,
/// as Docker does.
///
/// # Errors
/// A folder cannot be made, or there is no container of a `--volumes-from`.
pub(crate) fn of(spec: &Spec, own: &Path) -> Result<Vec<Mounted>, Error> {
    let mut all = collect(spec, own, DEEPEST)?;
    all.sort_by_key(|mounted| mounted.target.components().count());
    for mounted in &all {
        if !mounted.source.exists() {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(&mounted.source);
            made.map_err(|error| Error::io(format!("create folder {}", mounted.source.display()), error))?;
        }
    }
    Ok(all)
}

/// A volume of the container's own takes the place of one that it has from others.
fn collect(spec: &Spec, own: &Path, depth: usize) -> Result<Vec<Mounted>, Error> {
    let mut all: Vec<Mounted> = Vec::new();
    let mut put = |mounted: Mounted| {
        all.retain(|other| other.target != mounted.target);
        all.push(mounted);
    };
    for from in &spec.volumes_from {
        let run = runs::find(&from.container)?;
        if depth == 0 {
            return Err(Error::refused(
                format!("use the volumes of container {}", from.container),
                "it has those of too many others, one behind the other",
                "name their folders with -v",
            ));
        }
        for mounted in collect(&run.record.spec()?, &run.own_volumes(), depth - 1)? {
            put(Mounted { read_only: mounted.read_only || from.read_only, ..mounted });
        }
    }
    for (number, volume) in spec.volume.iter().enumerate() {
        let source = match &volume.source {
            Source::Host(path) => path.clone(),
            Source::Named(name) => Path::new(NAMED).join(name),
            Source::Own => own.join(number.to_string()),
        };
        put(Mounted { source, target: volume.target.clone(), read_only: volume.read_only });
    }
    // Links in a path of the host are the host's.
    for mounted in &mut all {
        mounted.source = fs::canonicalize(&mounted.source).unwrap_or_else(|_| mounted.source.clone());
    }
    Ok(all)
}
