//! How one attempt ended. Every channel says exactly one of these; none of them is an exception.

use std::time::Duration;

/// The name of [`Outcome::TooLarge`].
pub(crate) const TOO_LARGE: &str = "too_large";

/// The name of [`Outcome::Unknown`].
pub(crate) const UNKNOWN: &str = "unknown";

/// The outcome of one attempt. `note` is for people and holds no secret and no receiver's answer body
/// beyond its first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The receiver took it.
    Delivered {
        /// What it said.
        note: String,
    },
    /// The receiver asked for a pause: the whole target waits.
    RetryAfter {
        /// How long.
        after: Duration,
        /// What it said.
        note: String,
    },
    /// Try again with backoff: network errors, timeouts, 408, 425, 5xx, SMTP 4xx.
    Transient {
        /// What happened.
        note: String,
        /// The receiver may have taken it all the same (the answer was lost).
        maybe_delivered: bool,
    },
    /// This message can never go: to the dead letters. The target is fine.
    PermanentMessage {
        /// Why.
        note: String,
    },
    /// A chat takes only smaller ones than this: tried once more in a smaller form, then to the dead letters.
    TooLarge {
        /// What it said.
        note: String,
    },
    /// A chat answered, and neither yes nor no in words that are known: a few tries, then the dead letters.
    Unknown {
        /// What it said.
        note: String,
    },
    /// The target is gone or refuses us: its lane stops, what is pending is kept.
    PermanentTarget {
        /// Why.
        note: String,
    },
}

impl Outcome {
    /// The names of all outcomes: the closed set of a metric label.
    pub(crate) const NAMES: [&'static str; 7] = [
        "delivered",
        "retry_after",
        "transient",
        "permanent_message",
        "permanent_target",
        TOO_LARGE,
        UNKNOWN,
    ];

    /// Its name in rows, logs and metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Delivered { .. } => "delivered",
            Self::RetryAfter { .. } => "retry_after",
            Self::Transient { .. } => "transient",
            Self::PermanentMessage { .. } => "permanent_message",
            Self::PermanentTarget { .. } => "permanent_target",
            Self::TooLarge { .. } => TOO_LARGE,
            Self::Unknown { .. } => UNKNOWN,
        }
    }

    /// What happened, for people.
    pub(crate) fn note(&self) -> &str {
        match self {
            Self::Delivered { note }
            | Self::RetryAfter { note, .. }
            | Self::Transient { note, .. }
            | Self::PermanentMessage { note }
            | Self::PermanentTarget { note }
            | Self::TooLarge { note }
            | Self::Unknown { note } => note,
        }
    }
}

/// An outcome, with the number that the receiver answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// What it means.
    pub(crate) outcome: Outcome,
    /// The HTTP status or the SMTP code; none: nothing was answered.
    pub(crate) status: Option<u16>,
}

impl Answered {
    /// Of an answer.
    pub(crate) fn with(status: u16, outcome: Outcome) -> Self {
        Self {
            outcome,
            status: Some(status),
        }
    }
}

impl From<Outcome> for Answered {
    /// Nothing was answered.
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            status: None,
        }
    }
}
