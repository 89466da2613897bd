//! `cleat generate`: files that are made from the program's own definitions, for `make install` and the tests.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Command, ValueEnum};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use crate::conf;
use crate::error::Error;

/// The arguments of `cleat generate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to write
    kind: Kind,
    /// The folder to write it to, which is made where it is not there; of a single page, its file
    path: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// All that goes into a system's /usr/share: completions, manual pages, schemas
    Share,
    /// JSON Schemas of network configurations
    Schemas,
    /// The page that lists every key of network configurations: docs/configuration.md
    Configuration,
}

/// Writes the files. `all` is the definition of the command line.
pub(crate) fn execute(args: &Args, all: &Command) -> Result<(), Error> {
    let path = &args.path;
    let written = match args.kind {
        Kind::Schemas => schemas(path),
        Kind::Configuration => fs::write(path, conf::page()),
        Kind::Share => completions(all, path)
            .and_then(|()| manual(all, &path.join("man/man1")))
            .and_then(|()| schemas(&path.join("cleat/schema"))),
    };
    written.map_err(|error| Error::io(format!("write {}", path.display()), error))
}

fn schemas(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, schema) in conf::schema_files() {
        fs::write(folder.join(name), serde_json::to_string_pretty(&schema)? + "\n")?;
    }
    Ok(())
}

/// Completions, each where its shell looks for it.
fn completions(all: &Command, share: &Path) -> io::Result<()> {
    for (shell, file) in [
        (Shell::Bash, "bash-completion/completions/cleat"),
        (Shell::Zsh, "zsh/site-functions/_cleat"),
        (Shell::Fish, "fish/vendor_completions.d/cleat.fish"),
    ] {
        let file = share.join(file);
        fs::create_dir_all(file.parent().unwrap_or(share))?;
        generate(shell, &mut shown(all), "cleat", &mut File::create(file)?);
    }
    Ok(())
}

/// Manual pages, one a verb.
fn manual(all: &Command, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut command = shown(all).disable_help_subcommand(true);
    command.build();
    let variables = all.get_after_help().map(ToString::to_string).unwrap_or_default();
    pages(command, &variables, folder)
}

/// The command line without its hidden verbs, which completions would offer otherwise.
fn shown(all: &Command) -> Command {
    let shown = Command::new("cleat").bin_name("cleat").version(env!("CARGO_PKG_VERSION"));
    let shown = shown.about(all.get_about().cloned().unwrap_or_default());
    shown.subcommands(all.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned())
}

/// The page of a command and those of its verbs.
fn pages(command: Command, variables: &str, folder: &Path) -> io::Result<()> {
    for verb in command.get_subcommands() {
        pages(verb.clone(), variables, folder)?;
    }
    let has_verbs = command.has_subcommands();
    let has_more = command.get_after_help().is_some();
    let page = Man::new(command);
    let name = page.get_filename();
    // The title is written here: Man leaves an empty date out, and what follows takes its place.
    let title = name.trim_end_matches(".1");
    let mut text = format!(".TH {title} 1 \"\" \"cleat {}\" cleat\n", env!("CARGO_PKG_VERSION")).into_bytes();
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if has_verbs {
        page.render_subcommands_section(&mut text)?;
    }
    if has_more {
        page.render_extra_section(&mut text)?;
    }
    environment(variables, &mut text)?;
    fs::write(folder.join(name), text)
}

/// The variables as a section of a page, one paragraph each.
fn environment(variables: &str, page: &mut Vec<u8>) -> io::Result<()> {
    writeln!(page, ".SH ENVIRONMENT")?;
    for line in variables.lines().skip(1) {
        let (name, meaning) = line.trim().split_once(' ').unwrap_or((line, ""));
        writeln!(page, ".TP\n\\fB{name}\\fR\n{}", meaning.trim())?;
    }
    Ok(())
}
