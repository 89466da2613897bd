use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::content::LONGEST;

fn folder() -> (tempfile::TempDir, Folder) {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path()).unwrap().unwrap();
    (place, folder)
}

#[test]
fn rewriting_keeps_the_inode_whether_the_text_grows_or_shrinks() {
    let (place, folder) = folder();
    let file = place.path().join("hosts");
    folder.rewrite("hosts", b"one\n", 0o644).unwrap();
    let inode = fs::metadata(&file).unwrap().ino();
    for text in ["one\ntwo\nthree\n", "2\n", "", "one\n"] {
        folder.rewrite("hosts", text.as_bytes(), 0o644).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!((metadata.ino(), metadata.mode() & 0o777), (inode, 0o644));
}

#[test]
fn equal_content_is_not_written_again() {
    let (place, folder) = folder();
    folder.rewrite("hosts", b"same\n", 0o644).unwrap();
    let file = place.path().join("hosts");
    let before = fs::metadata(&file).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    folder.rewrite("hosts", b"same\n", 0o644).unwrap();
    assert_eq!(before.mtime_nsec(), fs::metadata(&file).unwrap().mtime_nsec());
}

#[test]
fn nothing_is_written_through_links() {
    let (place, folder) = folder();
    let victim = place.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, place.path().join("soft")).unwrap();
    fs::hard_link(&victim, place.path().join("hard")).unwrap();
    assert!(folder.read("soft").is_err());
    for name in ["soft", "hard"] {
        folder.rewrite(name, b"text", 0o644).unwrap();
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
}

#[test]
fn names_cannot_lead_out_of_the_folder() {
    let (_place, folder) = folder();
    for name in ["", ".", "..", "a/b", "/etc", ".new", "a\0"] {
        assert!(matches!(folder.read(name), Err(Error::FileName { .. })), "{name:?}");
    }
}

/// A container has its hosts file mounted, and may make it as long as the file system knows lengths.
#[test]
fn a_file_without_end_is_cut_and_never_read() {
    let (place, folder) = folder();
    let file = place.path().join("hosts");
    folder.rewrite("hosts", b"one\n", 0o644).unwrap();
    let inode = fs::metadata(&file).unwrap().ino();
    for length in [1 << 40, LONGEST + 1, 100_000] {
        fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length).unwrap();
        assert_eq!(folder.read("hosts").is_ok(), length <= LONGEST, "{length}");
        folder.rewrite("hosts", b"two\n", 0o644).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two\n");
    }
    assert_eq!(fs::metadata(&file).unwrap().ino(), inode);
}

#[test]
fn a_folder_is_for_others_to_read_at_most_whatever_the_umask() {
    let (place, _) = folder();
    let below = place.path().join("run/cdi");
    let old = nix::sys::stat::umask(Mode::empty());
    Folder::at_or_create(&below).unwrap();
    nix::sys::stat::umask(old);
    for folder in [below.parent().unwrap(), &below] {
        assert_eq!(fs::metadata(folder).unwrap().mode() & 0o777, 0o755, "{}", folder.display());
    }
}

#[test]
fn what_stands_in_a_files_place_neither_hangs_nor_is_read_without_end() {
    let (place, folder) = folder();
    let (fifo, sparse) = (place.path().join("fifo"), place.path().join("sparse"));
    nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    File::create(&sparse).unwrap().set_len(1 << 40).unwrap();
    fs::create_dir(place.path().join("folder")).unwrap();
    let refusal = |name: &str| folder.read(name).unwrap_err().to_string();
    assert!(refusal("fifo").contains("not a regular file"));
    assert!(refusal("folder").contains("not a regular file"));
    assert!(refusal("sparse").contains("longer than 16777216 bytes"), "{}", refusal("sparse"));
    let inode = fs::metadata(&sparse).unwrap().ino();
    for name in ["fifo", "sparse"] {
        folder.rewrite(name, b"text\n", 0o644).unwrap();
        assert_eq!(folder.read(name).unwrap().unwrap(), b"text\n");
    }
    assert_eq!(fs::metadata(&sparse).unwrap().ino(), inode, "it may be mounted");
}
