//! What was asked, kept beside the answer: it says what a refusal means.

use std::fmt;

use jiff::Timestamp;

use crate::operation::Operation;
use crate::sign::Canonical;

/// One request, as it was sent.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) operation: Operation,
    pub(crate) region: String,
    /// Empty for an operation that names none.
    pub(crate) instance_id: String,
    /// What was signed; a security token may be in it.
    pub(crate) canonical: Canonical,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("operation", &self.operation.name)
            .finish_non_exhaustive()
    }
}

/// How far our clock is from the server's, in seconds: ours less theirs.
pub(crate) fn skew_seconds(date: Option<Timestamp>, now: Timestamp) -> Option<i64> {
    date.map(|date| now.duration_since(date).as_secs())
}
