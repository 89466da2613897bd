use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use super::*;

fn folder() -> (tempfile::TempDir, Folder) {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path()).unwrap().unwrap();
    (place, folder)
}

#[test]
fn nothing_is_read_or_written_through_links() {
    let (place, folder) = folder();
    let victim = place.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, place.path().join("soft")).unwrap();
    assert!(folder.read("soft").is_err() && folder.append("soft", b"text", 0o600).is_err());
    fs::hard_link(&victim, place.path().join("hard")).unwrap();
    for name in ["soft", "hard"] {
        folder.create(name, b"text", 0o600).unwrap();
        assert_eq!(folder.read(name).unwrap().unwrap(), b"text");
    }
    symlink(&victim, place.path().join(TEMPORARY)).unwrap();
    folder.replace("new", b"text", 0o600).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

#[test]
fn a_folder_that_is_a_symbolic_link_is_not_entered() {
    let (place, folder) = folder();
    symlink("/", place.path().join("way-out")).unwrap();
    assert!(folder.child("way-out").is_err());
    assert!(folder.child_or_create("way-out").is_err());
    assert!(Folder::open(&place.path().join("way-out")).is_err());
}

#[test]
fn names_cannot_lead_out_of_the_folder() {
    let (_place, folder) = folder();
    for name in ["", ".", "..", "a/b", "/etc", ".new", "a\0"] {
        let error = folder.read(name).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::InvalidFilename, "{name:?}");
        assert!(folder.child_or_create(name).is_err() && folder.replace(name, b"", 0o600).is_err());
        assert!(
            folder.unlink(name).is_err() && folder.remove(name).is_err() && folder.link("a", name).is_err()
        );
    }
    assert_eq!(folder.entries().unwrap(), [""; 0]);
}

#[test]
fn a_folder_is_for_others_to_read_at_most_whatever_the_umask() {
    let (place, _) = folder();
    let below = place.path().join("run/cdi");
    let old = nix::sys::stat::umask(Mode::empty());
    Folder::at_or_create(&below, 0o755).unwrap();
    nix::sys::stat::umask(old);
    for folder in [below.parent().unwrap(), &below] {
        assert_eq!(fs::metadata(folder).unwrap().mode() & 0o777, 0o755, "{}", folder.display());
    }
}

#[test]
fn what_stands_in_a_files_place_neither_hangs_nor_is_read_without_end() {
    let (place, folder) = folder();
    nix::unistd::mkfifo(&place.path().join("fifo"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    File::create(place.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();
    fs::create_dir(place.path().join("folder")).unwrap();
    let refusal = |name: &str| folder.read(name).unwrap_err().to_string();
    assert!(refusal("fifo").contains("not a regular file"));
    assert!(refusal("folder").contains("not a regular file"));
    assert!(refusal("sparse").contains("longer than 16777216 bytes"), "{}", refusal("sparse"));
}

#[test]
fn an_empty_folder_goes_as_a_file_does_where_that_is_asked_for() {
    let (place, folder) = folder();
    fs::create_dir(place.path().join("hosts")).unwrap();
    assert!(!folder.unlink("hosts").unwrap());
    assert_eq!(folder.entries().unwrap(), ["hosts"]);
    folder.remove("hosts").unwrap();
    assert_eq!(folder.entries().unwrap(), [""; 0]);
    folder.remove("hosts").unwrap();
}
