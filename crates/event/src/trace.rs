//! W3C Trace Context: joins a poll, the events it found and the deliveries they caused, for whoever
//! collects traces and for whoever greps logs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `00-{trace id}-{parent id}-01` (W3C Trace Context level 1, section 3.2; in an event the CloudEvents
/// extension attribute `traceparent`). Neither id is all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceParent {
    trace: u128,
    span: u64,
}

/// The text is not a traceparent of version 00. Go on without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent of version 00")]
pub struct NotATraceParent;

impl TraceParent {
    /// A new trace of chance: 16 bytes of it, and 8 for its first span.
    pub fn new(trace: u128, span: u64) -> Self {
        Self {
            trace: trace.max(1),
            span: span.max(1),
        }
    }

    /// The next step of the same trace.
    #[must_use]
    pub fn child(self, span: u64) -> Self {
        Self::new(self.trace, span)
    }

    /// The trace's id, 32 hex: what log lines carry.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-01", self.trace, self.span)
    }
}

impl FromStr for TraceParent {
    type Err = NotATraceParent;

    fn from_str(text: &str) -> Result<Self, NotATraceParent> {
        let hex = |text: &str, digits: usize| {
            let lower = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
            let fits = text.len() == digits && text.chars().all(lower);
            fits.then(|| u128::from_str_radix(text, 16).ok()).flatten()
        };
        let parts: Vec<&str> = text.splitn(5, '-').collect();
        let ["00", trace, span, flags] = parts[..] else {
            return Err(NotATraceParent);
        };
        let trace = hex(trace, 32).filter(|trace| *trace != 0);
        let span = hex(span, 16).and_then(|span| u64::try_from(span).ok());
        let span = span.filter(|span| *span != 0);
        match (trace, span, hex(flags, 2)) {
            (Some(trace), Some(span), Some(_)) => Ok(Self { trace, span }),
            _ => Err(NotATraceParent),
        }
    }
}

impl TryFrom<String> for TraceParent {
    type Error = NotATraceParent;

    fn try_from(text: String) -> Result<Self, NotATraceParent> {
        text.parse()
    }
}

impl From<TraceParent> for String {
    fn from(trace: TraceParent) -> Self {
        trace.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_recommendation_is_read_and_written() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace: TraceParent = text.parse().unwrap();
        assert_eq!(trace.to_string(), text);
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let child = trace.child(0x0102_0304_0506_0708).to_string();
        assert_eq!(
            child,
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0102030405060708-01"
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(NotATraceParent), "{text}");
        }
        assert!(
            TraceParent::new(0, 0)
                .to_string()
                .parse::<TraceParent>()
                .is_ok()
        );
    }
}
