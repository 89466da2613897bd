//! What leads on from a chain that containers share, as the reference and iptables have them: a rule a container.

use crate::{Chain, Result, Socket, Verdict};

impl Socket {
    /// The chains that rules of a base chain jump to, each with the comment of such a rule, of `nft` or of iptables: whose the
    /// chain is. None where there is no base chain.
    ///
    /// # Errors
    ///
    /// As those of [`Socket::rules`].
    pub fn entries(&mut self, base: &Chain) -> Result<Vec<(String, String)>> {
        let rules = self.rules(base)?;
        let entries = rules.iter().filter_map(|rule| match rule.verdict()? {
            Verdict::Jump(chain) => Some((chain.clone(), rule.iptables_comment()?)),
            _ => None,
        });
        Ok(entries.collect())
    }
}
