//! This machine fails: its disk, its memory of what it held, its power.

mod damaged;
mod disk;
mod kill;
mod strace;
