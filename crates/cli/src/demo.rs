//! `syncbell demo`: the whole path with nothing to set up. It builds a configuration and calls the same
//! start as `run`; only the registry and the receiver are simulated.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use syncbell_config::{Config, Instance, LiveSecret, Receiver, ReceiverKind, Route, Webhook};
use syncbell_service::{shutdown, telemetry};
use syncbell_simulator::{
    DEMO_INSTANCE, DEMO_REGION, Handle, Options, Script, Simulator, receiver,
};

use crate::exit::Failure;
use crate::run::block_on;
use crate::start::{Services, Started, start};
use crate::story::Story;

/// The demo's shared secret.
const SECRET: &str = "whsec_c3luY2JlbGwtZGVtby1zZWNyZXQtMDEyMzQ1Njc=";

/// Longer than any baseline of twenty tasks takes.
const BASELINE: Duration = Duration::from_secs(20);

/// How the demo is to be.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Play the story once, compare what arrived with what had to, and exit 0 or 1
    #[arg(long)]
    once: bool,
}

/// Plays the demo.
pub(crate) fn demo(arguments: &Arguments) -> anyhow::Result<()> {
    telemetry::init(telemetry::Format::Auto, "error");
    let folder = tempfile::Builder::new().prefix("syncbell-demo-").tempdir();
    let folder = folder.context("could not make a folder for the demo")?;
    let once = arguments.once;
    block_on(async {
        let simulator = Simulator::start(Options::default()).await?;
        simulator.world().load(Script::demo());
        let options = receiver::Options {
            secret: Some(SECRET.to_owned()),
            ..Default::default()
        };
        let receiver = receiver::Receiver::start(options).await?;
        let config = config(folder.path(), &simulator, &receiver)?;
        let credentials = syncbell_poller::credentials_from(|name| {
            let options = Options::default();
            match name {
                "ALIBABA_CLOUD_ACCESS_KEY_ID" => Some(options.access_key_id),
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET" => Some(options.access_key_secret),
                _ => None,
            }
        });
        let started = start(config, credentials, Services::Both).await?;
        let told = play(&simulator, &receiver, &started, once).await;
        let stopped = started.stop().await;
        receiver.stop().await;
        simulator.stop().await;
        stopped?;
        if told? {
            Ok(())
        } else {
            Err(Failure::No.into())
        }
    })
}

fn config(
    folder: &std::path::Path,
    simulator: &Handle,
    receiver: &receiver::Receiver,
) -> anyhow::Result<Config> {
    let mut config = Config::new(folder);
    let mut instance =
        Instance::try_new(DEMO_INSTANCE, DEMO_REGION).context("the demo's region is a region")?;
    instance.endpoint = simulator.url().parse()?;
    instance.poll_every = Duration::from_secs(1);
    config.instances.push(instance);
    let mut webhook = Webhook::new(&receiver.url().parse()?);
    webhook.secrets = vec![LiveSecret::fixed(SECRET)];
    config.receivers.push(Receiver {
        name: "demo".to_owned(),
        language: syncbell_config::Language::En,
        kind: ReceiverKind::Webhook(Box::new(webhook)),
    });
    config.route = Route {
        receivers: vec!["demo".to_owned()],
        ..Route::default()
    };
    config.admin.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Ok(config)
}

/// Waits for the baseline, tells the story. True if what arrived is what had to.
async fn play(
    simulator: &Handle,
    receiver: &receiver::Receiver,
    started: &Started,
    once: bool,
) -> anyhow::Result<bool> {
    let world = simulator.world();
    anstream::println!(
        "a simulated registry at {}, a receiver at {}",
        simulator.url(),
        receiver.url()
    );
    let baseline = async {
        while !started.metrics.encode().lines().any(is_complete_baseline) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(BASELINE, baseline)
        .await
        .context("the baseline did not complete")?;
    anstream::println!(
        "baseline: {} quiet tasks, nothing to tell\n",
        world.counts().tasks
    );
    world.baseline_done();
    world.start_story();
    let mut story = Story::new(world, receiver.clone());
    story.tell().await;
    if once {
        return Ok(story.verdict(&started.metrics));
    }
    anstream::println!(
        "\nThat was the whole path. Ask it while it runs:\n\
         \x20   curl http://{}/api/v1/deliveries\n\
         Going real takes ten lines of YAML: see README.md, \"Going real\". Ctrl-C ends the demo.",
        started.admin
    );
    tokio::select! {
        signal = shutdown::signalled() => drop(signal.context("listening for signals")?),
        () = story.watch() => {}
    }
    anstream::println!();
    Ok(story.verdict(&started.metrics))
}

fn is_complete_baseline(line: &str) -> bool {
    line.starts_with("syncbell_baseline_complete") && line.ends_with(" 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_that_of_the_secret() {
        let yaml = format!(
            "instances: [{{id: a, region: cn-a}}]\n\
             receivers: [{{name: r, webhook: {{url: 'http://x.example', secret: {SECRET}}}}}]\n\
             route: {{receivers: [r]}}\n"
        );
        let config =
            syncbell_config::parse(&yaml, "x", std::path::Path::new("."), &|_| None).unwrap();
        let ReceiverKind::Webhook(webhook) = &config.receivers[0].kind else {
            panic!("kind")
        };
        let key = syncbell_config::signing_key(webhook.secrets[0].text().expose()).unwrap();
        assert_eq!(key.expose(), b"syncbell-demo-secret-01234567");
    }
}
