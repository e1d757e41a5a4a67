//! The event log as people read it: from some point on, and then what comes. For `syncbell events tail`,
//! through `GET /events` of a running service or on a log that was opened for it.
//!
//! In: the log and what is wanted of it. Out: lines of JSON, each an event as it travels, or
//! `{"undecodable": …}` for a record that is none. Must never happen: a tail that holds up the services
//! beside it: it acknowledges nothing, keeps no more of the log than a few MiB from being removed, and is
//! ended when nobody reads its lines.

mod api;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;
use syncbell_bus::{Bounds, Bus, Error, Next, Position, Read, StartAt, Stream, Subscriber};
use syncbell_event::Envelope;

pub use self::api::{ERROR_KEY, api};

/// Records asked for at once.
const BATCH_RECORDS: usize = 500;

/// A reader of the embedded log keeps from removal what it has not acknowledged, and acknowledging on
/// Kafka would move the notifier's group offset. So a tail begins a new reader after this many bytes.
const RENEW_BYTES: usize = 8 * 1024 * 1024;

/// The most lines that are looked for backwards, and the most bytes of them that are kept.
const LAST_LIMIT: usize = 10_000;
const LAST_LIMIT_BYTES: usize = 32 * 1024 * 1024;

/// Records looked at first when something is looked for backwards, and how the step grows.
const FIRST_STEP: u64 = 64;
const STEP_GROWS: u64 = 8;

/// Events of one partition are in the order of their times, but for what one clock differs from another
/// and what waited for its turn. So much further back a time is looked for.
const DISORDER: SignedDuration = SignedDuration::from_mins(10);

/// How long what the log holds may take to come: longer than a Kafka reader that stands still takes to
/// begin anew.
const PATIENCE: Duration = Duration::from_mins(1);

/// Shown first, unless asked otherwise.
pub const LAST_EVENTS: usize = 10;

/// Where a tail begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum StartFrom {
    /// At the oldest record that is held.
    Start,
    /// At what comes next.
    End,
    /// At the newest events, so many of them (at most 10,000), those of all partitions by their time.
    Last(usize),
    /// At the first event that was observed at this time or later.
    Since(Timestamp),
}

impl Default for StartFrom {
    fn default() -> Self {
        Self::Last(LAST_EVENTS)
    }
}

/// Why a text says no start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected `start`, `end`, a number of events, a duration such as `2h`, or a time such as \
     2026-01-02T03:04:05Z"
)]
pub struct NoStart;

/// The time that `text` says: a time such as `2026-01-02T03:04:05Z`, or so long ago, such as `2h`.
pub fn since(text: &str) -> Option<Timestamp> {
    let ago = || {
        let ago = SignedDuration::try_from(syncbell_config::parse_duration(text)?).ok()?;
        Timestamp::now().checked_sub(ago).ok()
    };
    text.parse().ok().or_else(ago)
}

impl FromStr for StartFrom {
    type Err = NoStart;

    /// `start`, `end`, `10`, `2h`, `2026-01-02T03:04:05Z`.
    fn from_str(text: &str) -> Result<Self, NoStart> {
        let last = || text.parse().map(Self::Last).ok();
        let since = || since(text).map(Self::Since);
        match text {
            "start" => Ok(Self::Start),
            "end" => Ok(Self::End),
            _ => last().or_else(since).ok_or(NoStart),
        }
    }
}

impl TryFrom<String> for StartFrom {
    type Error = NoStart;

    fn try_from(text: String) -> Result<Self, NoStart> {
        text.parse()
    }
}

/// What is wanted of the log; also the query of `GET /events`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Wanted {
    /// Where to begin.
    #[serde(default)]
    pub from: StartFrom,
    /// Only events of this instance; of what cannot be decoded, records with this key.
    #[serde(default)]
    pub instance: Option<String>,
    /// End after so many lines.
    #[serde(default)]
    pub limit: Option<u64>,
    /// At the end of the log, wait for more.
    #[serde(default)]
    pub follow: bool,
}

/// A tail that is being read.
pub struct Tail {
    bus: Bus,
    wanted: Wanted,
    /// Lines that were found backwards.
    found: Option<Vec<String>>,
    subscriber: Box<dyn Subscriber>,
    next: Next,
    read_bytes: usize,
    /// Where the log ended when the tail began.
    end: Next,
    /// Partitions in which an event of the wanted time was seen.
    reached: BTreeSet<u32>,
    left: u64,
}

/// One record, as it is shown.
struct Line {
    text: String,
    time: Option<Timestamp>,
    instance: String,
}

impl Tail {
    /// Looks for the place to begin.
    pub async fn open(bus: &Bus, wanted: Wanted) -> Result<Self, Error> {
        let bounds = bus.bounds(Stream::Changes).await?;
        let mut found = None;
        let next = match wanted.from {
            StartFrom::Start => bounds.start.clone(),
            StartFrom::End => bounds.end.clone(),
            StartFrom::Last(n) => {
                let n = n.min(LAST_LIMIT);
                found = Some(last(bus, &bounds, n, wanted.instance.as_deref()).await?);
                bounds.end.clone()
            }
            StartFrom::Since(time) => before(bus, &bounds, time).await?,
        };
        let subscriber = subscribe(bus, &next).await?;
        Ok(Self {
            bus: bus.clone(),
            found,
            subscriber,
            next,
            read_bytes: 0,
            end: bounds.end,
            reached: BTreeSet::new(),
            left: wanted.limit.unwrap_or(u64::MAX),
            wanted,
        })
    }

    /// The next lines, at least one; none at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<String>>, Error> {
        loop {
            let mut lines = if let Some(found) = self.found.take() {
                found
            } else if self.left == 0 || (!self.wanted.follow && self.next.lag(&self.end) == 0) {
                return Ok(None);
            } else {
                self.read().await?
            };
            lines.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= lines.len() as u64;
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
        }
    }

    /// One batch; what is not wanted is left out.
    async fn read(&mut self) -> Result<Vec<String>, Error> {
        if self.read_bytes >= RENEW_BYTES {
            self.subscriber = subscribe(&self.bus, &self.next).await?;
            self.read_bytes = 0;
        }
        let reads = if self.wanted.follow {
            self.subscriber.next(BATCH_RECORDS).await?
        } else {
            soon(&mut *self.subscriber).await?
        };
        let mut lines = Vec::new();
        for read in reads {
            self.next.advance(read.position);
            self.read_bytes += read.record.size_bytes();
            let is_later = !self.end.is_past(read.position);
            if is_later && !self.wanted.follow {
                continue;
            }
            let line = Line::of(&read);
            if self.is_wanted(read.position, &line) {
                lines.push(line.text);
            }
        }
        Ok(lines)
    }

    fn is_wanted(&mut self, position: Position, line: &Line) -> bool {
        if let StartFrom::Since(since) = self.wanted.from {
            let reached = match line.time {
                Some(time) => time >= since,
                // Without a time of its own it is as old as what it stands behind.
                None => self.reached.contains(&position.partition),
            };
            if !reached {
                return false;
            }
            self.reached.insert(position.partition);
        }
        let wanted = self.wanted.instance.as_deref();
        wanted.is_none_or(|instance| instance == line.instance)
    }
}

impl Line {
    fn of(read: &Read) -> Self {
        let value = &read.record.value;
        match Envelope::decode(value) {
            Ok(envelope) => Self {
                // White space of a foreign writer may hold line ends; its texts cannot.
                text: String::from_utf8_lossy(value).replace(['\n', '\r'], " "),
                time: Some(envelope.time),
                instance: envelope.source.instance,
            },
            Err(error) => {
                let key = String::from_utf8_lossy(&read.record.key).into_owned();
                let undecodable = json!({
                    "error": error.to_string(),
                    "partition": read.position.partition,
                    "offset": read.position.offset,
                    "key": key,
                    "value_base64": base64::engine::general_purpose::STANDARD.encode(value),
                });
                Self {
                    text: json!({"undecodable": undecodable}).to_string(),
                    time: None,
                    instance: key,
                }
            }
        }
    }
}

/// A reader at `next`, or at the start where the log does not reach there any more.
async fn subscribe(bus: &Bus, next: &Next) -> Result<Box<dyn Subscriber>, Error> {
    let from = StartAt::At(next.clone());
    match bus.subscribe(Stream::Changes, from).await {
        Err(Error::OutOfRange { .. }) => bus.subscribe(Stream::Changes, StartAt::Start).await,
        other => other,
    }
}

/// What the log holds already.
pub(crate) async fn soon(subscriber: &mut dyn Subscriber) -> Result<Vec<Read>, Error> {
    let read = tokio::time::timeout(PATIENCE, subscriber.next(BATCH_RECORDS));
    read.await.unwrap_or_else(|_| {
        let what = format!(
            "what the log holds did not come in {} s",
            PATIENCE.as_secs()
        );
        Err(Error::Unavailable { what })
    })
}

/// The `n` newest lines before the end, oldest first.
async fn last(
    bus: &Bus,
    bounds: &Bounds,
    n: usize,
    instance: Option<&str>,
) -> Result<Vec<String>, Error> {
    let mut step = FIRST_STEP.max(n as u64);
    loop {
        let from = back(bounds, step);
        let lines = newest(bus, &from, &bounds.end, n, instance).await?;
        if lines.len() >= n || from == bounds.start {
            return Ok(lines);
        }
        step = step.saturating_mul(STEP_GROWS);
    }
}

/// The `n` newest lines between `from` and `end`. Those of several partitions by their time.
async fn newest(
    bus: &Bus,
    from: &Next,
    end: &Next,
    n: usize,
    instance: Option<&str>,
) -> Result<Vec<String>, Error> {
    let mut next = from.clone();
    // By partition, so that none crowds out another before their times are compared.
    let n_partitions = end.iter().count();
    let mut kept: Vec<(u32, VecDeque<Line>)> = Vec::new();
    let mut kept_bytes = 0;
    if next.lag(end) == 0 || n == 0 {
        return Ok(Vec::new());
    }
    let mut subscriber = subscribe(bus, from).await?;
    while next.lag(end) > 0 {
        for read in soon(&mut *subscriber).await? {
            next.advance(read.position);
            let line = Line::of(&read);
            if !end.is_past(read.position) || instance.is_some_and(|id| id != line.instance) {
                continue;
            }
            let partition = read.position.partition;
            let at = kept.iter().position(|(known, _)| *known == partition);
            let at = at.unwrap_or_else(|| {
                kept.push((partition, VecDeque::new()));
                kept.len() - 1
            });
            let lines = &mut kept[at].1;
            kept_bytes += line.text.len();
            lines.push_back(line);
            while lines.len() > n || (kept_bytes > LAST_LIMIT_BYTES && lines.len() > 1) {
                kept_bytes -= lines.pop_front().map_or(0, |line| line.text.len());
            }
        }
    }
    let mut lines: Vec<Line> = kept
        .into_iter()
        .flat_map(|(_, lines)| dated(lines))
        .collect();
    if n_partitions > 1 {
        lines.sort_by_key(|line| line.time);
    }
    let older = lines.len().saturating_sub(n);
    Ok(lines.drain(older..).map(|line| line.text).collect())
}

/// Gives what has no time the time of what it stands behind, so that it stays there.
fn dated(mut lines: VecDeque<Line>) -> VecDeque<Line> {
    let mut before = None;
    for line in &mut lines {
        before = line.time.or(before);
        line.time = before;
    }
    lines
}

/// `step` records before the end of each partition, or where it starts.
fn back(bounds: &Bounds, step: u64) -> Next {
    let partitions = bounds.end.iter();
    partitions
        .map(|(partition, end)| {
            let start = bounds.start.get(partition).unwrap_or(0);
            (partition, end.saturating_sub(step).max(start))
        })
        .collect()
}

/// Before everything that was observed at `time` or later.
pub(crate) async fn before(bus: &Bus, bounds: &Bounds, time: Timestamp) -> Result<Next, Error> {
    let surely_before = time.checked_sub(DISORDER).unwrap_or(Timestamp::MIN);
    let mut next = bounds.start.clone();
    for (partition, end) in bounds.end.iter() {
        let start = bounds.start.get(partition).unwrap_or(0);
        let mut step = FIRST_STEP;
        while end.saturating_sub(step) > start {
            let offset = end - step;
            let position = Position { partition, offset };
            let read = bus.read_at(Stream::Changes, position).await?;
            let observed_at = read.and_then(|read| Line::of(&read).time);
            if observed_at.is_some_and(|observed_at| observed_at < surely_before) {
                next.set(partition, offset);
                break;
            }
            step = step.saturating_mul(STEP_GROWS);
        }
    }
    Ok(next)
}
