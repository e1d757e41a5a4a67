//! How long the notifier keeps what is over, checked.

use std::time::Duration;

const A_DAY: Duration = Duration::from_hours(24);

/// How long is kept what is over. What goes on, and what could still be told wrongly without it, is kept
/// whatever this says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Closed incidents.
    pub incidents: Duration,
    /// Deliveries that are over, and their attempts; at least a day.
    pub deliveries: Duration,
    /// Dead letters: how long they are listed and can be replayed.
    pub dead_letters: Duration,
    /// Tasks that ended well, and what is remembered of their routes; at least a week.
    pub tasks: Duration,
}

impl Retention {
    /// The least of [`Retention::deliveries`] and `dead_letters`: so long a delivery is tried.
    pub(crate) const DELIVERIES_AT_LEAST: Duration = A_DAY;
    /// The least of [`Retention::tasks`].
    pub(crate) const TASKS_AT_LEAST: Duration = A_DAY.saturating_mul(7);
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            incidents: A_DAY * 30,
            deliveries: A_DAY * 30,
            dead_letters: A_DAY * 7,
            tasks: A_DAY * 90,
        }
    }
}
