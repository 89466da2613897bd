//! What could not be done for a container, kept with its files for the administrator.

use folder::Folder;

use crate::error::Error;

/// A line a note, oldest first.
const NOTES: &str = "notes";
/// They are for the administrator alone.
const MODE: u32 = 0o600;
/// In bytes. A container that is started over and over must not fill the folder, which is memory.
const LIMIT: usize = 8 * 1024;

/// Adds a note to a container's folder.
pub(crate) fn add(folder: &Folder, text: &str) -> Result<(), Error> {
    let known = folder.read(NOTES)?.unwrap_or_default();
    let line = line(text);
    let is_known = known.split_inclusive(|byte| *byte == b'\n').any(|note| note == line.as_bytes());
    if is_known || known.len() + line.len() > LIMIT {
        return Ok(());
    }
    Ok(folder.append(NOTES, line.as_bytes(), MODE)?)
}

/// Takes a note back.
pub(crate) fn take(folder: &Folder, text: &str) -> Result<(), Error> {
    let Some(known) = folder.read(NOTES)? else {
        return Ok(());
    };
    let line = line(text);
    let others = known.split_inclusive(|byte| *byte == b'\n').filter(|note| *note != line.as_bytes());
    let others = others.collect::<Vec<_>>().concat();
    if others.is_empty() {
        folder.remove(NOTES)?;
    } else if others.len() < known.len() {
        folder.replace(NOTES, &others, MODE)?;
    }
    Ok(())
}

fn line(text: &str) -> String {
    format!("{}\n", text.replace(['\n', '\r'], " "))
}

/// The notes of a container's folder, oldest first, each once.
pub(crate) fn all(folder: &Folder) -> Result<Vec<String>, Error> {
    let notes = folder.read(NOTES)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&notes).lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::Registry;

    #[test]
    fn notes_are_kept_once_with_the_containers_files_and_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::at(folder.path());
        registry.note("c", "lost").unwrap();
        assert_eq!(registry.notes("c").unwrap(), [""; 0]);
        fs::create_dir_all(registry.container_dir("c")).unwrap();
        for text in ["first", "second\nline", "first"] {
            registry.note("c", text).unwrap();
        }
        assert_eq!(registry.notes("c").unwrap(), ["first", "second line"]);
        for number in 0..2000 {
            registry.note("c", &format!("note {number}")).unwrap();
        }
        assert!(fs::metadata(registry.container_dir("c").join(NOTES)).unwrap().len() <= LIMIT as u64);
        assert!(registry.note("../c", "outside").is_err());
    }
}
