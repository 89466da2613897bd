//! The environment that links give to their recipient: Docker's variables, in Docker's order. Pure.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;

use registry::{Member, PortRange};
use serde::{Serialize, Serializer};

use crate::error::Error;
use crate::hosts::Membership;
use crate::name::MAX_VARIABLE;

/// A process can be started with about two mebibytes; `EXPOSE 1-65535` alone would make 262,000 variables.
const MAX_VARIABLES: usize = 10_000;

/// Variables, each name once, in the order in which they arose.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    variables: Vec<(String, String)>,
}

/// All variables of a container's links, on all its networks, less those that it sets itself: its own win.
pub(crate) fn of_container(own: &[Membership<'_>]) -> Result<Environment, Error> {
    let mut environment = Environment::default();
    for membership in own {
        let recipient = membership.member;
        for link in &recipient.links {
            if let Some(source) = membership.neighbourhood.find(recipient, &link.source) {
                environment.add_link(recipient, &link.alias, source)?;
            }
        }
    }
    let set_itself = |key: &str| own.iter().any(|membership| membership.member.env.contains_key(key));
    environment.variables.retain(|(key, _)| !set_itself(key));
    environment.unite();
    Ok(environment)
}

impl Environment {
    fn add_link(&mut self, recipient: &Member, alias: &str, source: &Member) -> Result<(), Error> {
        let runs = source.ports();
        let ports: usize = runs.iter().map(|run| run.numbers().len()).sum();
        // Counted before they are made, so that a hostile range costs nothing.
        let count = self.variables.len() + 4 * (ports + runs.len()) + source.env.len() + 2;
        if count > MAX_VARIABLES {
            return Err(Error::TooManyVariables {
                source_name: source.name.clone(),
                ports,
                count,
                limit: MAX_VARIABLES,
            });
        }
        let prefix = alias.to_ascii_uppercase().replace('-', "_");
        if let Some(address) = source.address() {
            self.add_ports(&prefix, address, &runs);
        }
        self.set(format!("{prefix}_NAME"), format!("/{}/{alias}", recipient.name));
        for (key, value) in &source.env {
            // These describe the source's image, not its service.
            if key == "HOME" || key == "PATH" {
                continue;
            }
            let name = format!("{prefix}_ENV_{key}");
            let length = name.len() + 1 + value.len();
            if length > MAX_VARIABLE {
                return Err(Error::VariableTooLong {
                    name,
                    source_name: source.name.clone(),
                    length,
                    limit: MAX_VARIABLE,
                });
            }
            self.set(name, value.clone());
        }
        Ok(())
    }

    fn add_ports(&mut self, prefix: &str, address: IpAddr, runs: &[PortRange]) {
        let mut ended: Option<&PortRange> = None;
        for (index, run) in runs.iter().enumerate() {
            for number in run.numbers() {
                let url = url(*run, address, number);
                if index == 0 && number == *run.numbers().start() {
                    self.set(format!("{prefix}_PORT"), url.clone());
                }
                let port = port_prefix(prefix, *run, number);
                self.set(port.clone(), url);
                self.set(format!("{port}_ADDR"), address.to_string());
                self.set(format!("{port}_PORT"), number.to_string());
                self.set(format!("{port}_PROTO"), run.protocol().to_string());
                // Docker learns that a run has ended from the port after it, and tells of it there.
                if let Some(run) = ended.take() {
                    self.add_run(prefix, address, *run);
                }
            }
            if run.numbers().len() > 1 {
                ended = Some(run);
            }
        }
        if let Some(run) = ended {
            self.add_run(prefix, address, *run);
        }
    }

    fn add_run(&mut self, prefix: &str, address: IpAddr, run: PortRange) {
        let (first, last) = run.numbers().into_inner();
        let port = port_prefix(prefix, run, first);
        self.set(format!("{port}_START"), url(run, address, first));
        self.set(format!("{port}_PORT_START"), first.to_string());
        self.set(format!("{port}_END"), url(run, address, last));
        self.set(format!("{port}_PORT_END"), last.to_string());
    }

    fn set(&mut self, key: String, value: String) {
        self.variables.push((key, value));
    }

    /// Of two links whose aliases differ in case or in `-` and `_` alone, the later one's values win.
    fn unite(&mut self) {
        let mut places: HashMap<String, usize> = HashMap::with_capacity(self.variables.len());
        let mut united: Vec<(String, String)> = Vec::with_capacity(self.variables.len());
        for (key, value) in std::mem::take(&mut self.variables) {
            if let Some(&place) = places.get(&key) {
                united[place].1 = value;
            } else {
                places.insert(key.clone(), united.len());
                united.push((key, value));
            }
        }
        self.variables = united;
    }

    /// The variables as a process has them: `KEY=value`.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.variables.iter().map(|(key, value)| format!("{key}={value}"))
    }

    /// Lines of `KEY='value'` that a shell can source. Variables that no shell can name (`A.B_PORT`) are left out:
    /// sourcing them would be an attempt to run a program of that name.
    pub(crate) fn to_shell(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.variables {
            if is_shell_name(key) {
                // Within single quotes only the quote itself means something (POSIX, XCU 2.2.2).
                let _ = writeln!(text, "{key}='{}'", value.replace('\'', r"'\''"));
            }
        }
        text
    }

    /// The variables in their order.
    pub(crate) fn into_variables(self) -> Vec<(String, String)> {
        self.variables
    }

    /// One JSON object of all variables in their order.
    pub(crate) fn to_json(&self) -> String {
        // Strings into memory: serialising them cannot fail.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

impl Serialize for Environment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.variables.iter().map(|(key, value)| (key, value)))
    }
}

fn port_prefix(prefix: &str, run: PortRange, number: u16) -> String {
    format!("{prefix}_PORT_{number}_{}", run.protocol().as_str().to_ascii_uppercase())
}

fn url(run: PortRange, address: IpAddr, number: u16) -> String {
    let protocol = run.protocol();
    match address {
        IpAddr::V4(address) => format!("{protocol}://{address}:{number}"),
        IpAddr::V6(address) => format!("{protocol}://[{address}]:{number}"),
    }
}

fn is_shell_name(key: &str) -> bool {
    key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use registry::{Link, Network};

    use super::*;
    use crate::neighbourhood::Neighbourhood;

    fn link_to(source: Member) -> Result<Environment, Error> {
        let mut network = Network::new("web");
        let alias = source.name.clone();
        network.put(source);
        let recipient = Member {
            name: "app".into(),
            links: vec![Link { source: alias.clone(), alias }],
            ..Member::default()
        };
        let neighbourhood = Neighbourhood::new(network, "");
        of_container(&[Membership { neighbourhood: &neighbourhood, member: &recipient }])
    }

    fn source(ports: &str) -> Member {
        Member {
            container_id: "c1".into(),
            name: "db".into(),
            addresses: vec!["10.0.0.2".parse().unwrap()],
            expose: vec![ports.parse().unwrap()],
            ..Member::default()
        }
    }

    #[test]
    fn every_port_of_a_machine_is_refused_before_variables_are_made() {
        let error = link_to(source("1-65535")).unwrap_err().to_string();
        assert!(error.contains("link to db with its 65535 ports"), "{error}");
        assert!(link_to(source("1-2000")).is_ok());
    }

    #[test]
    fn a_variable_that_grows_too_long_by_its_prefix_is_named() {
        let mut source = source("80");
        source.env.insert("KEY".into(), "x".repeat(MAX_VARIABLE - 4));
        let error = link_to(source).unwrap_err().to_string();
        assert!(error.contains("DB_ENV_KEY"), "{error}");
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the shell is what the text is for")]
    fn a_shell_gets_the_very_values() {
        let mut source = source("80");
        let hostile = "a'b\"c\\d\n$(touch x)`e` f";
        source.env.insert("V".into(), hostile.into());
        source.env.insert("A;touch x;B".into(), "v".into());
        let environment = link_to(source).unwrap();
        let script = format!("{}printf %s \"$DB_ENV_V\"", environment.to_shell());
        let output = std::process::Command::new("sh").arg("-euc").arg(script).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), hostile);
        let json: HashMap<String, String> = serde_json::from_str(&environment.to_json()).unwrap();
        assert_eq!(json["DB_ENV_V"], hostile);
        assert_eq!(json["DB_ENV_A;touch x;B"], "v");
    }
}
