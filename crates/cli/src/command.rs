//! The commands: what the command line takes, and who does it.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::start::Services;
use crate::{
    ask, check, config, dead_letters, demo, events, explain, receivers, replay, route, run,
    silence, simulate, status, tasks, test_receiver,
};

/// Watches the image-synchronization tasks of Alibaba Cloud Container Registry and tells a person of
/// each one that went wrong.
#[derive(Debug, Parser)]
#[command(name = "syncbell", version, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
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
pub(crate) struct ConfigFile {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "syncbell.yaml")]
    config: PathBuf,
}

impl Command {
    /// Does what was asked for.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Demo(arguments) => demo::demo(&arguments),
            Self::Run(file) => run::run(&file.config, Services::Both),
            Self::Poller(file) => run::run(&file.config, Services::Poller),
            Self::Notifier(file) => run::run(&file.config, Services::Notifier),
            Self::Check(file) => check::check(&file.config),
            Self::Config(asked) => config::config(&asked),
            Self::Status(asked) => status::status(&asked),
            Self::Simulate(arguments) => simulate::simulate(&arguments),
            Self::Tasks(asked) => tasks::tasks(&asked),
            Self::Incidents(asked) => ask::incidents(&asked),
            Self::Explain(asked) => explain::explain(&asked),
            Self::Deliveries(asked) => ask::deliveries(&asked),
            Self::Silence(asked) => silence::silences(&asked),
            Self::DeadLetters(asked) => dead_letters::dead_letters(&asked),
            Self::Events(asked) => events::events(&asked),
            Self::Route(asked) => route::route(&asked),
            Self::Receivers(asked) => receivers::receivers(&asked),
            Self::TestReceiver(asked) => test_receiver::test_receiver(&asked),
            Self::Replay(asked) => replay::replay(&asked),
        }
    }
}
