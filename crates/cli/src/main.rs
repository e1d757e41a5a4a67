//! `syncbell`: one binary, a file a command. This file only dispatches.

mod ask;
mod check;
mod demo;
mod exit;
mod run;
mod simulate;
mod start;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Watches the image-synchronization tasks of Alibaba Cloud Container Registry and tells a person of
/// each one that went wrong.
#[derive(Debug, Parser)]
#[command(name = "syncbell", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See it work, with nothing to set up: a simulated registry, a receiver, a failing sync
    Demo(demo::Arguments),
    /// Poll and notify, in one process
    Run(ConfigFile),
    /// Check a configuration and say every problem with its place
    Check(ConfigFile),
    /// Serve a simulated registry that speaks ListRepoSyncTask
    Simulate(simulate::Arguments),
    /// What is wrong now, and what was
    #[command(subcommand)]
    Incidents(ask::Incidents),
    /// What was sent to whom, and how it went
    #[command(subcommand)]
    Deliveries(ask::Deliveries),
    /// What could not be read or delivered
    #[command(subcommand)]
    DeadLetters(ask::DeadLetters),
}

/// Which configuration.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "syncbell.yaml")]
    config: PathBuf,
}

fn main() -> ExitCode {
    syncbell_service::crash_point::arm();
    let done = match Arguments::parse().command {
        Command::Demo(arguments) => demo::demo(&arguments),
        Command::Run(file) => run::run(&file.config),
        Command::Check(file) => check::check(&file.config),
        Command::Simulate(arguments) => simulate::simulate(&arguments),
        Command::Incidents(asked) => ask::incidents(&asked),
        Command::Deliveries(asked) => ask::deliveries(&asked),
        Command::DeadLetters(asked) => ask::dead_letters(&asked),
    };
    exit::code(done)
}
