//! The two versions of IP in headers, and their addresses in attributes.

use std::net::IpAddr;

use wire::Writer;

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The version of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// `AF_INET` or `AF_INET6`.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }
}

/// Appends an attribute with an address.
pub(crate) fn write(request: &mut Writer, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(address) => request.bytes(kind, &address.octets()),
        IpAddr::V6(address) => request.bytes(kind, &address.octets()),
    }
}

/// Reads the payload of an attribute with an address: four bytes are IPv4, sixteen are IPv6.
pub(crate) fn read(payload: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(payload)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(payload).map(IpAddr::from))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_four_bytes_or_sixteen() {
        assert_eq!(read(&[10, 1, 2, 3]), Some("10.1.2.3".parse().unwrap()));
        assert_eq!(read(&[0; 16]), Some("::".parse().unwrap()));
        assert_eq!(read(&[0; 5]), None);
    }
}
