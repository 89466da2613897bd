//! Running the command blocks of a page, as a person would who follows it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::page::{Block, blocks, is_as_said};

/// How long a block may take. `make demo` takes longest, where it has to build first.
const PATIENCE: Duration = Duration::from_secs(500);
/// Between two blocks, as nobody types faster.
const PAUSE: Duration = Duration::from_millis(300);

/// Lines of a page that are not run as they are.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// The page.
    pub page: &'static str,
    /// One or more whole lines of it.
    pub lines: &'static str,
    /// What is run in their place; empty: nothing.
    pub instead: &'static str,
    /// Why.
    pub why: &'static str,
}

/// A shell that ends with the first command that fails: variables and the current folder stay from block to block.
#[derive(Debug)]
pub struct Session {
    shell: Child,
    input: ChildStdin,
    ended: Receiver<String>,
    folder: PathBuf,
    count: usize,
}

impl Session {
    /// Starts the shell in a folder; `first` is the folder where it looks for programs first, and `folder` is for the files of
    /// this session.
    #[must_use]
    pub fn new(current: &Path, first: &Path, folder: &Path) -> Self {
        let folder = folder.to_owned();
        fs::create_dir_all(&folder).unwrap();
        let mut shell = Command::new("sh")
            .args(["-e", "-s"])
            .current_dir(current)
            .env_remove("CLEAT_SANDBOX")
            .env("PATH", format!("{}:{}", first.display(), std::env::var("PATH").unwrap()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
        let (sender, ended) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { shell, input, ended, folder, count: 0 }
    }

    /// Runs commands: what they print.
    ///
    /// # Errors
    /// A command fails, or takes too long: what they printed until then.
    pub fn run(&mut self, commands: &str) -> Result<String, String> {
        self.count += 1;
        let script = self.folder.join(format!("{}.sh", self.count));
        let out = self.folder.join(format!("{}.out", self.count));
        fs::write(&script, commands).unwrap();
        // In the shell itself. What a command starts in the background may keep the file open, but not the pipe.
        let line = format!("{{ . {}; }} >{} 2>&1 </dev/null; echo done\n", script.display(), out.display());
        let sent = self.input.write_all(line.as_bytes());
        let ended = sent.map_err(|error| error.to_string()).and_then(|()| {
            self.ended
                .recv_timeout(PATIENCE)
                .map_err(|error| format!("the shell has ended, or waits: {error}"))
        });
        let printed = String::from_utf8_lossy(&fs::read(&out).unwrap_or_default()).into_owned();
        ended.map(|_| printed.clone()).map_err(|error| format!("{error}\n{printed}"))
    }

    /// Runs the blocks of a page that stand under the given headings, in the page's order, and compares what they print.
    pub fn follow(&mut self, page: &str, sections: &[&str], exceptions: &[Exception]) {
        self.follow_those(page, |block| sections.contains(&block.section.as_str()), exceptions);
    }

    /// As [`Session::follow`], the blocks that are chosen.
    pub fn follow_those(&mut self, page: &str, is_chosen: impl Fn(&Block) -> bool, exceptions: &[Exception]) {
        for block in blocks(page).iter().filter(|block| is_chosen(block)) {
            thread::sleep(PAUSE);
            let (commands, notes) = with_exceptions(page, block, exceptions);
            let place = format!("{page}:{}", block.line);
            eprintln!("==> {place}\n{}{notes}", block.commands);
            match self.run(&commands) {
                Err(said) => panic!("{place}:\n{commands}{said}"),
                Ok(printed) => {
                    eprint!("{printed}");
                    if let Some(said) = &block.prints {
                        assert!(
                            is_as_said(said, &printed),
                            "{place}:\n{commands}printed:\n{printed}\nbut the page says:\n{said}"
                        );
                    }
                }
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// The commands of a block with what is run in place of exceptions, and a note for each of these.
fn with_exceptions(page: &str, block: &Block, exceptions: &[Exception]) -> (String, String) {
    let mut commands = format!("\n{}", block.commands);
    let mut notes = String::new();
    for exception in exceptions.iter().filter(|exception| exception.page == page) {
        let lines = format!("\n{}\n", exception.lines);
        if commands.contains(&lines) {
            commands = commands.replace(&lines, &format!("\n{}\n", exception.instead));
            let instead = if exception.instead.is_empty() { "nothing" } else { exception.instead };
            let why = exception.why;
            writeln!(notes, "    NOT AS WRITTEN: {} -> {instead}: {why}", exception.lines).unwrap();
        }
    }
    (commands, notes)
}

/// Tells what of the pages is not run as it stands, and which images are there beforehand. This is never captured: who runs the
/// tests is to see it.
pub fn tell(exceptions: &[Exception], images: &[&str]) {
    let mut text = String::from("\nNot run as they stand in the pages:\n");
    for Exception { page, lines, instead, why } in exceptions {
        let instead = if instead.is_empty() { "not run" } else { instead };
        writeln!(text, "  {page}: {}\n    -> {instead}: {why}", lines.replace('\n', "\n      ")).unwrap();
    }
    writeln!(text, "  There beforehand, as no registry can be reached: {}", images.join(", ")).unwrap();
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

/// Panics unless every block of the pages stands under one of the headings that tests run, and every exception occurs in
/// its page.
pub fn assert_complete(pages: &[(&str, &[&str])], exceptions: &[Exception]) {
    for (page, sections) in pages {
        let blocks = blocks(page);
        let found: BTreeSet<&str> = blocks.iter().map(|block| block.section.as_str()).collect();
        let run: BTreeSet<&str> = sections.iter().copied().collect();
        assert_eq!(found, run, "headings of {page} with command blocks, and those that are run");
    }
    for exception in exceptions {
        let lines = format!("\n{}\n", exception.lines);
        let is_there = |block: &Block| format!("\n{}", block.commands).contains(&lines);
        assert!(
            blocks(exception.page).iter().any(is_there),
            "{} has no more the lines {:?}",
            exception.page,
            exception.lines
        );
    }
}
