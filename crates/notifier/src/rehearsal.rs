//! One sample through one receiver, for `syncbell test-receiver`: by the code that sends alerts, and without a ledger.
//!
//! In: the configuration, a receiver, a kind of sample. Out: what was sent to each of its targets, without secrets,
//! and what came back. Must never happen: a sample that is taken for the real thing.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use syncbell_config::Config;
use syncbell_event::Image;
use syncbell_service::Metrics;
use tokio::time::Instant;

use crate::Error;
use crate::deliver::Channel;
use crate::delivery::{Delivery, DeliveryId, Entry, Target};
use crate::metrics::NotifierMetrics;
use crate::render::{self, Renderers};
use crate::route::targets;

/// The sample that is sent unless another one is asked for.
const USUAL: [&str; 2] = ["sample", "failed"];

/// The namespace and instance of samples, and the label that all have.
const MARK: &str = "syncbell-test";

/// What one attempt came to.
#[derive(Clone, Debug, Serialize)]
pub struct Rehearsed {
    /// Receiver, and address if it is mail.
    pub target: String,
    /// What was sent, without secrets.
    pub sent: String,
    /// `delivered`, `transient`, … as in metrics.
    pub outcome: &'static str,
    /// What came back.
    pub note: String,
    /// How long it took.
    pub duration_ms: u64,
}

/// The kinds of samples, as they are asked for.
pub fn sample_names() -> Vec<String> {
    let samples = render::samples().into_iter();
    samples.map(|(name, _)| name.replace(' ', "-")).collect()
}

/// Sends the sample `kind` to each target of the receiver `name`, one after the other. `Refused`: there is no such
/// receiver or kind. `Setup` and `Templates`: the configuration must change first.
pub async fn rehearse(config: &Config, name: &str, kind: &str) -> Result<Vec<Rehearsed>, Error> {
    let refused = |what: String| Error::Refused { what };
    let mut receivers = config.receivers.iter();
    let receiver = receivers
        .find(|receiver| receiver.name == name)
        .ok_or_else(|| refused(format!("no receiver is named `{name}`")))?;
    let kind = if kind == USUAL[0] { USUAL[1] } else { kind };
    let mut samples = render::samples().into_iter();
    let (_, sample) = samples
        .find(|(name, _)| name.replace(' ', "-") == kind)
        .ok_or_else(|| {
            let known = sample_names().join(", ");
            refused(format!("no sample is named `{kind}`; there are {known}"))
        })?;
    let renderers =
        Renderers::try_new(&config.templates, &config.console).map_err(Error::Templates)?;
    let channel = Channel::try_new(receiver, &renderers, NotifierMetrics::new(&Metrics::new()))?;
    let mut all = Vec::new();
    for target in targets(receiver) {
        let now = Timestamp::now();
        let delivery = marked(&sample, target, now);
        let sent = channel.preview(&delivery, now).await;
        let began = Instant::now();
        let outcome = channel.send(&delivery, now).await.outcome;
        all.push(Rehearsed {
            target: delivery.target.to_string(),
            sent,
            outcome: outcome.name(),
            note: outcome.note().to_owned(),
            duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }
    channel.shutdown().await;
    Ok(all)
}

/// The sample as if it were of now, under an id of its own, and marked as a test wherever people or machines look.
fn marked(sample: &Delivery, target: Target, now: Timestamp) -> Delivery {
    let mut delivery = sample.clone();
    let shift = now.duration_since(sample.created_at);
    let id = (rand::random::<u64>(), rand::random::<u64>());
    delivery.id = DeliveryId(format!("{:016x}{:016x}", id.0, id.1));
    delivery.target = target;
    (delivery.created_at, delivery.due_at) = (now, now);
    delivery.group.insert("test".to_owned(), MARK.to_owned());
    for entry in &mut delivery.entries {
        mark(entry, shift);
    }
    delivery
}

fn mark(entry: &mut Entry, shift: SignedDuration) {
    let later = |at: Timestamp| at.saturating_add(shift).unwrap_or(at);
    entry.observed_at = later(entry.observed_at);
    MARK.clone_into(&mut entry.instance);
    let item = &mut entry.item;
    item.since = later(item.since);
    item.summary = format!("TEST of a receiver, nothing happened: {}", item.summary);
    item.labels.insert("test".to_owned(), MARK.to_owned());
    item.instance = item.instance.as_ref().map(|_| MARK.to_owned());
    let Some(task) = &mut item.task else { return };
    task.created_at = task.created_at.map(later);
    task.modified_at = task.modified_at.map(later);
    for Image { namespace, .. } in task.from.iter_mut().chain(&mut task.to) {
        *namespace = Some(MARK.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncbell_event::Alert;

    #[test]
    fn every_sample_says_that_it_is_a_test_and_is_of_now() {
        let now: Timestamp = "2026-11-27T03:00:00Z".parse().unwrap();
        let names = sample_names();
        assert!(names.contains(&"failed".to_owned()) && names.len() > 10);
        for (name, sample) in render::samples() {
            let target = Target {
                receiver: "ops".into(),
                address: None,
            };
            let delivery = marked(&sample, target, now);
            let alert: Alert = serde_json::from_slice(&render::webhook(&delivery)).unwrap();
            assert_ne!(alert.id, sample.id.0);
            assert_eq!(alert.data.group["test"], MARK, "{name}");
            for item in &alert.data.alerts {
                assert!(item.summary.starts_with("TEST of a receiver"), "{name}");
                assert_eq!(item.labels["test"], MARK);
                let age = now.duration_since(item.since).as_hours();
                assert!((0..24).contains(&age), "{name}: {age} h");
                let from = item.task.as_ref().and_then(|task| task.from.as_ref());
                if let Some(from) = from {
                    assert_eq!(from.namespace.as_deref(), Some(MARK));
                }
            }
        }
    }
}
