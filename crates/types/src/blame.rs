//! Blame: the party at fault when an operation fails. Callers react to blame, never to the text of an error.

/// The party at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The sender or the maker of damaged or false bytes: a peer, a registry, or the author of a file.
    Peer,
    /// Nobody: the bytes have a version or a codec that this build does not know.
    Version,
    /// This machine: its disk, its memory, its permissions or its configuration.
    Machine,
    /// The caller: the requested item does not exist, is in use, or is outside a limit.
    Caller,
    /// This program: a defect to report.
    Bug,
}
