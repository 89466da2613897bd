//! One plugin of a chain at a time, over an attachment that is there: for programs that mend what others broke.

use super::Chain;
use super::Parameters;
use crate::plugin::args::Args;
use crate::plugin::request::{Command, Request, Target};
use crate::spec::attachment::Attachment;
use crate::spec::conf::Conf;
use crate::spec::error::{Code, Error};
use crate::spec::result::AddResult;

impl Chain<'_> {
    /// Has every plugin compare the attachment with its kept result, whatever the others say.
    ///
    /// # Errors
    /// Code 3 where nothing is known of the attachment.
    pub fn check_each(&self, parameters: &Parameters<'_>) -> Result<Vec<Result<(), Error>>, Error> {
        let result = self.kept(parameters.attachment)?;
        let check = |plugin| self.call(Command::Check, plugin, Some(parameters), Some(&result)).map(|_| ());
        Ok(self.list.plugins.iter().map(check).collect())
    }

    /// Calls the plugin at a place with ADD once more, with the kept result. Sound only for a plugin that finds its own
    /// work there and completes it, and never for the one that makes the interface.
    ///
    /// # Errors
    /// The plugin's; code 3 where nothing is known of the attachment.
    pub fn add_again(&self, place: usize, parameters: &Parameters<'_>) -> Result<(), Error> {
        let result = self.kept(parameters.attachment)?;
        let plugin = self.list.plugins.get(place).filter(|_| place > 0);
        plugin.map_or(Ok(()), |plugin| {
            self.call(Command::Add, plugin, Some(parameters), Some(&result)).map(|_| ())
        })
    }

    /// Calls the plugin at a place with DEL and leaves the rest of the attachment as it is. Sound only for a plugin that the
    /// attachment can do without, and never for the one that makes the interface.
    ///
    /// # Errors
    /// The plugin's; code 3 where nothing is known of the attachment.
    pub fn del_alone(&self, place: usize, parameters: &Parameters<'_>) -> Result<(), Error> {
        let result = self.kept(parameters.attachment)?;
        let plugin = self.list.plugins.get(place).filter(|_| place > 0);
        plugin.map_or(Ok(()), |plugin| {
            self.call(Command::Del, plugin, Some(parameters), Some(&result)).map(|_| ())
        })
    }

    /// Asks the plugins that are wanted whether they could ADD, whatever the list's version: one that does not know
    /// STATUS is passed over. Each one that answered comes by its place, with its reason where it said no.
    #[must_use]
    pub fn status_each(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<(usize, Result<(), Error>)> {
        let list = self.raised(Command::Status);
        let chain = Chain { list: &list, ..self.clone() };
        let mut answers = Vec::new();
        for (place, plugin) in self.list.plugins.iter().enumerate() {
            if !is_wanted(super::type_of(plugin)) {
                continue;
            }
            match chain.call(Command::Status, plugin, None, None) {
                Err(error) if self.is_unknown(Command::Status, &error) => {}
                outcome => answers.push((place, outcome.map(|_| ()))),
            }
        }
        answers
    }

    /// What the plugin at a place would be given with a CHECK, for those who have it as a library.
    ///
    /// # Errors
    /// Code 3 where nothing is known of the attachment, 7 where there is no such plugin.
    pub fn request(&self, place: usize, parameters: &Parameters<'_>) -> Result<(Request, Target), Error> {
        let result = self.kept(parameters.attachment)?;
        let plugin = self.list.plugins.get(place);
        let plugin = plugin
            .ok_or_else(|| Error::new(Code::InvalidConfig, format!("network has no plugin {place}")))?;
        let conf = Conf::from_object(self.conf_for(plugin, Some(parameters), Some(&result))?)?;
        let raw_args = super::join_args(parameters.args);
        let target = Target {
            attachment: parameters.attachment.clone(),
            netns: Some(parameters.netns.to_owned()).filter(|netns| !netns.as_os_str().is_empty()),
            args: Args::parse(&raw_args)?,
            raw_args,
        };
        Ok((Request { command: Command::Check, conf, path: self.path.to_vec() }, target))
    }

    /// The kept result, without which there is nothing to compare with.
    pub(super) fn kept(&self, attachment: &Attachment) -> Result<AddResult, Error> {
        self.cached_result(attachment)?.ok_or_else(|| {
            Error::new(Code::UnknownContainer, format!("no result is kept for {attachment}"))
                .details("it was never added, or by a runtime with another cache")
        })
    }
}
