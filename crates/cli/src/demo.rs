//! `syncbell demo`: the whole path with nothing to set up. It builds a configuration and calls the same
//! start as `run`; only the registry and the receiver are simulated.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use syncbell_config::Config;
use syncbell_notifier::SilenceWanted;
use syncbell_service::{shutdown, telemetry};
use syncbell_simulator::mailbox::Mailbox;
use syncbell_simulator::receiver::{self, Receiver};
use syncbell_simulator::{
    DEMO_INSTANCE, DEMO_REGION, DEMO_SILENCED, DEMO_SILENCED_NAMESPACE, Handle, Options, Script,
    Simulator,
};

use crate::exit::Failure;
use crate::explain;
use crate::run::block_on;
use crate::service::{Service, Who, find, segment};
use crate::start::{Services, Started, start};
use crate::story::Story;

/// The demo's shared secret.
const SECRET: &str = "whsec_c3luY2JlbGwtZGVtby1zZWNyZXQtMDEyMzQ1Njc=";

/// Longer than any baseline of twenty tasks takes.
const BASELINE: Duration = Duration::from_secs(20);

/// Longer than any answer of the service takes, or a failure to be seen.
const ANSWER: Duration = Duration::from_secs(20);

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
        let receiver = Receiver::start(options).await?;
        let mailbox = Mailbox::start().await?;
        let config = config(folder.path(), &simulator, &receiver, &mailbox)?;
        let credentials = syncbell_poller::credentials_from(|name| {
            let options = Options::default();
            match name {
                "ALIBABA_CLOUD_ACCESS_KEY_ID" => Some(options.access_key_id),
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET" => Some(options.access_key_secret),
                _ => None,
            }
        });
        let started = start(config, credentials, Services::Both).await?;
        let story = Story::new(simulator.world(), receiver.clone(), mailbox.clone());
        let places = format!(
            "a simulated registry at {}, a receiver at {}, a mailbox at {}",
            simulator.url(),
            receiver.url(),
            mailbox.addr()
        );
        anstream::println!("{places}");
        let told = play(&simulator, story, &started, once).await;
        let stopped = started.stop().await;
        receiver.stop().await;
        mailbox.stop().await;
        simulator.stop().await;
        stopped?;
        if told? {
            Ok(())
        } else {
            Err(Failure::No.into())
        }
    })
}

/// As a file would say it; the mailbox waits shortly, so that what fails together is told together.
fn config(
    folder: &Path,
    simulator: &Handle,
    receiver: &Receiver,
    mailbox: &Mailbox,
) -> anyhow::Result<Config> {
    let yaml = format!(
        "data_dir: '{}'\n\
         instances:\n  - {{id: {DEMO_INSTANCE}, region: {DEMO_REGION}, endpoint: '{}', poll_every: 1s}}\n\
         receivers:\n\
         \x20 - {{name: demo, webhook: {{url: '{}', secret: {{env: SECRET}}}}}}\n\
         \x20 - name: mail\n    email: {{from: syncbell@example.test, to: [oncall@example.test], \
         smtp: {{host: 127.0.0.1, port: {}, tls: none}}}}\n\
         route: {{receivers: [demo, mail], group_wait: 2s, group_interval: 2s}}\n\
         admin: {{listen: '127.0.0.1:0'}}\n",
        folder.display(),
        simulator.url(),
        receiver.url(),
        mailbox.addr().port(),
    );
    let secret = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
    let config = syncbell_config::parse(&yaml, "the demo's configuration", folder, &secret);
    config.map_err(|problems| anyhow!("{problems}"))
}

/// Waits for the baseline, tells the story. True if what arrived is what had to.
async fn play(
    simulator: &Handle,
    mut story: Story,
    started: &Started,
    once: bool,
) -> anyhow::Result<bool> {
    let world = simulator.world();
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
    story.tell(&[]).await;
    let service = find(Who::Notifier, &[started.admin]).await?;
    let service = service.context("the notifier does not answer")?;
    storm(simulator, &mut story, &service).await?;
    if once {
        return Ok(story.verdict(&started.metrics));
    }
    anstream::println!(
        "\nThat was the whole path. Ask it while it runs:\n\
         \x20   syncbell deliveries list --admin {}\n\
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

/// Most of a release fails while something else is silenced; why that was not told; and that it is told once its
/// silence ends.
async fn storm(simulator: &Handle, story: &mut Story, service: &Service) -> anyhow::Result<()> {
    let matcher = format!("from.namespace={DEMO_SILENCED_NAMESPACE}");
    let wanted = SilenceWanted {
        matchers: vec![matcher.clone()],
        starts_at: None,
        ends_at: Timestamp::now() + SignedDuration::from_mins(10),
        author: "demo".to_owned(),
        reason: "it moves this week".to_owned(),
        all: false,
    };
    let wanted = serde_json::to_value(&wanted)?;
    let silence = service.post("silences", &wanted, ANSWER).await?;
    let id = silence["id"].as_str().unwrap_or_default().to_owned();
    anstream::println!();
    let added =
        format!("syncbell silence add -m {matcher} --for 10m --reason 'it moves this week'");
    story.act(&added, std::slice::from_ref(&id));
    simulator.world().play(Script::demo_storm().steps);
    story.tell(&[DEMO_SILENCED]).await;
    story.tell_digest().await;
    let held = tokio::time::timeout(ANSWER, held(service)).await;
    let held = held.context("nothing is known of what is silenced")??;
    story.act(
        &format!("syncbell explain {DEMO_SILENCED}"),
        &explain::lines(&held),
    );
    let path = format!("silences/{id}/expire");
    service.ask("POST", &path).await?;
    story.act(&format!("syncbell silence expire {id}"), &[]);
    story.tell(&[]).await;
    Ok(())
}

/// What is known of the silenced task, once something is held back of it.
async fn held(service: &Service) -> anyhow::Result<Value> {
    let path = format!("explain/{}", segment(DEMO_SILENCED));
    loop {
        let known = service.get(&path, &[]).await;
        let endings = |known: &Value| known.to_string().contains("\"ending\":\"held\"");
        if let Some(known) = known.ok().filter(endings) {
            return Ok(known);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn is_complete_baseline(line: &str) -> bool {
    line.starts_with("syncbell_baseline_complete") && line.ends_with(" 1")
}
