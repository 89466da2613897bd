//! The variables that links give to their recipient: Docker's, in Docker's order. Nothing here opens a file.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use cni::PortRange;
use registry::{Member, qualify};
use serde::Serializer;

use crate::bounds::{self, GIVEN};
use crate::error::Error;
use crate::hosts::text::Membership;
use crate::name::MAX_VARIABLE;

/// The least size of a port's four variables in bytes, without their prefixes: `_PORT_1_TCP=tcp://[::]:1`, `…_ADDR=::`,
/// `…_PORT=1`, `…_PROTO=tcp`.
const LEAST: usize = 80;

/// Variables, each name once, in the order in which they arose.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    pub(crate) variables: Vec<(String, String)>,
    /// Their size in a process's environment, in bytes.
    length: usize,
}

/// What links give: the variables, and the names of sources whose variables did not fit.
#[derive(Debug, Default)]
pub(crate) struct LinkVariables {
    pub(crate) environment: Environment,
    pub(crate) left_out: Vec<String>,
}

/// The variables of a container's links on all its networks, without those that the container sets itself. A source that
/// `must_fit` and exceeds what a recipient may get is refused. Any other source that does not fit is left out as a whole:
/// what it says later, or what another tenant says, must not keep its recipients from starting.
pub(crate) fn of_container(
    own: &[Membership<'_>],
    must_fit: impl Fn(&Member, &Member) -> bool,
) -> Result<LinkVariables, Error> {
    let mut links: Vec<(&Member, &str, &Member)> = Vec::new();
    for membership in own {
        let found =
            membership.links().filter_map(|(alias, source)| Some((membership.member, alias, source?)));
        links.extend(found);
    }
    let (mut room, mut made, mut given) = (GIVEN.most, Vec::new(), LinkVariables::default());
    // Those that must fit come first, whatever the order of the links.
    for is_required in [true, false] {
        for (place, (recipient, alias, source)) in links.iter().enumerate() {
            if must_fit(recipient, source) != is_required {
                continue;
            }
            match Environment::of_link(recipient, alias, source, room) {
                Ok(environment) => {
                    room -= environment.length;
                    made.push((place, environment.variables));
                }
                Err(error) if is_required => return Err(error),
                Err(_) => given.left_out.push(qualify(&source.name, source.tenant())),
            }
        }
    }
    made.sort_unstable_by_key(|(place, _)| *place);
    given.environment.variables = made.into_iter().flat_map(|(_, variables)| variables).collect();
    let set_itself = |key: &str| own.iter().any(|membership| membership.member.env.contains_key(key));
    given.environment.variables.retain(|(key, _)| !set_itself(key));
    given.environment.unite();
    Ok(given)
}

/// A note on sources that were left out, where there are any.
pub(crate) fn left_out(sources: &[String]) -> Option<String> {
    let (most, names) = (GIVEN.most, sources.join(", "));
    let note = format!("links give more than {most} bytes of variables: those of {names} are left out");
    (!sources.is_empty()).then_some(note)
}

impl Environment {
    /// The variables of one link.
    ///
    /// # Errors
    /// Those that take more than `room` bytes, and one that is too long for exec(2).
    fn of_link(recipient: &Member, alias: &str, source: &Member, room: usize) -> Result<Self, Error> {
        let runs = source.ports();
        let ports = if source.address().is_some() { bounds::ports(&runs) } else { 0 };
        let prefix = alias.to_ascii_uppercase().replace('-', "_");
        let too_much = |bytes: usize| {
            let whose = format!("link to {} with its {ports} ports, and those before", source.name);
            GIVEN.exceeded(&whose, GIVEN.most - room + bytes)
        };
        // A first estimate, before any is made: a huge range of ports costs nothing.
        let least = ports * (4 * prefix.len() + LEAST);
        if least > room {
            return Err(too_much(least));
        }
        let mut environment = Self::default();
        if let Some(address) = source.address() {
            environment.add_ports(&prefix, address, &runs);
        }
        environment.set(format!("{prefix}_NAME"), format!("/{}/{alias}", recipient.name));
        environment.add_variables(&prefix, source)?;
        if environment.length > room {
            return Err(too_much(environment.length));
        }
        Ok(environment)
    }

    fn add_variables(&mut self, prefix: &str, source: &Member) -> Result<(), Error> {
        // HOME and PATH describe the source's image, not its service.
        for (key, value) in source.env.iter().filter(|(key, _)| *key != "HOME" && *key != "PATH") {
            let name = format!("{prefix}_ENV_{key}");
            let length = name.len() + 1 + value.len();
            if length > MAX_VARIABLE {
                let link = format!("the link to {}", source.name);
                return Err(Error::config(
                    format!("variable {name} of {link} takes {length} bytes, more than {MAX_VARIABLE}"),
                    "shorten the variable of the source",
                ));
            }
            self.set(name, value.clone());
        }
        Ok(())
    }

    fn add_ports(&mut self, prefix: &str, address: IpAddr, runs: &[PortRange]) {
        if let Some(first) = runs.first() {
            self.set(format!("{prefix}_PORT"), url(*first, address, *first.numbers().start()));
        }
        let mut ended: Option<PortRange> = None;
        for run in runs {
            for number in run.numbers() {
                let port = port_prefix(prefix, *run, number);
                self.set(port.clone(), url(*run, address, number));
                self.set(format!("{port}_ADDR"), address.to_string());
                self.set(format!("{port}_PORT"), number.to_string());
                self.set(format!("{port}_PROTO"), run.protocol().to_string());
                // Docker writes the variables of a run after the first port of the next one.
                if let Some(run) = ended.take() {
                    self.add_run(prefix, address, run);
                }
            }
            ended = Some(*run).filter(|run| run.numbers().len() > 1);
        }
        if let Some(run) = ended {
            self.add_run(prefix, address, run);
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
        self.length += bounds::variable(&key, &value);
        self.variables.push((key, value));
    }

    /// Where two links give the same variable, as aliases that differ in case or in `-` and `_` do, the later value wins.
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

    /// Lines of `KEY='value'` that a shell can source. Variables that no shell can name (`A.B_PORT`) are left out: a shell
    /// would run a program of that name.
    ///
    /// Each further line of a value begins with a quote, so that readers without quotes or with other rules (`docker run
    /// --env-file`, systemd's `EnvironmentFile`) do not take it for a variable of its own.
    pub(crate) fn to_shell(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.variables {
            if is_shell_name(key) {
                // Within single quotes only the quote itself means something (POSIX, XCU 2.2.2).
                let quoted = value.replace('\'', r#"'"'"'"#).replace('\n', "\n''");
                let _ = writeln!(text, "{key}='{quoted}'");
            }
        }
        text
    }

    /// One JSON object of all variables in their order.
    pub(crate) fn to_json(&self) -> String {
        let mut text = Vec::new();
        // Strings into memory: serialising them cannot fail.
        let variables = self.variables.iter().map(|(key, value)| (key, value));
        let _ = serde_json::Serializer::new(&mut text).collect_map(variables);
        text.push(b'\n');
        String::from_utf8(text).unwrap_or_default()
    }
}

fn port_prefix(prefix: &str, run: PortRange, number: u16) -> String {
    format!("{prefix}_PORT_{number}_{}", run.protocol().name().to_ascii_uppercase())
}

fn url(run: PortRange, address: IpAddr, number: u16) -> String {
    format!("{}://{}", run.protocol(), SocketAddr::new(address, number))
}

fn is_shell_name(key: &str) -> bool {
    key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use registry::{Link, Network};

    use super::*;
    use crate::hosts::block::HostsBlock;

    fn link_to(source: Member) -> Result<Environment, Error> {
        let mut network = Network::new("web");
        let alias = source.name.clone();
        network.put(source);
        let recipient = Member {
            name: "app".into(),
            links: vec![Link { source: alias.clone(), alias }],
            ..Member::default()
        };
        let block = HostsBlock::new(network, "");
        let own = [Membership { block: &block, member: &recipient }];
        of_container(&own, |_, _| true).map(|given| given.environment)
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
        assert!(link_to(source("1-900")).is_ok());
    }

    #[test]
    fn sources_that_need_not_fit_are_left_out_whole_in_the_order_of_the_links() {
        let mut network = Network::new("web");
        let names = ["a", "big", "b", "own"];
        for (number, name) in (2..).zip(names) {
            let size = match name {
                "big" => 70 << 10,
                "own" => 60 << 10,
                _ => 10,
            };
            network.put(Member {
                container_id: format!("c{number}"),
                name: name.into(),
                addresses: vec![format!("10.0.0.{number}").parse().unwrap()],
                env: [("V".to_owned(), "x".repeat(size))].into(),
                ..Member::default()
            });
        }
        let link = |name: &str| Link { source: name.into(), alias: name.into() };
        let recipient = Member { links: names.map(link).to_vec(), ..Member::default() };
        let block = HostsBlock::new(network, "");
        let own = [Membership { block: &block, member: &recipient }];
        let given = of_container(&own, |_, source| source.name == "own").unwrap();
        assert_eq!(given.left_out, ["big"]);
        let has = |name: &str| given.environment.variables.iter().any(|(key, _)| key.starts_with(name));
        assert!(has("A_ENV_V") && has("B_ENV_V") && has("OWN_ENV_V") && !has("BIG_"));
        let error = of_container(&own, |_, _| true).unwrap_err().to_string();
        assert!(error.contains("link to own with its 0 ports") && error.contains("131072"), "{error}");
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
        let lines: Vec<_> = environment.to_shell().lines().map(str::to_owned).collect();
        assert!(lines.iter().all(|line| line.starts_with("DB_") || line.starts_with('\'')), "{lines:?}");
        let json: HashMap<String, String> = serde_json::from_str(&environment.to_json()).unwrap();
        assert_eq!(json["DB_ENV_V"], hostile);
        assert_eq!(json["DB_ENV_A;touch x;B"], "v");
    }
}
