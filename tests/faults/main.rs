//! The fault table: the built binary under every fault of the list, with an exact ledger.
//!
//! Each test is one kind of fault, in a file of its own, and prints its ledger with its seed as one line.
//! `SYNCBELL_FAULTS_SEED` repeats a seed, `SYNCBELL_FAULTS_ROUNDS` asks for more rounds than the 15 of a
//! short run.

#![expect(
    clippy::print_stdout,
    reason = "the ledger of a run, beside its verdict"
)]

#[path = "../main_job/mailbox.rs"]
mod mailbox;
mod seeds;
mod house;
mod traffic;
mod account;
mod shim;
mod kill;
mod processes;
mod network;
mod disk;
mod files;
mod clock;
mod brokers;
mod power;
