//! `syncbell simulate`: the simulated registry by itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use syncbell_service::{shutdown, telemetry};
use syncbell_simulator::{Handle, Instance, Load, Options, Script, Simulator, Timeline};

use crate::exit::Failure;
use crate::run::block_on;

/// How the simulator is to be.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Only the tasks that are there at first: nothing happens by itself
    #[arg(long)]
    quiet: bool,
    /// Play this timeline in place of the demo's story: instances, rules, tasks, faults in YAML, see
    /// config/timeline.yaml
    #[arg(short, long, value_name = "TIMELINE", conflicts_with = "quiet")]
    file: Option<PathBuf>,
    /// Play the timeline so many times as fast
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, requires = "file")]
    speed: f64,
}

/// Serves until SIGTERM or SIGINT.
pub(crate) fn simulate(arguments: &Arguments) -> anyhow::Result<()> {
    telemetry::init(telemetry::Format::Auto, "warn");
    let timeline = match &arguments.file {
        Some(file) => Some(Timeline::load(file).context(Failure::Configuration)?),
        None => None,
    };
    block_on(async {
        let mut options = Options {
            listen: arguments.listen,
            ..Options::default()
        };
        if let Some(timeline) = &timeline {
            // The timeline has its own, with names and tags.
            options.instances = timeline.instances.iter().map(instance).collect();
        }
        let (id, secret) = (
            options.access_key_id.clone(),
            options.access_key_secret.clone(),
        );
        let instances = options.instances.clone();
        let simulator = Simulator::start(options).await.context(Failure::TryAgain)?;
        match timeline {
            Some(timeline) => {
                let timeline = timeline.at_speed(arguments.speed);
                simulator.world().play_timeline(&timeline)?;
            }
            None => play_demo(&simulator, arguments.quiet),
        }
        for Instance { id, region } in instances {
            anstream::println!(
                "ListRepoSyncTask of {id} in {region} at {}",
                simulator.url()
            );
        }
        anstream::println!("ALIBABA_CLOUD_ACCESS_KEY_ID={id}");
        anstream::println!("ALIBABA_CLOUD_ACCESS_KEY_SECRET={secret}");
        anstream::println!("what must be told: {}/_simulator/ledger", simulator.url());
        shutdown::signalled()
            .await
            .context("listening for signals")?;
        simulator.stop().await;
        Ok(())
    })
}

fn instance(new: &syncbell_simulator::NewInstance) -> Instance {
    Instance {
        id: new.id.clone(),
        region: new.region.clone(),
    }
}

/// The demo's tasks and story, and then ever new changes until the simulator stops.
fn play_demo(simulator: &Handle, quiet: bool) {
    simulator.world().load(Script::demo());
    if !quiet {
        simulator.world().start_story();
        simulator.world().generate(Load::default());
    }
}
