//! What the service can be told to do wrong, and for how long.
//!
//! In: a [`Fault`] and its [`Extent`]. Out: the faults that one call meets. Must never happen: a
//! fault that outlives its extent.

mod active;
mod known;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use self::active::{Caller, Faults};
pub use self::active::{Extent, Target};
pub(crate) use self::known::known_error;
pub use self::known::{KnownError, known_errors};
use crate::tasks::Order;

/// One way in which the service misbehaves. In JSON: `"no_privilege"`, `{"slow": {"delay_ms": 500}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// HTTP 400 `Throttling.User`, with `x-acs-retry-after` in milliseconds if given.
    Throttled {
        /// How long to wait.
        retry_after_ms: Option<u64>,
    },
    /// HTTP 429 with the standard `Retry-After` in seconds.
    TooManyRequests {
        /// How long to wait.
        retry_after_s: u64,
    },
    /// HTTP 403 `NoPrivilege` with `AccessDeniedDetail`.
    NoPrivilege,
    /// HTTP 500 `SystemError`.
    SystemError,
    /// HTTP 503 `ServiceUnavailable`.
    Unavailable,
    /// HTTP 502 with an HTML page.
    BadGateway,
    /// A right answer of which only the first half comes.
    Truncated {
        /// `true`: the content-length is that of the half. `false`: it is that of the whole, and
        /// the connection breaks off.
        honest: bool,
    },
    /// HTTP 403 `NoPrivilege` with its keys in lower camel case.
    LowerCamelError,
    /// HTTP 503 `ServiceUnavailable` in XML.
    XmlError,
    /// HTTP 200 with `IsSuccess: false`.
    NotSuccessful {
        /// The `Code` of it.
        code: String,
    },
    /// Page 1 has one row more, without a `SyncTaskId`.
    TaskWithoutId,
    /// What is not set is null instead of absent.
    NullFields,
    /// Fields, triggers and (of open tasks) statuses that nobody knows.
    UnknownValues,
    /// The answer takes this long.
    Slow {
        /// How long.
        delay_ms: u64,
    },
    /// The connection is closed without an answer.
    Closed,
    /// The server's clock is wrong: what it signs off, its Date header and the times of tasks.
    ClockSkew {
        /// Positive: the server is ahead.
        minutes: i64,
    },
    /// Every page is page 1.
    PageNoIgnored {
        /// `true`: the answer claims to be the page that was asked for. `false`: it says 1.
        echo_asked: bool,
    },
    /// Any error, in any shape. [`Fault::known`] has those of the vendor's tables.
    Error(ErrorFault),
    /// Too fast, with whatever hints how long to wait.
    Throttling(Throttling),
    /// Before each list answer tasks come at the head and healthy ones go from anywhere.
    Drift {
        /// The same seed, tasks and number of answers give the same changes.
        seed: u64,
        /// How many tasks come per thousand answers; more than 1000 for several at a time.
        inserts_per_mille: u32,
        /// How many go per thousand answers.
        removals_per_mille: u32,
    },
    /// A page has at most this many rows.
    PagesCapped {
        /// How many.
        rows: usize,
        /// `true`: the answer's PageSize is this cap. `false`: it is what was asked for.
        honest: bool,
    },
    /// The last row of each page is the first row of the next page too.
    RowsTwice,
    /// TotalCount in another form than the simulator's own.
    TotalCount(TotalCount),
    /// Lists in another order.
    Order(Order),
    /// The body comes in parts.
    Drip {
        /// Bytes a part.
        bytes: usize,
        /// The time before each part.
        every_ms: u64,
    },
    /// The connection is reset (RST) while the answer is on its way.
    Reset(ResetIn),
    /// No answer, until the client gives up.
    Silent,
    /// A right answer, after this many blanks. It never counts as served: a client must refuse what is
    /// larger than it takes.
    Huge {
        /// How many bytes of blanks; [`Fault::HUGE_BYTES`] is more than the design's limit of 8 MiB.
        bytes: usize,
    },
}

/// An error of one's own making.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorFault {
    /// The HTTP status; absent: the one that is known for the code, else 400.
    #[serde(default)]
    pub status: Option<u16>,
    /// `Code`.
    pub code: String,
    /// How it is written.
    #[serde(default)]
    pub shape: ErrorShape,
    /// `Message`; absent: the vendor's for that code. For `SignatureDoesNotMatch` that holds the server's
    /// true string to sign.
    #[serde(default)]
    pub message: Option<String>,
    /// Further headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// How an error is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorShape {
    /// The gateway's: `Code`, `Message`, `RequestId`, `HostId`, `Recommend`.
    #[default]
    Json,
    /// `code`, `message`, `requestId`.
    LowerCamel,
    /// An `<Error>` in `text/xml`.
    Xml,
    /// A page of a proxy, without the code.
    Html,
    /// The first half of the gateway's.
    CutOff,
}

/// `Throttling.User`, or another one, with whatever hints how long to wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Throttling {
    /// The HTTP status.
    pub status: u16,
    /// `Code`.
    pub code: String,
    /// `x-acs-retry-after` as it is to be written: milliseconds, if it is a positive number.
    pub x_acs_retry_after: Option<String>,
    /// `x-ratelimit-user-api` with this `TimeLeft`, in milliseconds.
    pub ratelimit_user_api_ms: Option<u64>,
    /// `x-ratelimit-user` with this `TimeLeft`, in milliseconds.
    pub ratelimit_user_ms: Option<u64>,
    /// `Retry-After` in seconds.
    pub retry_after_s: Option<u64>,
    /// `Retry-After` as a date this many seconds after the server's clock.
    pub retry_after_date_s: Option<u64>,
}

impl Default for Throttling {
    fn default() -> Self {
        Self {
            status: 400,
            code: "Throttling.User".to_owned(),
            x_acs_retry_after: None,
            ratelimit_user_api_ms: None,
            ratelimit_user_ms: None,
            retry_after_s: None,
            retry_after_date_s: None,
        }
    }
}

/// What an answer says of how many tasks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TotalCount {
    /// A number.
    Number,
    /// A text.
    Text,
    /// Nothing.
    Missing,
    /// Null.
    Null,
    /// Too few: the newest are not counted yet.
    Lagging {
        /// How many are missing.
        rows: usize,
    },
}

/// Where a connection is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetIn {
    /// In the middle of the headers.
    Headers,
    /// In the middle of the body.
    Body,
}

impl Fault {
    /// More than a client should take: the design's limit is 8 MiB.
    pub const HUGE_BYTES: usize = 9 << 20;

    /// An error in the gateway's shape.
    pub fn error(status: u16, code: &str) -> Self {
        Self::Error(ErrorFault {
            status: Some(status),
            code: code.to_owned(),
            ..ErrorFault::default()
        })
    }

    /// An error of the vendor's tables ([`known_errors`]), by its code.
    pub fn known(code: &str) -> Option<Self> {
        let known = known_error(code)?;
        Some(Self::error(known.status, code))
    }

    /// Of each of these a call meets the oldest one only.
    fn kind(&self) -> Kind {
        match self {
            Self::Throttled { .. }
            | Self::TooManyRequests { .. }
            | Self::NoPrivilege
            | Self::SystemError
            | Self::Unavailable
            | Self::BadGateway
            | Self::LowerCamelError
            | Self::XmlError
            | Self::NotSuccessful { .. }
            | Self::Error(_)
            | Self::Throttling(_)
            | Self::Silent
            | Self::Closed => Kind::Instead,
            Self::Truncated { .. } | Self::Reset(_) => Kind::Body,
            Self::Huge { .. } => Kind::Size,
            Self::Drip { .. } => Kind::Pace,
            Self::Drift { .. } => Kind::Drift,
            Self::PagesCapped { .. } => Kind::Cap,
            Self::RowsTwice => Kind::Twice,
            Self::TotalCount(_) => Kind::Total,
            Self::Order(_) => Kind::Order,
            Self::TaskWithoutId => Kind::Extra,
            Self::NullFields => Kind::Nulls,
            Self::UnknownValues => Kind::Unknown,
            Self::Slow { .. } => Kind::Delay,
            Self::ClockSkew { .. } => Kind::Clock,
            Self::PageNoIgnored { .. } => Kind::Page,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Instead,
    Body,
    Size,
    Pace,
    Drift,
    Cap,
    Twice,
    Total,
    Order,
    Extra,
    Nulls,
    Unknown,
    Delay,
    Clock,
    Page,
}

#[cfg(test)]
mod tests;
