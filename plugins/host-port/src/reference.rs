//! What the reference's portmap leaves with its own nftables backend (from version 1.6 on): a rule a port in chains that
//! all networks share, whose comment is the container's ID. Its tables stay, as with the reference.

use cni::ContainerId;
use nftables::{Batch, Chain, Family, Socket, Table};

use crate::error::Error;
use crate::publish::TRIES;

const TABLES: [Table; 2] = [Table::new(Family::Ip, "cni_hostport"), Table::new(Family::Ip6, "cni_hostport")];
const CHAINS: [&str; 3] = ["hostports", "hostip_hostports", "masquerading"];

/// Removes the rules of a container. Costs two questions where there are no such tables.
pub(crate) fn del(rules: &mut Socket, container_id: &ContainerId) -> Result<(), Error> {
    for table in TABLES {
        if rules.has_table(&table)? {
            del_in(rules, table, container_id)?;
        }
    }
    Ok(())
}

fn del_in(rules: &mut Socket, table: Table, container_id: &ContainerId) -> Result<(), Error> {
    for _ in 0..TRIES {
        let mut batch = Batch::new();
        for name in CHAINS {
            let chain = Chain::new(table, name);
            for rule in rules.rules(&chain)? {
                if rule.comment.as_deref() == Some(container_id.as_str()) {
                    batch.del_rule(&chain, rule.handle);
                }
            }
        }
        match batch.commit(rules) {
            // The reference has just removed one of them.
            Err(error) if error.is_not_found() => {}
            outcome => return Ok(outcome?),
        }
    }
    Err(Error::Contended("remove rules of the reference"))
}
