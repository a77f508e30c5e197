//! The report about a peer that speaks another version of a protocol.
//!
//! The version of a protocol stands at the end of its name. The negotiation of a stream refuses another name before a
//! message is read, and does not say why. So a node compares the names that a peer lists when they meet.

use std::fmt;

use crate::{ASK_PROTOCOL, GOSSIP_PROTOCOL, PATCH_PROTOCOL};

/// A protocol that both nodes have, in versions that differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherVersion {
    ours: &'static str,
    theirs: String,
}

impl OtherVersion {
    /// The protocols that differ, given the names that a peer lists. A peer that lists no version of a protocol does
    /// not differ in it: a visitor leaves protocols out.
    pub fn find<'a>(listed: impl Iterator<Item = &'a str> + Clone) -> Vec<Self> {
        let mut found = Vec::new();
        for ours in [GOSSIP_PROTOCOL, ASK_PROTOCOL, PATCH_PROTOCOL] {
            let theirs = listed.clone().filter(|name| family(name) == family(ours));
            let theirs: Vec<&str> = theirs.collect();
            if let Some(last) = theirs.last().filter(|_| !theirs.contains(&ours)) {
                found.push(Self { ours, theirs: (*last).to_owned() });
            }
        }
        found
    }
}

impl fmt::Display for OtherVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ours, theirs } = self;
        write!(f, "the peer speaks {theirs}, this node {ours}: update the older program")
    }
}

/// A protocol's name without its version, which is a number.
fn family(name: &str) -> Option<&str> {
    let (family, version) = name.rsplit_once('/')?;
    (!version.is_empty() && version.bytes().all(|digit| digit.is_ascii_digit())).then_some(family)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listed: &[&str], expected: &[&str]) {
        let found = OtherVersion::find(listed.iter().copied());
        assert_eq!(found.iter().map(OtherVersion::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_peer_of_another_version_is_told_by_its_protocols() {
        check(&["/ipfs/id/1.0.0", GOSSIP_PROTOCOL, ASK_PROTOCOL, PATCH_PROTOCOL], &[]);
        check(
            &[GOSSIP_PROTOCOL, "/lighter/ask/4", PATCH_PROTOCOL],
            &["the peer speaks /lighter/ask/4, this node /lighter/ask/10: update the older program"],
        );
        check(&["/lighter/patch/3", PATCH_PROTOCOL, "/lighter/patch/7"], &[]);
        check(&[ASK_PROTOCOL, "/lighter/patch/x", "/lighter/patch/", "no protocol"], &[]);
    }
}
