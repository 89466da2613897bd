//! Closing a netfilter socket so that nobody waits for it.
//!
//! What a transaction deletes is freed after a grace period, some ten milliseconds later. Whoever closes any netfilter
//! socket of the network namespace before that waits for it (`nft_rcv_nl_event` in `net/netfilter/nf_tables_api.c`), and
//! with the lock of all transactions in hand: so does everybody else who has one. All of it is out of the ruleset by then,
//! and nobody gains anything by that wait. Whether a deletion is pending cannot be asked.
//!
//! So a socket is closed where that takes no time: by a [`Keeper`], if one is there, once nothing has been deleted for long
//! enough; else, after a deletion, by the kernel a little later ([`deferred`]).

pub(crate) mod deferred;
pub(crate) mod keeper;
