//! `syncbell`: one binary, a file a command. `command.rs` says which there are.

mod command;
mod ask;
mod bus;
mod check;
mod config;
mod dead_letters;
mod demo;
mod events;
mod exit;
mod explain;
mod kafka_metrics;
mod receivers;
mod replay;
mod route;
mod store_metrics;
mod run;
mod service;
mod silence;
mod simulate;
mod start;
mod status;
mod story;
mod table;
mod tasks;
mod test_receiver;

use std::process::ExitCode;

use clap::Parser as _;

use crate::command::Arguments;

/// It gives back what a compaction or a storm has taken, see the workspace's manifest.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    syncbell_service::crash_point::arm();
    exit::code(Arguments::parse().command.run())
}
