//! Faults of the machine: a failing disk, damaged files, a killed process.

mod damaged;
mod disk;
mod kill;
mod matrix;
mod rollback;
mod strace;
