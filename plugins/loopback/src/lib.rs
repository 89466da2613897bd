//! The `loopback` plugin: sets the container's `lo` up on ADD, and down on DEL.
//!
//! The interface is always `lo`, as in the reference: `CNI_IFNAME` does not matter. The plugin has no keys of its own.

use cni::schema::Described;
use cni::{AddResult, Code, Error, Interface, Ip, Plugin, Request, Target};
use netlink::{IpNetwork, Link, Namespace, Socket};

const LO: &str = "lo";

/// The plugin.
#[derive(Debug)]
pub struct Loopback;

impl Plugin for Loopback {
    const NAME: &'static str = "loopback";

    fn add(request: &Request, target: &Target) -> Result<AddResult, Error> {
        let previous = request.conf.previous()?;
        let mut socket = open(target)?;
        let link = lo(&mut socket)?;
        let result = set_up(previous, target, &mut socket, &link);
        if result.is_err() && !link.up {
            // Of two failures the first is the one to report.
            let _ = socket.set_down(link.index);
        }
        result
    }

    fn del(_: &Request, target: &Target) -> Result<(), Error> {
        // A namespace that has gone took its loopback with it.
        let Some(path) = target.netns.as_deref() else { return Ok(()) };
        let Some(namespace) = Namespace::open_if_present(path).map_err(kernel)? else { return Ok(()) };
        let mut socket = namespace.socket().map_err(kernel)?;
        let link = lo(&mut socket)?;
        socket.set_down(link.index).map_err(kernel)
    }

    fn check(_: &Request, target: &Target) -> Result<(), Error> {
        let link = lo(&mut open(target)?)?;
        if link.up { Ok(()) } else { Err(Error::new(Code::CheckFailed, "interface lo is down")) }
    }

    /// Nothing is left of a loopback when its namespace has gone.
    fn gc(_: &Request) -> Result<(), Error> {
        Ok(())
    }

    /// Every namespace has a loopback: all that can be missing are the rights to set it up.
    fn status(_: &Request) -> Result<(), Error> {
        let rights = || {
            Namespace::current()?.enter(|| ())?;
            Socket::open()?.expect_privilege()
        };
        rights().map_err(|error| Error::new(Code::NotAvailable, error.to_string()))
    }
}

impl Described for Loopback {
    fn schema() -> serde_json::Value {
        serde_json::json!({ "properties": {} })
    }

    fn validate(_: &Request, _: Option<&Target>) -> Result<(), Error> {
        Ok(())
    }
}

fn set_up(
    previous: Option<&AddResult>,
    target: &Target,
    socket: &mut Socket,
    link: &Link,
) -> Result<AddResult, Error> {
    socket.set_up(link.index).map_err(kernel)?;
    // After another plugin in a list, the result is prevResult.
    if let Some(result) = previous {
        return Ok(result.clone());
    }
    let addresses = loopback_addresses(socket, link)?;
    let interface = Interface {
        name: LO.to_owned(),
        mac: link.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        sandbox: target.netns()?.to_string_lossy().into_owned(),
        ..Interface::default()
    };
    let ips = addresses.into_iter().map(|address| Ip { interface: Some(0), address, gateway: None });
    Ok(AddResult { interfaces: vec![interface], ips: ips.collect(), ..AddResult::default() })
}

fn open(target: &Target) -> Result<Socket, Error> {
    Namespace::open(target.netns()?).and_then(|namespace| namespace.socket()).map_err(kernel)
}

fn lo(socket: &mut Socket) -> Result<Link, Error> {
    socket
        .get_link(LO)
        .map_err(kernel)?
        .ok_or_else(|| Error::new(Code::Kernel, "the namespace has no interface lo"))
}

/// The addresses of `lo`, in the order of the kernel. An error where it has any other than loopback addresses: then it
/// is in use for something else.
fn loopback_addresses(socket: &mut Socket, link: &Link) -> Result<Vec<IpNetwork>, Error> {
    let addresses: Vec<IpNetwork> =
        socket.addresses(link.index).map_err(kernel)?.into_iter().map(|address| address.network).collect();
    let others = addresses.iter().filter(|address| !address.ip().is_loopback());
    let others: Vec<String> = others.map(ToString::to_string).collect();
    if others.is_empty() {
        return Ok(addresses);
    }
    Err(Error::new(
        Code::InvalidEnvironment,
        format!("interface lo has other than loopback addresses: {}", others.join(" ")),
    )
    .details("remove them from lo; a container's addresses belong on interfaces of their own"))
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn kernel(error: netlink::Error) -> Error {
    Error::new(Code::Kernel, error.to_string())
}
