//! `syncbell`: one binary, a file a command. This file only dispatches.

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

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::start::Services;

/// It gives back what a compaction or a storm has taken, see the workspace's manifest.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    /// Poll and put what changed on Kafka; the notifier is another process
    Poller(ConfigFile),
    /// Read what changed from Kafka and tell people; the poller is another process
    Notifier(ConfigFile),
    /// Check a configuration and say every problem with its place
    Check(ConfigFile),
    /// What a configuration may say, and what one comes to
    #[command(subcommand)]
    Config(config::Configuration),
    /// How the services stand: sizes, positions, what waits
    Status(status::Arguments),
    /// Serve a simulated registry, to try Syncbell on without an account
    Simulate(simulate::Arguments),
    /// The sync tasks, as the poller knows them or as the cloud lists them now
    Tasks(Box<tasks::Arguments>),
    /// What is wrong now, and what was
    #[command(subcommand)]
    Incidents(ask::Incidents),
    /// Why something was told, or was not: a task, an event or an incident
    Explain(explain::Arguments),
    /// What was sent to whom, and how it went
    #[command(subcommand)]
    Deliveries(ask::Deliveries),
    /// What nobody wants to hear of for a while
    #[command(subcommand)]
    Silence(silence::Silences),
    /// What could not be read or delivered
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLetters),
    /// What the poller told: the event log as it is
    #[command(subcommand)]
    Events(events::Events),
    /// Who would be told what
    #[command(subcommand)]
    Route(route::Route),
    /// How the lanes of receivers stand, and letting one go on
    #[command(subcommand)]
    Receivers(receivers::Receivers),
    /// Send a sample to a receiver, and show what was sent and what came back
    TestReceiver(test_receiver::Arguments),
    /// What the rules of now make of the events of before: show it, or send it again
    Replay(replay::Arguments),
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
        Command::Run(file) => run::run(&file.config, Services::Both),
        Command::Poller(file) => run::run(&file.config, Services::Poller),
        Command::Notifier(file) => run::run(&file.config, Services::Notifier),
        Command::Check(file) => check::check(&file.config),
        Command::Config(asked) => config::config(&asked),
        Command::Status(asked) => status::status(&asked),
        Command::Simulate(arguments) => simulate::simulate(&arguments),
        Command::Tasks(asked) => tasks::tasks(&asked),
        Command::Incidents(asked) => ask::incidents(&asked),
        Command::Explain(asked) => explain::explain(&asked),
        Command::Deliveries(asked) => ask::deliveries(&asked),
        Command::Silence(asked) => silence::silences(&asked),
        Command::DeadLetters(asked) => dead_letters::dead_letters(&asked),
        Command::Events(asked) => events::events(&asked),
        Command::Route(asked) => route::route(&asked),
        Command::Receivers(asked) => receivers::receivers(&asked),
        Command::TestReceiver(asked) => test_receiver::test_receiver(&asked),
        Command::Replay(asked) => replay::replay(&asked),
    };
    exit::code(done)
}
