//! Links that delay, lose, duplicate, reorder and corrupt, whose MTU or NAT changes, and that are gone for a while. The
//! model of such a link, the relay that runs it, and pulls through it.

mod learned;
mod model;
mod pulls;
mod relay;
