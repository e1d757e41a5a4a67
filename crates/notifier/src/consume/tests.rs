//! Turns of the ledger: what events and time make of it.

mod alertmanager;
mod begin;
mod own_rules;
mod bench;
mod days;
mod fallbacks;
mod holds;
mod replayed;
mod sight;
mod speed;
mod splits;
mod trails;
