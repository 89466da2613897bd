//! One plugin of a chain at a time, for an attachment that is there: what `cleat repair` and `cleat check` are made of.

use serde_json::{Map, Value};

use super::{Chain, Parameters};
use crate::plugin::args::Args;
use crate::plugin::request::{Command, Request, Target};
use crate::spec::conf::Conf;
use crate::spec::error::{Code, Error};

impl Chain<'_> {
    /// Has every plugin compare the attachment with its kept result, whatever the others say.
    ///
    /// # Errors
    /// Code 3 where nothing is known of the attachment.
    pub fn check_each(&self, parameters: &Parameters<'_>) -> Result<Vec<Result<(), Error>>, Error> {
        let result = self.kept(parameters.attachment)?;
        let check = |plugin| self.ask(Command::Check, plugin, Some(parameters), Some(&result));
        Ok(self.list.plugins.iter().map(check).collect())
    }

    /// Calls the plugin at a place with ADD once more, with the kept result. Sound only for a plugin that finds its own
    /// work there and completes it, and never for the one that makes the interface.
    ///
    /// # Errors
    /// The plugin's; code 3 where nothing is known of the attachment.
    pub fn add_again(&self, place: usize, parameters: &Parameters<'_>) -> Result<(), Error> {
        self.ask_one(Command::Add, place, parameters)
    }

    /// Calls the plugin at a place with DEL and leaves the rest of the attachment as it is. Sound only for a plugin that the
    /// attachment can do without, and never for the one that makes the interface.
    ///
    /// # Errors
    /// The plugin's; code 3 where nothing is known of the attachment.
    pub fn del_alone(&self, place: usize, parameters: &Parameters<'_>) -> Result<(), Error> {
        self.ask_one(Command::Del, place, parameters)
    }

    /// Calls a plugin that is not the first one.
    fn ask_one(&self, command: Command, place: usize, parameters: &Parameters<'_>) -> Result<(), Error> {
        let result = self.kept(parameters.attachment)?;
        let plugin = self.list.plugins.get(place).filter(|_| place > 0);
        plugin.map_or(Ok(()), |plugin| self.ask(command, plugin, Some(parameters), Some(&result)))
    }

    /// Asks the plugins that are wanted whether they could ADD, whatever the list's version: one that does not know
    /// STATUS is skipped. Each one that answered comes by its place, with its reason where it said no.
    #[must_use]
    pub fn status_each(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<(usize, Result<(), Error>)> {
        let list = self.raised(Command::Status);
        let chain = Chain { list: &list, ..self.clone() };
        let mut answers = Vec::new();
        for (place, plugin) in self.list.plugins.iter().enumerate() {
            if !is_wanted(super::type_of(plugin)) {
                continue;
            }
            match chain.ask(Command::Status, plugin, None, None) {
                Err(error) if self.is_unknown(Command::Status, &error) => {}
                outcome => answers.push((place, outcome)),
            }
        }
        answers
    }

    /// What the plugin at a place would be given with a STATUS, for callers that have the plugin as a library.
    ///
    /// # Errors
    /// Code 7 where there is no such plugin.
    pub fn status_request(&self, place: usize) -> Result<Request, Error> {
        let conf = Conf::from_object(self.conf_for(self.plugin(place)?, None, None)?)?;
        Ok(Request { command: Command::Status, conf, path: self.path.to_vec() })
    }

    fn plugin(&self, place: usize) -> Result<&Map<String, Value>, Error> {
        let plugin = self.list.plugins.get(place);
        plugin.ok_or_else(|| Error::new(Code::InvalidConfig, format!("network has no plugin {place}")))
    }

    /// What the plugin at a place would be given with a CHECK, for callers that have the plugin as a library.
    ///
    /// # Errors
    /// Code 3 where nothing is known of the attachment, 7 where there is no such plugin.
    pub fn request(&self, place: usize, parameters: &Parameters<'_>) -> Result<(Request, Target), Error> {
        let result = self.kept(parameters.attachment)?;
        let conf = Conf::from_object(self.conf_for(self.plugin(place)?, Some(parameters), Some(&result))?)?;
        let raw_args = super::join_args(parameters.args);
        let target = Target {
            attachment: parameters.attachment.clone(),
            netns: Some(parameters.netns.to_owned()).filter(|netns| !netns.as_os_str().is_empty()),
            args: Args::parse(&raw_args)?,
            raw_args,
        };
        Ok((Request { command: Command::Check, conf, path: self.path.to_vec() }, target))
    }
}
