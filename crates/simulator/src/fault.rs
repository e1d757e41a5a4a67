//! What the service can be told to do wrong, and for how long.
//!
//! In: a [`Fault`] and its [`Extent`]. Out: the faults that one call meets. Must never happen: a
//! fault that outlives its extent.

mod active;

use serde::{Deserialize, Serialize};

pub(crate) use self::active::{Caller, Faults};
pub use self::active::{Extent, Target};

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
}

impl Fault {
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
            | Self::Closed => Kind::Instead,
            Self::Truncated { .. } => Kind::Body,
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
    Extra,
    Nulls,
    Unknown,
    Delay,
    Clock,
    Page,
}

#[cfg(test)]
mod tests;
