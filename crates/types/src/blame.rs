//! Who is at fault when something fails. Callers react to blame, never to the text of an error.

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The sender or maker of the bytes: they are damaged, or they lie. A peer, a registry or the author of a file.
    Peer,
    /// Nobody: the bytes are of a version or a codec that this build does not know.
    Version,
    /// This machine: its disk, its memory, its permissions, its configuration.
    Machine,
    /// The caller: it asked for what does not exist, is in use, or is outside a limit.
    Caller,
    /// This program: a defect to report.
    Bug,
}
