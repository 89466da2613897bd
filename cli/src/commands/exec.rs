//! `cleat exec`: a command in a container's network.
//!
//! In a container of `cleat run` it has all namespaces, and the variables and files of the container's own command. Containers
//! of other runtimes have files of their own, which may be hostile, and nothing of these is executed: the command is the host's,
//! with the container's network namespace, host name, hosts file, resolver and variables of links.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cni::Dns;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{chdir, gethostname, sethostname};

use crate::endpoint::Variable;
use crate::environment::{self, Environment};
use crate::error::Error;
use crate::inventory::{Attached, Inventory, kept_result};
use crate::launch::launch;
use crate::mounts;
use crate::registered::{folder_of, hosts_of, link_variables};
use crate::resolv::{self, Families, RESOLV_CONF};
use crate::runs::{self, Run};
use crate::runtime::{CacheFolder, Runtime};
use crate::signals::Signals;
use crate::spec::Resolver;
use crate::user;

/// The arguments of `cleat exec`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name or ID of the container
    container: String,
    /// A variable for the command; without a value, with that which it has here. Again for further ones
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    env: Vec<String>,
    /// Folder in which the command starts [default: that of the container's command]
    #[arg(short, long, value_name = "FOLDER")]
    workdir: Option<PathBuf>,
    /// User, by name or number, also with a group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// As with Docker; the command always has this command's input
    #[arg(short, long)]
    interactive: bool,
    /// As with Docker; the command always has this command's terminal
    #[arg(short, long)]
    tty: bool,
    #[command(flatten)]
    cache: CacheFolder,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true)]
    command: Vec<OsString>,
}

/// Runs the command and returns its exit code.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<ExitCode, Error> {
    let runtime = Runtime::new(environment, &args.cache);
    let inventory = Inventory::read(&runtime)?;
    let attached = inventory.container(&args.container);
    let run = match &attached {
        Ok(attachments) => {
            attachments.first().map_or(Ok(None), |first| runs::running(first.container_id()))?
        }
        Err(Error::NoContainer { .. }) => runs::running(&args.container)?,
        Err(_) => None,
    };
    let attachments = match attached {
        Err(error) if run.is_none() => return Err(error),
        attached => attached.unwrap_or_default(),
    };
    let links = variables_of_links(&inventory, &attachments)?;
    let hosts = hosts_of(&inventory, &attachments);
    let may_set_groups = user::may_set_groups();
    let signals = Signals::hold()?;
    let mut env = if let Some(run) = &run {
        enter(run)?
    } else {
        borrow(&runtime, &args.container, &attachments, hosts.as_deref())?;
        environment::inherited()
    };
    env.extend(links);
    if let Ok(hostname) = gethostname() {
        env.push(("HOSTNAME".into(), hostname));
    }
    if let Some(run) = &run {
        env.extend(
            run.record.spec()?.env.into_iter().map(|Variable { key, value }| (key.into(), value.into())),
        );
    }
    for variable in &args.env {
        env.extend(environment::variable_of_option(variable).map_err(|reason| {
            Error::refused(format!("use -e {variable}"), reason, "write it as KEY=VALUE")
        })?);
    }
    let own = match &run {
        Some(run) => Some(run.record.spec()?.workdir.unwrap_or_else(|| run.record.folder.clone())),
        None => None,
    };
    if let Some(folder) = args.workdir.clone().or(own) {
        chdir(&folder).map_err(|errno| Error::io(format!("go to folder {}", folder.display()), errno))?;
    }
    if let Some(user) = &args.user {
        user::become_user(user, may_set_groups)?;
    }
    let command = launch(&args.command, &env)?;
    let code =
        signals.outlast(command, || false).map_err(|errno| Error::io("wait for the command", errno))?;
    Ok(ExitCode::from(code))
}

fn variables_of_links(
    inventory: &Inventory,
    attachments: &[&Attached],
) -> Result<Vec<(OsString, OsString)>, Error> {
    let mut all = Vec::new();
    for attached in attachments {
        if let Some(folder) = folder_of(inventory, attached) {
            let file = folder.join("env.json");
            if file.exists() {
                all.extend(link_variables(&file)?.into_iter().map(|(key, value)| (key.into(), value.into())));
            }
        }
    }
    Ok(all)
}

/// Enters all namespaces of a container of `cleat run`; returns the variables with which it was started.
#[expect(
    clippy::disallowed_methods,
    reason = "this process has no other thread, and becomes a part of the container"
)]
fn enter(run: &Run) -> Result<Vec<(OsString, OsString)>, Error> {
    let doing = || format!("enter container {}", registry::short_id(&run.record.container_id));
    let Some(process) = run.record.process else {
        return Err(Error::refused(doing(), "it is only just starting", "try again"));
    };
    let kinds = [
        ("pid", CloneFlags::CLONE_NEWPID),
        ("net", CloneFlags::CLONE_NEWNET),
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("mnt", CloneFlags::CLONE_NEWNS),
    ];
    // All are opened before any is entered, as /proc is another one afterwards.
    let open = |(name, kind)| File::open(format!("/proc/{process}/ns/{name}")).map(|file| (file, kind));
    let namespaces = kinds.into_iter().map(open).collect::<Result<Vec<_>, _>>();
    for (namespace, kind) in namespaces.map_err(|error| Error::io(doing(), error))? {
        // The PID namespace is that of the processes that are started from now on.
        setns(namespace, kind).map_err(|errno| Error::io(doing(), errno))?;
    }
    let mut env = run.record.environment.clone();
    env.retain(|(name, _)| !environment::is_of_contract(name));
    Ok(env)
}

/// Takes on the network of a container of another runtime, with mounts of the host and the container's hosts file, resolver and
/// host name.
#[expect(
    clippy::disallowed_methods,
    reason = "this process has no other thread, and works in the container's network"
)]
fn borrow(
    runtime: &Runtime<'_>,
    container: &str,
    attachments: &[&Attached],
    hosts: Option<&Path>,
) -> Result<(), Error> {
    let doing = || format!("enter the network of container {container}");
    let Some(first) =
        attachments.iter().find(|attached| !attached.is_gone() && attached.life.why().is_none())
    else {
        return Err(Error::refused(
            doing(),
            "its network namespace is not known, or has gone",
            "`cleat check` says more",
        ));
    };
    let mut networks: Vec<Dns> = Vec::new();
    let mut families = Families::default();
    for attached in attachments {
        let entry = runtime.cache.read(&attached.attachment).ok().flatten();
        networks.extend(entry.as_ref().map(|entry| kept_result(entry).dns));
        families.v4 |= attached.ips().any(|ip| ip.address.is_ipv4());
        families.v6 |= attached.ips().any(|ip| ip.address.is_ipv6());
    }
    let resolver = resolv::in_container(&Resolver::default(), &networks, &resolv::of_host()?, families);
    let hostname = first.member.as_ref().map_or_else(|| first.short_id(), |member| member.hostname.clone());
    let namespace = File::open(&first.netns).map_err(|error| Error::io(doing(), error))?;
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| Error::io(doing(), errno))?;
    let none = None::<&str>;
    let own = || -> nix::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)?;
        mount(none, "/", none, MsFlags::MS_SLAVE | MsFlags::MS_REC, none)?;
        sethostname(&hostname)
    };
    own().map_err(|errno| Error::io(doing(), errno))?;
    if let Some(hosts) = hosts {
        mounts::bind_hosts(hosts).map_err(mounts::failed(hosts))?;
    }
    if !Path::new(RESOLV_CONF).exists() {
        return Ok(());
    }
    mounts::show_texts(&[(RESOLV_CONF.into(), resolver)])
        .map_err(|error| Error::io(format!("mount the container's {RESOLV_CONF}"), error))
}
