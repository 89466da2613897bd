use std::fs::{self, File};
use std::os::unix::fs::symlink;

use folder::LONGEST;

use super::*;

fn folder() -> (tempfile::TempDir, Folder) {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path()).unwrap().unwrap();
    (place, folder)
}

#[test]
fn rewriting_keeps_the_inode_whether_the_text_grows_or_shrinks() {
    let (place, folder) = folder();
    let file = place.path().join("hosts");
    rewrite(&folder, "hosts", b"one\n", 0o644).unwrap();
    let inode = fs::metadata(&file).unwrap().ino();
    for text in ["one\ntwo\nthree\n", "2\n", "", "one\n"] {
        rewrite(&folder, "hosts", text.as_bytes(), 0o644).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!((metadata.ino(), metadata.mode() & 0o777), (inode, 0o644));
}

#[test]
fn equal_content_is_not_written_again() {
    let (place, folder) = folder();
    rewrite(&folder, "hosts", b"same\n", 0o644).unwrap();
    let file = place.path().join("hosts");
    let before = fs::metadata(&file).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    rewrite(&folder, "hosts", b"same\n", 0o644).unwrap();
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
        rewrite(&folder, name, b"text", 0o644).unwrap();
        assert_eq!(folder.read(name).unwrap().unwrap(), b"text");
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

/// A container has its hosts file mounted, and may make it as long as the file system allows.
#[test]
fn a_file_without_end_is_cut_and_never_read() {
    let (place, folder) = folder();
    let file = place.path().join("hosts");
    rewrite(&folder, "hosts", b"one\n", 0o644).unwrap();
    let inode = fs::metadata(&file).unwrap().ino();
    for length in [1 << 40, LONGEST + 1, 100_000] {
        fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length).unwrap();
        assert_eq!(folder.read("hosts").is_ok(), length <= LONGEST, "{length}");
        rewrite(&folder, "hosts", b"two\n", 0o644).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two\n");
    }
    assert_eq!(fs::metadata(&file).unwrap().ino(), inode);
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
        rewrite(&folder, name, b"text\n", 0o644).unwrap();
        assert_eq!(folder.read(name).unwrap().unwrap(), b"text\n");
    }
    assert_eq!(fs::metadata(&sparse).unwrap().ino(), inode, "a file that may be mounted must keep its inode");
}
