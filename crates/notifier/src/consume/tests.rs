//! Turns of the ledger: what events and time make of it.

mod begin;
mod bench;
mod holds;
mod replayed;
mod sight;
mod splits;
mod trails;
