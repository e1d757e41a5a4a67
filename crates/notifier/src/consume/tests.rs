//! Turns of the ledger: what events and time make of it.

mod bench;
mod sight;
mod splits;
