//! Names of links, derived from what identifies an attachment.

use cni::Attachment;

/// What a link is called from its making until it has the interface's name and its alias: in between the ADD may be killed, and
/// DEL and GC know it by this.
pub(crate) fn unfinished(attachment: &Attachment) -> String {
    format!("upper{}", &attachment.token()[..10])
}

/// Whether a link has a name of that form.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.strip_prefix("upper").is_some_and(|digits| {
        digits.len() == 10 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use cni::{ContainerId, IfName, NetworkName};

    use super::*;

    #[test]
    fn the_name_fits_the_kernels_limit_and_is_recognised() {
        let attachment = Attachment {
            network: NetworkName::new("n".repeat(255)).unwrap(),
            container_id: ContainerId::new("c").unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        };
        let name = unfinished(&attachment);
        assert_eq!(name.len(), 15);
        assert!(is_unfinished(&name));
        for other in ["upper", "eth0", "upper0123456789a", "upper012345678G"] {
            assert!(!is_unfinished(other), "{other}");
        }
    }
}
