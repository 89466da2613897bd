//! The kinds of messages that `nf_tables` takes, and their descriptions for error messages.
//!
//! A description is made from the message itself, and only after the kernel has refused it: a batch of thousands of
//! elements pays nothing for it.

use wire::Message;
use wire::attribute::{find, find_be32, find_string};
use wire::message::NLM_F_EXCL;

use crate::chain::NFTA_CHAIN_NAME;
use crate::element::{self, NFTA_SET_ELEM_LIST_SET, first_key};
use crate::message::{body, family};
use crate::rule::{NFTA_RULE_CHAIN, NFTA_RULE_HANDLE};
use crate::set::{NFT_SET_MAP, NFTA_SET_FLAGS, NFTA_SET_NAME};
use crate::table::NFTA_TABLE;
use crate::{Family, key};

pub(crate) const NFT_MSG_NEWTABLE: u16 = 0;
pub(crate) const NFT_MSG_GETTABLE: u16 = 1;
pub(crate) const NFT_MSG_DELTABLE: u16 = 2;
pub(crate) const NFT_MSG_NEWCHAIN: u16 = 3;
pub(crate) const NFT_MSG_GETCHAIN: u16 = 4;
pub(crate) const NFT_MSG_DELCHAIN: u16 = 5;
pub(crate) const NFT_MSG_NEWRULE: u16 = 6;
pub(crate) const NFT_MSG_GETRULE: u16 = 7;
pub(crate) const NFT_MSG_DELRULE: u16 = 8;
pub(crate) const NFT_MSG_NEWSET: u16 = 9;
pub(crate) const NFT_MSG_GETSET: u16 = 10;
pub(crate) const NFT_MSG_DELSET: u16 = 11;
pub(crate) const NFT_MSG_NEWSETELEM: u16 = 12;
pub(crate) const NFT_MSG_GETSETELEM: u16 = 13;
pub(crate) const NFT_MSG_DELSETELEM: u16 = 14;
pub(crate) const NFT_MSG_GETGEN: u16 = 16;

/// Says what `message` asks for. `key_type` is the concatenation of the set's key types, for messages on elements.
pub(crate) fn describe(message: &Message, key_type: u32) -> String {
    let body = body(message);
    let family = Family::from_number(family(message)).map_or_else(String::new, |family| format!("{family} "));
    let name = |attribute: u16| find_string(body, attribute).unwrap_or("?");
    let table = format!("{family}{}", name(NFTA_TABLE));
    let of = |attribute| format!("{table} {}", name(attribute));
    let set = || {
        let is_map = find_be32(body, NFTA_SET_FLAGS).is_some_and(|flags| flags & NFT_SET_MAP != 0);
        format!("{} {}", if is_map { "map" } else { "set" }, of(NFTA_SET_NAME))
    };
    let new = if message.flags & NLM_F_EXCL == 0 { "add" } else { "create" };
    match message.kind & 0xff {
        NFT_MSG_NEWTABLE => format!("{new} table {table}"),
        NFT_MSG_DELTABLE => format!("delete table {table}"),
        NFT_MSG_NEWCHAIN => format!("{new} chain {}", of(NFTA_CHAIN_NAME)),
        NFT_MSG_DELCHAIN => format!("delete chain {}", of(NFTA_CHAIN_NAME)),
        NFT_MSG_NEWRULE => format!("add rule to chain {}", of(NFTA_RULE_CHAIN)),
        NFT_MSG_DELRULE => match find(body, NFTA_RULE_HANDLE).and_then(|handle| handle.try_into().ok()) {
            None => format!("flush chain {}", of(NFTA_RULE_CHAIN)),
            Some(handle) => {
                format!("delete rule {} of chain {}", u64::from_be_bytes(handle), of(NFTA_RULE_CHAIN))
            }
        },
        NFT_MSG_NEWSET => format!("{new} {}", set()),
        NFT_MSG_DELSET => format!("delete {}", set()),
        NFT_MSG_NEWSETELEM => {
            format!(
                "{new} element {}{} to {}",
                key_text(body, key_type),
                more(body),
                of(NFTA_SET_ELEM_LIST_SET)
            )
        }
        NFT_MSG_DELSETELEM if first_key(body).is_none() => format!("flush {}", of(NFTA_SET_ELEM_LIST_SET)),
        NFT_MSG_DELSETELEM => {
            format!(
                "delete element {}{} of {}",
                key_text(body, key_type),
                more(body),
                of(NFTA_SET_ELEM_LIST_SET)
            )
        }
        other => format!("send nf_tables message {other}"),
    }
}

/// How many elements a message is about besides the first.
fn more(body: &[u8]) -> String {
    match element::count(body).saturating_sub(1) {
        0 => String::new(),
        others => format!(" and {others} more"),
    }
}

fn key_text(body: &[u8], key_type: u32) -> String {
    let bytes = first_key(body).unwrap_or_default();
    match key::types(key_type).map(|types| key::decode(&types, bytes)) {
        Some(Ok(fields)) => key::words(&fields),
        _ => format!("{bytes:02x?}"),
    }
}
