//! Links that delay, lose, duplicate, reorder and corrupt, whose MTU or NAT changes, and that are gone for a while. The
//! model of such a link, the relay that runs it, pulls through it, and dials that race.

mod dials;
mod model;
mod pulls;
mod relay;
