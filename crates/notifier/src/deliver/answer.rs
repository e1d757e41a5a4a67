//! What an HTTP answer means for a generic webhook. Pure.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use crate::outcome::Outcome;

/// However long a receiver asks for, it is tried again after this.
const PAUSE_LIMIT: Duration = Duration::from_hours(1);

/// The outcome of an answer with this status. `pause` is what its `Retry-After` asks for.
pub(super) fn classify(status: u16, pause: Option<Duration>, note: String) -> Outcome {
    match (status, pause) {
        (200..=299, _) => Outcome::Delivered { note },
        (429 | 503, Some(after)) => Outcome::RetryAfter { after, note },
        // A gateway that lost the answer of what stands behind it.
        (502 | 504, _) => Outcome::Transient {
            note,
            maybe_delivered: true,
        },
        (408 | 425 | 429 | 500.., _) => Outcome::Transient {
            note,
            maybe_delivered: false,
        },
        (..=399 | 401 | 403 | 404 | 405 | 410, _) => Outcome::PermanentTarget { note },
        (400..=499, _) => Outcome::PermanentMessage { note },
    }
}

/// What the answer asks us to wait. Dates are compared with the server's own, where it has one.
pub(super) fn asked_pause(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    pause(text(RETRY_AFTER)?, text(DATE).and_then(date).unwrap_or(now))
}

/// The pause in a `Retry-After` header: seconds, also with a fraction, or an HTTP date, which is compared
/// with `server_now`. At most 1 h. None if it cannot be read or asks for no pause: the usual backoff is
/// then right.
pub(super) fn pause(header: &str, server_now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    let pause = match header.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds > 0.0 => {
            Duration::try_from_secs_f64(seconds).unwrap_or(PAUSE_LIMIT)
        }
        Ok(_) => return None,
        Err(_) => Duration::try_from(date(header)?.duration_since(server_now)).ok()?,
    };
    (!pause.is_zero()).then(|| pause.min(PAUSE_LIMIT))
}

/// An HTTP date in any of its three forms (RFC 9110, 5.6.7).
pub(super) fn date(header: &str) -> Option<Timestamp> {
    Timestamp::try_from(httpdate::parse_http_date(header).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_status_has_its_outcome() {
        let pause = Some(Duration::from_secs(7));
        let cases = [
            (200, None, "delivered"),
            (202, None, "delivered"),
            (204, pause, "delivered"),
            (299, None, "delivered"),
            (101, None, "permanent_target"),
            (301, pause, "permanent_target"),
            (302, None, "permanent_target"),
            (304, None, "permanent_target"),
            (308, None, "permanent_target"),
            (400, None, "permanent_message"),
            (401, None, "permanent_target"),
            (403, None, "permanent_target"),
            (404, None, "permanent_target"),
            (405, None, "permanent_target"),
            (408, None, "transient"),
            (409, None, "permanent_message"),
            (410, None, "permanent_target"),
            (413, None, "permanent_message"),
            (415, None, "permanent_message"),
            (422, None, "permanent_message"),
            (425, None, "transient"),
            (429, pause, "retry_after"),
            (429, None, "transient"),
            (500, pause, "transient"),
            (502, None, "transient"),
            (503, pause, "retry_after"),
            (503, None, "transient"),
            (599, None, "transient"),
            (999, None, "transient"),
        ];
        for (status, pause, expected) in cases {
            assert_eq!(
                classify(status, pause, String::new()).name(),
                expected,
                "{status}"
            );
        }
    }

    #[test]
    fn every_form_of_retry_after_is_understood() {
        let now: Timestamp = "2026-10-21T07:27:30Z".parse().unwrap();
        let cases = [
            ("120", Some(120_000)),
            (" 5 ", Some(5_000)),
            ("0.35", Some(350)),
            ("Wed, 21 Oct 2026 07:28:00 GMT", Some(30_000)),
            ("Wednesday, 21-Oct-26 07:28:00 GMT", Some(30_000)),
            ("Wed, 21 Oct 2026 07:00:00 GMT", None),
            ("Wed, 21 Oct 2026 07:27:30 GMT", None),
            ("Fri, 31 Dec 2100 23:59:59 GMT", Some(3_600_000)),
            ("86400", Some(3_600_000)),
            ("1e300", Some(3_600_000)),
            ("0", None),
            ("-5", None),
            ("inf", None),
            ("NaN", None),
            ("soon", None),
            ("", None),
        ];
        for (header, expected) in cases {
            assert_eq!(
                pause(header, now),
                expected.map(Duration::from_millis),
                "{header:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_a_pause_without_bound(header in ".{0,60}", seconds in any::<f64>()) {
            for header in [header, seconds.to_string()] {
                if let Some(pause) = pause(&header, Timestamp::UNIX_EPOCH) {
                    prop_assert!(!pause.is_zero() && pause <= PAUSE_LIMIT);
                }
            }
        }
    }
}
