//! The heartbeat for a dead man's switch outside, and when Syncbell tells that it cannot tell.

use std::time::Duration;

use serde_saphyr::Spanned;
use url::Url;

use super::Checker;
use crate::config::{Heartbeat, Watchdog};
use crate::raw;
use crate::secret::Secret;

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
        let Some(url) = raw.url else {
            self.error(at, "the key `url` is missing here");
            return None;
        };
        let place = url.referenced;
        let text = match url.value.resolve(self.folder, self.env) {
            Ok(text) => text,
            Err(message) => {
                self.lack(place, format!("`url`: {message}"));
                return None;
            }
        };
        // Not through `Checker::url`: where it comes from a variable, the file is not what is wrong.
        let url = Url::parse(text.expose().trim()).ok().filter(|url| {
            let bare = url.username().is_empty() && url.password().is_none();
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some() && bare
        });
        let Some(url) = url else {
            let message =
                "`url`: expected an http:// or https:// URL without user name or password";
            self.lack(place, message.to_owned());
            return None;
        };
        Some(Heartbeat {
            url: Secret::new(url),
            every,
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
