//! Members of the fleet that lie, stall, flood or send junk, and strangers. Each speaks our protocols with bytes of the
//! test's choice; the victim and the honest peers are real nodes. In the end the victim has what it wanted from an
//! honest peer.

mod bases;
mod bombs;
mod equivocation;
mod floods;
mod gossip;
mod harness;
mod hostile;
mod lies;
mod noise;
mod promises;
