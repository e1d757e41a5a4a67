//! `syncbell simulate`: the simulated registry by itself.

use std::net::SocketAddr;

use anyhow::Context as _;
use syncbell_service::{shutdown, telemetry};
use syncbell_simulator::{DEMO_INSTANCE, DEMO_REGION, Load, Options, Script, Simulator};

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
}

/// Serves until SIGTERM or SIGINT.
pub(crate) fn simulate(arguments: &Arguments) -> anyhow::Result<()> {
    telemetry::init(telemetry::Format::Auto, "warn");
    block_on(async {
        let options = Options {
            listen: arguments.listen,
            ..Options::default()
        };
        let (id, secret) = (
            options.access_key_id.clone(),
            options.access_key_secret.clone(),
        );
        let simulator = Simulator::start(options).await.context(Failure::TryAgain)?;
        simulator.world().load(Script::demo());
        let load = (!arguments.quiet).then(|| {
            simulator.world().start_story();
            simulator.world().generate(Load::default())
        });
        anstream::println!(
            "ListRepoSyncTask of {DEMO_INSTANCE} in {DEMO_REGION} at {}",
            simulator.url()
        );
        anstream::println!("ALIBABA_CLOUD_ACCESS_KEY_ID={id}");
        anstream::println!("ALIBABA_CLOUD_ACCESS_KEY_SECRET={secret}");
        anstream::println!("what must be told: {}/_simulator/ledger", simulator.url());
        shutdown::signalled()
            .await
            .context("listening for signals")?;
        if let Some(load) = load {
            load.stop();
        }
        simulator.stop().await;
        Ok(())
    })
}
