//! The heartbeat for a dead man's switch outside, and when Syncbell tells that it cannot tell.

use std::time::Duration;

use serde_saphyr::Spanned;

use super::Checker;
use crate::config::{Heartbeat, Watchdog};
use crate::raw;
use crate::secret::{Secret, http_url};

const EVERY: Duration = Duration::from_mins(1);
const EVERY_AT_LEAST: Duration = Duration::from_secs(1);

impl Checker<'_> {
    pub(super) fn heartbeat(&mut self, raw: Option<Spanned<raw::Heartbeat>>) -> Option<Heartbeat> {
        let raw = raw?;
        let (at, raw) = (raw.referenced, raw.value);
        let every_at = raw.every.as_ref().map_or(at, |every| every.referenced);
        let every = self.duration("every", raw.every, EVERY);
        if every < EVERY_AT_LEAST {
            self.error(every_at, "`every`: expected at least `1s`");
        }
        let url = self.receiver_url(raw.url, at)?;
        // It was read as one just now.
        let url = http_url(url.text().expose()).ok()?;
        Some(Heartbeat {
            url: Secret::new(url),
            every,
            egress: self.egress.clone(),
        })
    }

    pub(super) fn watchdog(&mut self, raw: Option<raw::Watchdog>) -> Watchdog {
        let default = Watchdog::default();
        let raw = raw.and_then(|raw| raw.receiver_failing_for);
        Watchdog {
            receiver_failing_for: self
                .positive("receiver_failing_for", raw)
                .unwrap_or(default.receiver_failing_for),
        }
    }
}
