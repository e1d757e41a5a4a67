//! What the head of an answer says: status, clock, and how long to wait. Pure.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;

use crate::asked::Asked;

/// The SDKs cap `x-acs-retry-after` at two minutes; so do we.
const ACS_DELAY_LIMIT: Duration = Duration::from_mins(2);

/// Other delays are obeyed up to this: a mistyped one must not blind us for days.
const DELAY_LIMIT: Duration = Duration::from_hours(1);

/// What the answer's head says, as far as it matters here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) date: Option<Timestamp>,
    /// The delay that it asks for.
    pub(crate) retry_after: Option<Duration>,
    /// `x-acs-retry-after` was there: if this is an error then the request was throttled, whatever its
    /// code says (as the vendor's SDKs take it since mid-2026, darabonba-openapi#283).
    pub(crate) asks_to_wait: bool,
    /// What this is the answer to.
    pub(crate) asked: Option<Asked>,
}

impl Head {
    pub(crate) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the head alone says that the request was throttled.
    pub(crate) fn throttled(&self) -> bool {
        // A busy server that names a delay is obeyed, too.
        let busy = self.status == 503 && self.retry_after.is_some();
        !self.is_ok() && self.asks_to_wait || self.status == 429 || busy
    }
}

pub(crate) fn head(status: u16, headers: &HeaderMap) -> Head {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let date = text("date").and_then(|date| httpdate::parse_http_date(date).ok());
    let date = date.and_then(|date| Timestamp::try_from(date).ok());
    let acs = text("x-acs-retry-after").and_then(|ms| ms.trim().parse::<u64>().ok());
    let acs = acs.filter(|ms| *ms > 0).map(Duration::from_millis);
    let acs = acs.map(|delay| delay.min(ACS_DELAY_LIMIT));
    let time_left = ["x-ratelimit-user-api", "x-ratelimit-user"]
        .into_iter()
        .filter_map(text)
        .filter_map(time_left)
        .max();
    let standard = text("retry-after").and_then(|value| {
        let seconds = value.trim().parse::<u64>().ok().map(Duration::from_secs);
        seconds.or_else(|| {
            let at = Timestamp::try_from(httpdate::parse_http_date(value).ok()?).ok()?;
            Duration::try_from(at.duration_since(date?)).ok()
        })
    });
    // None, not nothing: a caller that waits for nothing asks again and again.
    let standard = standard.filter(|delay| !delay.is_zero());
    let other = time_left.or(standard).map(|delay| delay.min(DELAY_LIMIT));
    Head {
        status,
        content_type: text("content-type").unwrap_or_default().to_owned(),
        date,
        retry_after: acs.or(other),
        asks_to_wait: acs.is_some(),
        asked: None,
    }
}

/// `TimeLeft` in milliseconds of `Key:Value,Key:Value`.
fn time_left(value: &str) -> Option<Duration> {
    let pairs = value.split(',').filter_map(|pair| pair.split_once(':'));
    let left = pairs
        .into_iter()
        .find(|(key, _)| key.trim() == "TimeLeft")?
        .1;
    left.trim()
        .parse()
        .ok()
        .filter(|ms| *ms > 0)
        .map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Headers<'a> = &'a [(&'static str, &'a str)];

    fn of(status: u16, headers: Headers<'_>) -> Head {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        head(status, &map)
    }

    #[test]
    fn the_delay_is_the_vendors_own_then_the_older_form_then_the_standard_one() {
        const DATE: (&str, &str) = ("date", "Fri, 02 Jan 2026 03:00:00 GMT");
        let acs = |value| ("x-acs-retry-after", value);
        let api = |value| ("x-ratelimit-user-api", value);
        let user = |value| ("x-ratelimit-user", value);
        let standard = |value| ("retry-after", value);
        let cases: &[(Headers<'_>, Option<u64>)] = &[
            (&[], None),
            (&[acs("1234")], Some(1_234)),
            (&[acs(" 7 ")], Some(7)),
            (&[acs("120001")], Some(120_000)),
            (&[acs("18446744073709551615")], Some(120_000)),
            (&[acs("0")], None),
            (&[acs("")], None),
            (&[acs("-5")], None),
            (&[acs("1.5")], None),
            (&[acs("soon")], None),
            (&[acs("99999999999999999999999")], None),
            (&[acs("10"), api("TimeLeft:999"), standard("9")], Some(10)),
            (&[acs("soon"), standard("9")], Some(9_000)),
            (&[api("Limit:10,Remain:0,TimeLeft:250")], Some(250)),
            (&[user("Limit:10, TimeLeft : 250 ")], Some(250)),
            (&[api("TimeLeft:100"), user("TimeLeft:300")], Some(300)),
            (&[api("TimeLeft:0"), user("TimeLeft:-1")], None),
            (&[api("TimeLeft"), user("timeleft:5")], None),
            (&[api("TimeLeft:250"), standard("9")], Some(250)),
            (&[api("TimeLeft:0"), standard("9")], Some(9_000)),
            (&[standard("3")], Some(3_000)),
            (&[standard("0")], None),
            (&[standard("-3")], None),
            (&[standard("999999")], Some(3_600_000)),
            (&[standard("18446744073709551615")], Some(3_600_000)),
            (
                &[DATE, standard("Fri, 02 Jan 2026 03:00:30 GMT")],
                Some(30_000),
            ),
            (&[DATE, standard("Fri, 02 Jan 2026 02:00:00 GMT")], None),
            (
                &[DATE, standard("Fri, 02 Jan 2026 09:00:00 GMT")],
                Some(3_600_000),
            ),
            // A date is measured by the server's clock only.
            (&[standard("Fri, 02 Jan 2099 03:00:30 GMT")], None),
            (
                &[
                    ("date", "yesterday"),
                    standard("Fri, 02 Jan 2026 03:00:30 GMT"),
                ],
                None,
            ),
        ];
        for (headers, delay_ms) in cases {
            let delay = of(429, headers).retry_after;
            assert_eq!(delay, delay_ms.map(Duration::from_millis), "{headers:?}");
        }
    }

    #[test]
    fn the_head_alone_says_when_a_request_was_throttled() {
        let acs = &[("x-acs-retry-after", "5")][..];
        let standard = &[("retry-after", "5")][..];
        for (status, headers, throttled) in [
            (200, acs, false),
            (400, acs, true),
            (403, acs, true),
            (500, acs, true),
            (400, &[("x-acs-retry-after", "0")], false),
            (400, standard, false),
            (503, standard, true),
            (503, &[], false),
            (429, &[], true),
        ] {
            let head = of(status, headers);
            assert_eq!(head.throttled(), throttled, "{status} {headers:?}");
        }
    }
}
