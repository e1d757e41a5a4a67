//! How long what is over is kept.

use std::time::Duration;

use super::Checker;
use crate::config::Retention;
use crate::raw::{self, Text};

impl Checker<'_> {
    pub(super) fn retention(&mut self, raw: Option<raw::Retention>) -> Retention {
        let default = Retention::default();
        let Some(raw) = raw else { return default };
        let (a_day, a_week) = (Retention::DELIVERIES_AT_LEAST, Retention::TASKS_AT_LEAST);
        Retention {
            incidents: self
                .positive("incidents", raw.incidents)
                .unwrap_or(default.incidents),
            deliveries: self.at_least("deliveries", raw.deliveries, a_day, default.deliveries),
            dead_letters: self.at_least(
                "dead_letters",
                raw.dead_letters,
                a_day,
                default.dead_letters,
            ),
            tasks: self.at_least("tasks", raw.tasks, a_week, default.tasks),
        }
    }

    fn at_least(&mut self, key: &str, value: Text, least: Duration, default: Duration) -> Duration {
        let Some(at) = value.as_ref().map(|value| value.referenced) else {
            return default;
        };
        let Some(parsed) = self.optional_duration(key, value) else {
            return default;
        };
        if parsed < least {
            let hours = least.as_secs() / 3_600;
            self.error(at, format!("`{key}`: expected at least `{hours}h`"));
        }
        parsed
    }
}
