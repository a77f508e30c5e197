//! Links that delay, lose, duplicate, reorder and corrupt, whose MTU or NAT changes, and that are gone for a while. The
//! model of such a link, the relay that runs it, pulls through it, and the simulator's forecast of one.

mod forecast;
mod learned;
mod model;
mod pulls;
mod relay;
