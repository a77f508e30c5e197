//! Links that delay, lose, duplicate, reorder and corrupt, whose MTU or NAT changes, and that are gone for a while. The
//! model of such a link, the relay that runs it, pulls through it, dials that race, and the simulator's forecast of a
//! pull.

mod dials;
mod forecast;
mod learned;
mod model;
mod pulls;
mod relay;
