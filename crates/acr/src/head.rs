//! What the head of an answer says: status, clock, and how long to wait. Pure.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;

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
    pub(crate) retry_after: Option<Duration>,
    /// `x-acs-retry-after` was there: the request was throttled, whatever its code says.
    pub(crate) throttled: bool,
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
        // A busy server that names a delay is obeyed, too.
        throttled: acs.is_some() && !(200..300).contains(&status)
            || status == 503 && standard.is_some(),
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
