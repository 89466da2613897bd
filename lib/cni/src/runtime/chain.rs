//! Runs a network's plugins as a runtime does (specification, section 3): in order for ADD, each with the result of
//! the one before; in reverse for DEL; with the capabilities each one asks for.

mod repair;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::plugin::request::Command;
use crate::runtime::cache::{Cache, Entry};
use crate::runtime::delegate::{self, Invocation};
use crate::runtime::list::NetworkList;
use crate::spec::attachment::{Attachment, ContainerId, IfName};
use crate::spec::case_blind;
use crate::spec::conf;
use crate::spec::error::{Code, Error};
use crate::spec::result::AddResult;
use crate::spec::version::Version;

/// A runtime's side of the contract, for one network.
#[derive(Clone, Debug)]
pub struct Chain<'a> {
    /// The network.
    pub list: &'a NetworkList,
    /// `CNI_PATH`.
    pub path: &'a [PathBuf],
    /// Where results are kept.
    pub cache: &'a Cache,
}

/// What a runtime says about one attachment.
#[derive(Clone, Debug)]
pub struct Parameters<'a> {
    /// Container, network and interface.
    pub attachment: &'a Attachment,
    /// The container's network namespace; empty where it is gone.
    pub netns: &'a Path,
    /// `CNI_ARGS` as pairs.
    pub args: &'a [(String, String)],
    /// What the runtime offers, by capability; each plugin gets what it declares.
    pub capabilities: &'a Map<String, Value>,
}

impl Chain<'_> {
    /// Makes an attachment and keeps its result. Where a plugin fails, those that ran are called with DEL.
    ///
    /// # Errors
    /// The failing plugin's error, with what could not be undone.
    pub fn add(&self, parameters: &Parameters<'_>) -> Result<AddResult, Error> {
        let mut result = None;
        let outcome = self.list.plugins.iter().try_for_each(|plugin| {
            result = self.call(Command::Add, plugin, Some(parameters), result.as_ref())?;
            Ok(())
        });
        let outcome = outcome.and_then(|()| {
            let result = result.clone().unwrap_or_default();
            let netns = parameters.netns;
            let value = result.to_value(self.list.version)?;
            let mut entry = Entry::new(parameters.attachment, netns, &self.list.bytes, value);
            entry.args = (!parameters.args.is_empty()).then(|| parameters.args.to_vec());
            entry.capability_args =
                (!parameters.capabilities.is_empty()).then(|| parameters.capabilities.clone());
            self.cache.write(parameters.attachment, &entry)?;
            Ok(result)
        });
        outcome.map_err(|error: Error| error.undone(self.del_all(parameters, result.as_ref())))
    }

    /// Removes an attachment: every plugin in reverse, past errors, then the kept result.
    ///
    /// # Errors
    /// All that plugins reported. The result is kept then, so that a further DEL has it.
    pub fn del(&self, parameters: &Parameters<'_>) -> Result<(), Error> {
        let result = self.result_to_remove(parameters.attachment);
        self.del_all(parameters, result.as_ref())?;
        self.cache.remove(parameters.attachment)
    }

    fn del_all(&self, parameters: &Parameters<'_>, result: Option<&AddResult>) -> Result<(), Error> {
        // Before 0.4.0 DEL had no prevResult.
        let result = result.filter(|_| self.list.version >= Version::V0_4_0);
        let plugins = self.list.plugins.iter().rev();
        let calls = plugins.map(|plugin| self.call(Command::Del, plugin, Some(parameters), result));
        Error::all(calls.filter_map(Result::err).collect())
    }

    /// Has every plugin compare the attachment with its kept result.
    ///
    /// # Errors
    /// The first difference; code 3 where nothing is known of the attachment.
    pub fn check(&self, parameters: &Parameters<'_>) -> Result<(), Error> {
        if self.list.disable_check {
            return Ok(());
        }
        let result = self.kept(parameters.attachment)?;
        self.list
            .plugins
            .iter()
            .try_for_each(|plugin| self.ask(Command::Check, plugin, Some(parameters), Some(&result)))
    }

    /// Why the first of the list's programs is not to be found, where one is not.
    #[must_use]
    pub fn absent(&self) -> Option<Error> {
        self.list.plugins.iter().map(type_of).find_map(|name| delegate::find(name, self.path).err())
    }

    /// The same for those that give addresses.
    #[must_use]
    pub fn absent_ipam(&self) -> Option<Error> {
        let ipams =
            self.list.plugins.iter().filter_map(|plugin| case_blind::get(plugin, "ipam")?.as_object());
        let mut names = ipams.map(type_of).filter(|name| !name.is_empty());
        names.find_map(|name| delegate::find(name, self.path).err())
    }

    /// Has every plugin say whether it could ADD.
    ///
    /// # Errors
    /// The first plugin's reason against; code 1 before 1.1.0.
    pub fn status(&self) -> Result<(), Error> {
        self.list.plugins.iter().try_for_each(|plugin| self.ask(Command::Status, plugin, None, None))
    }

    /// Removes what is kept or left of attachments that are not in the list: DEL for those with a kept
    /// result, then GC for every plugin that knows it.
    ///
    /// # Errors
    /// All that plugins reported.
    pub fn gc(&self, valid: &[(ContainerId, IfName)]) -> Result<(), Error> {
        let mut errors = Vec::new();
        for entry in self.cache.entries()? {
            if entry.network != self.list.name.as_str() {
                continue;
            }
            let (Ok(container_id), Ok(ifname)) =
                (ContainerId::new(entry.container_id), IfName::new(entry.ifname))
            else {
                continue;
            };
            if valid.iter().any(|(id, name)| (id, name) == (&container_id, &ifname)) {
                continue;
            }
            let attachment = Attachment { network: self.list.name.clone(), container_id, ifname };
            let parameters = Parameters {
                attachment: &attachment,
                netns: Path::new(&entry.netns),
                args: entry.args.as_deref().unwrap_or_default(),
                capabilities: &entry.capability_args.unwrap_or_default(),
            };
            errors.extend(self.del(&parameters).err());
        }
        if !self.list.disable_gc {
            errors.extend(self.gc_plugins(valid));
        }
        Error::all(errors)
    }

    /// Has every plugin remove what no valid attachment has. A list of an older version, as most are, says nothing about
    /// what its plugins can do: they are asked all the same, and those that do not know the verb are skipped.
    fn gc_plugins(&self, valid: &[(ContainerId, IfName)]) -> Vec<Error> {
        let list = self.raised(Command::Gc);
        let chain = Chain { list: &list, ..self.clone() };
        let calls = self.list.plugins.iter().map(|plugin| {
            let mut conf = plugin.clone();
            conf::set_valid_attachments(&mut conf, valid);
            chain.ask(Command::Gc, &conf, None, None)
        });
        calls.filter_map(Result::err).filter(|error| !self.is_unknown(Command::Gc, error)).collect()
    }

    /// The list in a version that has the verb.
    fn raised(&self, command: Command) -> NetworkList {
        NetworkList { version: self.list.version.max(command.since()), ..self.list.clone() }
    }

    /// Whether an error is how a plugin misses a verb that its list, being older, does not promise.
    fn is_unknown(&self, command: Command, error: &Error) -> bool {
        // The last one is how libcni's plugins of before miss the container's ID.
        let unknown = [Code::IncompatibleVersion, Code::InvalidEnvironment, Code::UnknownContainer];
        self.list.version < command.since() && unknown.map(Code::number).contains(&error.code())
    }

    /// The kept result, without which there is nothing to compare with.
    fn kept(&self, attachment: &Attachment) -> Result<AddResult, Error> {
        match self.cache.read(attachment)?.and_then(|entry| entry.result) {
            Some(value) => AddResult::parse(&value, self.list.version),
            None => Err(Error::new(Code::UnknownContainer, format!("no result is kept for {attachment}"))
                .details("it was never added, or by a runtime with another cache")),
        }
    }

    /// The kept result for DEL, which takes what can be read, and does without where nothing can.
    fn result_to_remove(&self, attachment: &Attachment) -> Option<AddResult> {
        let value = self.cache.read(attachment).ok().flatten()?.result?;
        Some(AddResult::parse(&value, self.list.version).unwrap_or_else(|_| AddResult::salvage(&value)))
    }

    /// Calls a plugin with a verb that has no result.
    fn ask(
        &self,
        command: Command,
        plugin: &Map<String, Value>,
        parameters: Option<&Parameters<'_>>,
        prev_result: Option<&AddResult>,
    ) -> Result<(), Error> {
        self.call(command, plugin, parameters, prev_result).map(drop)
    }

    fn call(
        &self,
        command: Command,
        plugin: &Map<String, Value>,
        parameters: Option<&Parameters<'_>>,
        prev_result: Option<&AddResult>,
    ) -> Result<Option<AddResult>, Error> {
        let conf = self.conf_for(plugin, parameters, prev_result)?;
        let args = parameters.map(|parameters| join_args(parameters.args)).unwrap_or_default();
        let invocation = Invocation {
            command,
            container_id: parameters.map_or("", |parameters| parameters.attachment.container_id.as_str()),
            netns: parameters.map_or(Path::new(""), |parameters| parameters.netns),
            ifname: parameters.map_or("", |parameters| parameters.attachment.ifname.as_str()),
            args: &args,
            path: self.path,
        };
        delegate::exec(type_of(plugin), &invocation, &conf)
    }

    /// A plugin's configuration as it goes to its standard input.
    fn conf_for(
        &self,
        plugin: &Map<String, Value>,
        parameters: Option<&Parameters<'_>>,
        prev_result: Option<&AddResult>,
    ) -> Result<Map<String, Value>, Error> {
        let mut conf = self.list.conf_of(plugin);
        if let Some(result) = prev_result {
            conf.insert("prevResult".into(), result.to_value(self.list.version)?);
        }
        let Some(parameters) = parameters else {
            return Ok(conf);
        };
        let mut runtime = Map::new();
        let capabilities = plugin.get("capabilities").and_then(Value::as_object);
        for (name, wanted) in capabilities.into_iter().flatten() {
            if let (Value::Bool(true), Some(value)) = (wanted, parameters.capabilities.get(name)) {
                runtime.insert(name.clone(), value.clone());
            }
        }
        if !runtime.is_empty() {
            conf.insert("runtimeConfig".into(), Value::Object(runtime));
        }
        Ok(conf)
    }
}

/// The plugin that an object names; empty where it names none.
fn type_of(plugin: &Map<String, Value>) -> &str {
    case_blind::get(plugin, "type").and_then(Value::as_str).unwrap_or_default()
}

fn join_args(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(";")
}
