//! The deliver loops: one lane a target (`lane.rs`), and the channel that its receiver speaks (here). A slow
//! receiver delays nobody but itself.
//!
//! In: rows of the lane, oldest first. Out: attempts, each recorded with its outcome in one batch. A lane
//! keeps a bounded window of its rows in memory; the rows are the truth and are read back at start.
//!
//! Must never happen: a resolve that overtakes its own trigger, a row closed without an outcome.

mod lane;
mod queue;
mod concurrency;
mod attempt;
pub(crate) mod record;
mod setup;
mod webhook;
mod sign;
mod answer;
mod egress;
mod client;
mod endpoint;
mod redact;
mod fresh;
mod ping;
mod email;
mod message;
mod chat;
mod dingtalk;
mod feishu;
mod wecom;
mod slack;
mod budget;
mod merge;
mod split;
mod session;
mod bounded;
mod reply;

use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use syncbell_config::{Problem, Problems, Receiver, ReceiverKind};
use syncbell_service::crash_point;
use tokio::time::Instant;

use crate::Error;
use crate::delivery::Delivery;
use crate::metrics::NotifierMetrics;
use crate::outcome::{Answered, Outcome};
use crate::render::{Renderer, Renderers, TemplateFailure};

pub(crate) use budget::{Budgets, SharedBudget, a_minute};
pub(crate) use chat::{FORMS, NotBefore};
pub(crate) use lane::{Lane, LaneSignal, LaneState, Standing};
pub(crate) use ping::Ping;

/// A receiver that can be sent to.
pub(crate) struct Channel {
    kind: ChannelKind,
    renderer: Arc<Renderer>,
    metrics: NotifierMetrics,
    budget: SharedBudget,
    /// Templates of which it was logged that they fail.
    failing: Mutex<BTreeSet<String>>,
}

enum ChannelKind {
    Webhook(Box<webhook::WebhookChannel>),
    Email(Box<email::EmailChannel>),
    Chat(Box<chat::ChatChannel>),
}

impl Channel {
    /// Prepares the receiver; sends nothing.
    pub(crate) fn try_new(
        receiver: &Receiver,
        renderers: &Renderers,
        metrics: NotifierMetrics,
    ) -> Result<Self, Error> {
        let named = |error: setup::SetupError| {
            if let setup::SetupError::Template(problem) = error {
                return Error::Templates(Problems(vec![problem]));
            }
            let cause = error
                .source()
                .map(|cause| format!(": {cause}"))
                .unwrap_or_default();
            Error::Setup {
                what: format!("{}: {error}{cause}", receiver.name),
            }
        };
        let kind = match &receiver.kind {
            ReceiverKind::Webhook(config) => ChannelKind::Webhook(Box::new(
                webhook::WebhookChannel::try_new(config).map_err(named)?,
            )),
            ReceiverKind::Email(config) => ChannelKind::Email(Box::new(
                email::EmailChannel::try_new(config).map_err(named)?,
            )),
            ReceiverKind::Chat(config) => {
                ChannelKind::Chat(Box::new(chat::ChatChannel::try_new(config).map_err(named)?))
            }
        };
        let budget = match &kind {
            ChannelKind::Webhook(_) | ChannelKind::Email(_) => SharedBudget::default(),
            ChannelKind::Chat(channel) => SharedBudget::new(channel.rates()),
        };
        Ok(Self {
            kind,
            budget,
            renderer: renderers.of(receiver.language),
            metrics,
            failing: Mutex::default(),
        })
    }

    /// The first problem that a template of its own has with samples of every kind of message.
    pub(crate) fn problem(&self) -> Option<Problem> {
        match &self.kind {
            ChannelKind::Webhook(channel) => channel.problem(&self.renderer),
            ChannelKind::Email(_) | ChannelKind::Chat(_) => None,
        }
    }

    /// Its name in metrics.
    pub(crate) fn name(&self) -> &'static str {
        match &self.kind {
            ChannelKind::Webhook(_) => "webhook",
            ChannelKind::Email(_) => "email",
            ChannelKind::Chat(channel) => channel.name(),
        }
    }

    /// Attempts of one lane that may be under way at a time, at most.
    pub(crate) fn concurrency(&self) -> u32 {
        match self.kind {
            ChannelKind::Webhook(_) => client::CONCURRENT,
            ChannelKind::Email(_) | ChannelKind::Chat(_) => 1,
        }
    }

    /// What may be sent, together with all that speak to the same robot.
    pub(crate) fn budget(&self) -> &SharedBudget {
        &self.budget
    }

    /// The same, with the budget that all receivers of its URL share.
    pub(crate) fn sharing(mut self, budgets: &mut Budgets) -> Self {
        if let ChannelKind::Chat(channel) = &self.kind {
            self.budget = budgets.of(&channel.url(), channel.rates());
        }
        self
    }

    /// Messages of one attempt, at most.
    pub(crate) fn messages(&self) -> usize {
        match &self.kind {
            ChannelKind::Webhook(_) | ChannelKind::Email(_) => 1,
            ChannelKind::Chat(channel) => channel.messages(),
        }
    }

    /// Whether people read what it sends, who cannot tell a repeat by its id.
    pub(crate) fn is_for_people(&self) -> bool {
        !matches!(self.kind, ChannelKind::Webhook(_))
    }

    /// Whether what waits for its rate may go as one message: it is read by people.
    pub(crate) fn merges(&self) -> bool {
        matches!(self.kind, ChannelKind::Chat(_))
    }

    /// One attempt: rendered and sent.
    pub(crate) async fn send(&self, delivery: &Delivery, now: Timestamp) -> Answered {
        match &self.kind {
            ChannelKind::Webhook(channel) => {
                let (payload, failure) = channel.payload(&self.renderer, delivery, now);
                self.note(failure.as_slice(), delivery);
                let trace = delivery.traceparent();
                crash_point("deliver.webhook-rendered");
                channel.send(&delivery.id, trace, payload, now).await
            }
            ChannelKind::Email(channel) => {
                let mail = self.renderer.mail(delivery, now);
                self.note(&mail.failures, delivery);
                crash_point("deliver.mail-rendered");
                let address = delivery.target.address.as_deref().unwrap_or_default();
                channel.send(address, delivery, mail, now).await
            }
            ChannelKind::Chat(channel) => {
                let message = channel.message(&self.renderer, delivery, now);
                self.note(&message.failures, delivery);
                let taken = channel.send(&message, now).await;
                if !matches!(taken.outcome, Outcome::Delivered { .. }) {
                    return taken;
                }
                let Some(second) = channel.mention(&message, now).await else {
                    return taken;
                };
                // The vendor counts it too.
                self.budget.lock().note(Instant::now());
                mentioned(delivery, taken, &second)
            }
        }
    }

    /// What an attempt at `now` sends, without secrets.
    pub(crate) async fn preview(&self, delivery: &Delivery, now: Timestamp) -> String {
        match &self.kind {
            ChannelKind::Webhook(channel) => {
                let (payload, _) = channel.payload(&self.renderer, delivery, now);
                let trace = delivery.traceparent();
                channel.preview(&delivery.id, trace, &payload, now).await
            }
            ChannelKind::Email(channel) => {
                let mail = self.renderer.mail(delivery, now);
                let address = delivery.target.address.as_deref().unwrap_or_default();
                channel.preview(address, delivery, mail, now)
            }
            ChannelKind::Chat(channel) => {
                let message = channel.message(&self.renderer, delivery, now);
                channel.preview(&message, now)
            }
        }
    }

    /// When a delivery goes at the earliest, where that depends on the time of day.
    pub(crate) fn not_before(&self) -> Option<NotBefore> {
        match &self.kind {
            ChannelKind::Webhook(_) | ChannelKind::Email(_) => None,
            ChannelKind::Chat(channel) => channel.not_before(),
        }
    }

    /// Counts templates that failed, and says each once.
    fn note(&self, failures: &[TemplateFailure], delivery: &Delivery) {
        for TemplateFailure { template, why } in failures {
            self.metrics.template_failed(template);
            let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
            if failing.insert(template.clone()) {
                tracing::error!(
                    template, why, receiver = delivery.target.receiver, delivery.id = %delivery.id,
                    "a template failed: the built-in text is sent; said once a template"
                );
            }
        }
    }

    /// Ends connections politely.
    pub(crate) async fn shutdown(&self) {
        match &self.kind {
            ChannelKind::Webhook(_) | ChannelKind::Chat(_) => {}
            ChannelKind::Email(channel) => channel.shutdown().await,
        }
    }
}

/// What is told is told, whoever was mentioned: it is not told again because of that.
fn mentioned(delivery: &Delivery, taken: Answered, mentioned: &Outcome) -> Answered {
    if matches!(mentioned, Outcome::Delivered { .. }) {
        return taken;
    }
    let why = mentioned.note();
    tracing::warn!(
        delivery.id = %delivery.id, receiver = delivery.target.receiver, why,
        "a delivery was taken, and nobody was mentioned"
    );
    let note = format!("{}; nobody was mentioned: {why}", taken.outcome.note());
    Answered {
        outcome: Outcome::Delivered { note },
        ..taken
    }
}
