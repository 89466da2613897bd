//! Containers as scripts ask for them: `-q`, `--format` and `--filter` of `cleat ps`.

use serde_json::{Value, json};

use crate::age;
use crate::inventory::Attached;
use crate::network::id;
use crate::output::Table;
use crate::runs::Run;
use crate::template::Template;

/// One container, with all of its networks.
#[derive(Clone, Debug, Default)]
pub(super) struct Listed {
    id: String,
    name: String,
    runtime: String,
    networks: Vec<String>,
    addresses: Vec<String>,
    ports: Vec<String>,
    status: String,
    exit_code: Option<u8>,
}

/// One `--filter KEY=VALUE`.
#[derive(Clone, Debug)]
pub(super) enum Filter {
    Name(String),
    Id(String),
    Network(String),
    Runtime(String),
    Running(bool),
    Exited(u8),
}

impl Filter {
    /// Whether it asks for containers that have ended.
    pub(super) fn is_of_ended(&self) -> bool {
        matches!(self, Self::Running(false) | Self::Exited(_))
    }
}

impl std::str::FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
        match key {
            "name" => Ok(Self::Name(value.to_owned())),
            "id" => Ok(Self::Id(value.to_owned())),
            "network" => Ok(Self::Network(value.to_owned())),
            "runtime" => Ok(Self::Runtime(value.to_owned())),
            "status" if value == "running" => Ok(Self::Running(true)),
            "status" if value == "exited" => Ok(Self::Running(false)),
            "exited" => value.parse().map(Self::Exited).map_err(|_| "exited is an exit code".to_owned()),
            "label" => Err("containers have no labels here; a container runtime keeps them".to_owned()),
            _ => Err(format!(
                "{key} is unknown: name, id, network, runtime, status=running or exited, and exited are known"
            )),
        }
    }
}

impl Listed {
    /// The container of attachments that lie together.
    pub(super) fn of(attachments: &[&Attached]) -> Self {
        let Some(first) = attachments.first() else { return Self::default() };
        let since = first.since.map(age::since).unwrap_or_default();
        Self {
            id: first.container_id().to_owned(),
            name: first.called(),
            runtime: first.caller.to_owned(),
            networks: attachments.iter().map(|one| one.attachment.network.to_string()).collect(),
            addresses: attachments.iter().flat_map(|one| one.addresses()).collect(),
            ports: attachments.iter().flat_map(|one| &one.ports).map(ToString::to_string).collect(),
            status: if first.is_gone() { "Gone".to_owned() } else { format!("Up {since}") },
            exit_code: None,
        }
    }

    /// One of `cleat run` that is on no network, or has ended.
    pub(super) fn of_run(run: &Run) -> Self {
        let record = &run.record;
        let status = record.exit_code.map(|code| format!("Exited ({code})"));
        let short = registry::short_id(&record.container_id);
        Self {
            id: record.container_id.clone(),
            name: record.name.clone().unwrap_or(short),
            runtime: "cleat".to_owned(),
            networks: record.networks.clone(),
            status: status.unwrap_or_else(|| format!("Up {}", age::since(record.created))),
            exit_code: record.exit_code,
            ..Self::default()
        }
    }

    /// The first digits of its ID.
    pub(super) fn short_id(&self) -> String {
        registry::short_id(&self.id)
    }

    /// Whether a filter lets it through.
    fn passes(&self, filter: &Filter) -> bool {
        match filter {
            Filter::Name(part) => self.name.contains(part.trim_start_matches('/')),
            Filter::Id(start) => self.id.starts_with(start),
            Filter::Network(network) => {
                let is_its =
                    |name: &String| name == network || network.len() >= 4 && id(name).starts_with(network);
                self.networks.iter().any(is_its)
            }
            Filter::Runtime(runtime) => self.runtime == *runtime,
            Filter::Running(is_running) => self.exit_code.is_none() == *is_running,
            Filter::Exited(code) => self.exit_code == Some(*code),
        }
    }

    /// Whether all filters let it through; as with Docker, of several with one key one is enough.
    pub(super) fn passes_all(&self, filters: &[Filter]) -> bool {
        filters.iter().all(|filter| {
            let same = |other: &&Filter| std::mem::discriminant(*other) == std::mem::discriminant(filter);
            filters.iter().filter(same).any(|filter| self.passes(filter))
        })
    }

    fn object(&self) -> Value {
        json!({"ID": self.short_id(), "Names": self.name, "Networks": self.networks.join(","),
            "Ports": self.ports.join(", "), "Status": self.status, "Addresses": self.addresses.join(", "),
            "Runtime": self.runtime})
    }
}

/// The text of `--format`: a line each, with `table` before the template in columns with a heading.
pub(super) fn formatted(format: &str, all: &[Listed]) -> Result<String, String> {
    if format == "json" {
        return Ok(all.iter().map(|listed| listed.object().to_string() + "\n").collect());
    }
    let Some(columns) = format.strip_prefix("table ") else {
        let template: Template = format.parse()?;
        return all.iter().map(|listed| Ok(template.fill(&listed.object())? + "\n")).collect();
    };
    let template: Template = columns.trim_start().parse()?;
    let heading = json!({"ID": "CONTAINER ID", "Names": "NAMES", "Networks": "NETWORKS", "Ports": "PORTS", "Status": "STATUS",
        "Addresses": "ADDRESSES", "Runtime": "RUNTIME"});
    let heading = template.fill(&heading)?;
    let mut table = Table::new(&heading.split('\t').collect::<Vec<_>>());
    for listed in all {
        let line = template.fill(&listed.object())?;
        table.row(line.split('\t').map(Into::into));
    }
    Ok(table.to_string())
}
