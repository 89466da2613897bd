//! The kinds of messages that `nf_tables` takes, and their descriptions for error messages.
//!
//! A description is made from the message itself, and only after the kernel has refused it: a batch of thousands of
//! elements pays nothing for it.

use wire::Message;
use wire::attribute::{find, find_be32, find_string};
use wire::message::NLM_F_EXCL;

use crate::chain::{NFTA_CHAIN_NAME, NFTA_CHAIN_TABLE};
use crate::element::{NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_TABLE, first_key};
use crate::message::{body, family};
use crate::rule::{NFTA_RULE_CHAIN, NFTA_RULE_HANDLE, NFTA_RULE_TABLE};
use crate::set::{NFT_SET_MAP, NFTA_SET_FLAGS, NFTA_SET_NAME, NFTA_SET_TABLE};
use crate::table::NFTA_TABLE_NAME;
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
    let table = || format!("table {family}{}", name(NFTA_TABLE_NAME));
    let chain = || format!("chain {family}{} {}", name(NFTA_CHAIN_TABLE), name(NFTA_CHAIN_NAME));
    let set = || {
        let is_map = find_be32(body, NFTA_SET_FLAGS).is_some_and(|flags| flags & NFT_SET_MAP != 0);
        let noun = if is_map { "map" } else { "set" };
        format!("{noun} {family}{} {}", name(NFTA_SET_TABLE), name(NFTA_SET_NAME))
    };
    let rules_chain = || format!("chain {family}{} {}", name(NFTA_RULE_TABLE), name(NFTA_RULE_CHAIN));
    let elements_set =
        || format!("{family}{} {}", name(NFTA_SET_ELEM_LIST_TABLE), name(NFTA_SET_ELEM_LIST_SET));
    let new = if message.flags & NLM_F_EXCL == 0 { "add" } else { "create" };
    match message.kind & 0xff {
        NFT_MSG_NEWTABLE => format!("{new} {}", table()),
        NFT_MSG_DELTABLE => format!("delete {}", table()),
        NFT_MSG_NEWCHAIN => format!("{new} {}", chain()),
        NFT_MSG_DELCHAIN => format!("delete {}", chain()),
        NFT_MSG_NEWRULE => format!("add rule to {}", rules_chain()),
        NFT_MSG_DELRULE => match find(body, NFTA_RULE_HANDLE).and_then(|handle| handle.try_into().ok()) {
            None => format!("flush {}", rules_chain()),
            Some(handle) => format!("delete rule {} of {}", u64::from_be_bytes(handle), rules_chain()),
        },
        NFT_MSG_NEWSET => format!("{new} {}", set()),
        NFT_MSG_DELSET => format!("delete {}", set()),
        NFT_MSG_NEWSETELEM => format!("{new} element {} to {}", key_text(body, key_type), elements_set()),
        NFT_MSG_DELSETELEM if first_key(body).is_none() => format!("flush {}", elements_set()),
        NFT_MSG_DELSETELEM => format!("delete element {} of {}", key_text(body, key_type), elements_set()),
        other => format!("send nf_tables message {other}"),
    }
}

fn key_text(body: &[u8], key_type: u32) -> String {
    let bytes = first_key(body).unwrap_or_default();
    match key::types(key_type).map(|types| key::decode(&types, bytes)) {
        Some(Ok(fields)) => key::words(&fields),
        _ => format!("{bytes:02x?}"),
    }
}
