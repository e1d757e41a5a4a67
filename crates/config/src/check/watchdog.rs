//! The heartbeat for a dead man's switch outside, and when Syncbell tells that it cannot tell.

use std::time::Duration;

use serde_saphyr::Spanned;

use super::Checker;
use super::webhook::RawHttp;
use crate::config::{Heartbeat, Watchdog};
use crate::raw;

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
        let url = self.receiver_url(raw.url, at);
        let http = self.http(RawHttp {
            timeout: raw.timeout,
            ca_file: raw.ca_file,
            client_certificate: raw.client_certificate,
            proxy: raw.proxy,
        });
        Some(Heartbeat {
            url: url?,
            every,
            http,
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
