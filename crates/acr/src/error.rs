//! What a failure means for the caller. Sorted by what the caller does next.

use std::time::Duration;

use crate::signature::Mismatch;

/// Characters kept of a text that the server sent.
const TEXT_LIMIT: usize = 400;

/// Why a page could not be read. Texts hold the vendor's code, message and RequestId, never a secret and
/// never an answer's body.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// RAM refuses it. A configuration fault: probe slowly, tell the operator.
    #[error("denied: {code}: {message}: the RAM policy needs {statement} (request {request_id})")]
    Denied {
        /// What is missing: `cr:GetRepositorySync on acs:cr:cn-shanghai:*:repository/cri-1`.
        statement: String,
        /// `NoPrivilege`, `Forbidden.RAM`, …
        code: String,
        /// The vendor's text.
        message: String,
        /// What the vendor's support asks for; `-` if there is none.
        request_id: String,
    },
    /// Too fast. Send nothing for `after`; without it, back off.
    #[error("throttled: {code}: {message} (request {request_id})")]
    Throttled {
        /// The delay that the server asked for.
        after: Option<Duration>,
        /// `Throttling.User`, …
        code: String,
        /// The vendor's text.
        message: String,
        /// See [`Error::Denied`].
        request_id: String,
    },
    /// The server or the way to it is down: back off and try again.
    #[error("unavailable: {what}")]
    Unavailable {
        /// What happened.
        what: String,
    },
    /// The answer is not what this operation answers: back off and try again.
    #[error("malformed answer: {what}")]
    Malformed {
        /// Status, content type, and what is wrong with it.
        what: String,
    },
    /// The server refuses this request or this key: a configuration fault. Also HTTP 200 with
    /// `IsSuccess: false`.
    #[error("rejected: {code}: {message} (request {request_id})")]
    Rejected {
        /// `INSTANCE_NOT_EXIST`, `InvalidAccessKeyId.NotFound`, …
        code: String,
        /// The vendor's text.
        message: String,
        /// See [`Error::Denied`].
        request_id: String,
    },
    /// Our clock and the server's differ by more than 15 minutes: a fault of this machine.
    #[error("wrong clock: {code}: this machine is {} the server (request {request_id})", skew(*.skew_seconds))]
    Clock {
        /// Ours less theirs, if the answer had a Date.
        skew_seconds: Option<i64>,
        /// `InvalidTimeStamp.Expired`
        code: String,
        /// See [`Error::Denied`].
        request_id: String,
    },
    /// The server's signature of the request is not ours: a configuration fault, of the secret, the clock
    /// or the way to the server.
    #[error("wrong signature: {code}: {why} (request {request_id})")]
    Signature {
        /// `SignatureDoesNotMatch`, `IncompleteSignature`
        code: String,
        /// Which of them.
        why: Mismatch,
        /// See [`Error::Denied`].
        request_id: String,
    },
    /// There are no credentials: a configuration fault.
    #[error("no credentials: {what}")]
    Credentials {
        /// What each step said.
        what: String,
    },
    /// No client can be built from these options.
    #[error("could not set up the client: {what}")]
    Setup {
        /// What the HTTP library said.
        what: String,
    },
}

/// What the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Try again with backoff.
    Backoff,
    /// Try again after this delay, and not before.
    After(Duration),
    /// Nothing changes by itself: probe slowly and tell the operator.
    Slowly,
}

impl Error {
    /// Fit for a log: the server's words without our secrets, each on one line and short.
    pub(crate) fn cleaned(mut self, secrets: &[&str]) -> Self {
        let texts: Vec<&mut String> = match &mut self {
            Self::Denied {
                statement,
                code,
                message,
                request_id,
            } => vec![statement, code, message, request_id],
            Self::Throttled {
                code,
                message,
                request_id,
                ..
            }
            | Self::Rejected {
                code,
                message,
                request_id,
            } => vec![code, message, request_id],
            Self::Signature {
                code,
                why: Mismatch::Changed { part },
                request_id,
            } => vec![code, part, request_id],
            Self::Clock {
                code, request_id, ..
            }
            | Self::Signature {
                code, request_id, ..
            } => vec![code, request_id],
            Self::Unavailable { what }
            | Self::Malformed { what }
            | Self::Credentials { what }
            | Self::Setup { what } => vec![what],
        };
        for text in texts {
            *text = clean(text, secrets);
        }
        self
    }

    /// The vendor's code, if it gave one.
    pub fn code(&self) -> &str {
        match self {
            Self::Denied { code, .. }
            | Self::Throttled { code, .. }
            | Self::Rejected { code, .. }
            | Self::Clock { code, .. }
            | Self::Signature { code, .. } => code,
            Self::Unavailable { .. }
            | Self::Malformed { .. }
            | Self::Credentials { .. }
            | Self::Setup { .. } => "",
        }
    }

    /// All classes: the closed set of a metric label.
    pub const CLASSES: [&'static str; 8] = [
        "denied",
        "throttled",
        "unavailable",
        "malformed",
        "rejected",
        "clock",
        "signature",
        "credentials",
    ];

    /// Its class.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "denied",
            Self::Throttled { .. } => "throttled",
            Self::Unavailable { .. } => "unavailable",
            Self::Malformed { .. } => "malformed",
            Self::Rejected { .. } | Self::Setup { .. } => "rejected",
            Self::Clock { .. } => "clock",
            Self::Signature { .. } => "signature",
            Self::Credentials { .. } => "credentials",
        }
    }

    /// What the caller does next.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Throttled {
                after: Some(after), ..
            } => Retry::After(*after),
            Self::Throttled { .. } | Self::Unavailable { .. } | Self::Malformed { .. } => {
                Retry::Backoff
            }
            Self::Denied { .. }
            | Self::Rejected { .. }
            | Self::Clock { .. }
            | Self::Signature { .. }
            | Self::Credentials { .. }
            | Self::Setup { .. } => Retry::Slowly,
        }
    }
}

/// `text` on one line, short, without `secrets`.
pub(crate) fn clean(text: &str, secrets: &[&str]) -> String {
    let line = hidden(text, secrets);
    let line = line.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(TEXT_LIMIT).collect()
}

/// `text` with `[secret]` for each of `secrets`: as it is, and however often it was encoded for a query
/// or form.
pub(crate) fn hidden(text: &str, secrets: &[&str]) -> String {
    let secrets = secrets.iter().filter(|secret| !secret.is_empty());
    let mut shown = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let quoted = |secret: &&str| quoted(rest.as_bytes(), secret.as_bytes());
        let length = secrets.clone().find_map(quoted);
        if let Some(behind) = length.and_then(|length| rest.get(length..)) {
            shown.push_str("[secret]");
            rest = behind;
        } else {
            shown.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    shown
}

/// The length of `secret` as `text` quotes it at its beginning, if it does.
fn quoted(text: &[u8], secret: &[u8]) -> Option<usize> {
    let mut at = 0;
    for byte in secret {
        at += quoted_byte(text.get(at..)?, *byte)?;
    }
    Some(at)
}

/// The same for one byte: `/` is also `%2F`, `%2f`, `%252F` and so on, and a blank also what `+` is.
fn quoted_byte(text: &[u8], byte: u8) -> Option<usize> {
    let is_it = |known: u8| known == byte || (byte == b' ' && known == b'+');
    if text.first() == Some(&b'%') {
        let pairs = text[1..].chunks_exact(2).enumerate();
        for (n, pair) in pairs {
            let Ok([code]) = <[u8; 1]>::try_from(hex::decode(pair).unwrap_or_default()) else {
                break;
            };
            if is_it(code) {
                return Some(1 + 2 * (n + 1));
            }
            // The sign itself was encoded.
            if code != b'%' {
                break;
            }
        }
    }
    text.first().is_some_and(|first| is_it(*first)).then_some(1)
}

pub(crate) fn skew(seconds: Option<i64>) -> String {
    match seconds {
        Some(seconds) if seconds >= 0 => format!("{seconds} s ahead of"),
        Some(seconds) => format!("{} s behind", -seconds),
        None => "too far from".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use url::form_urlencoded;

    use super::*;
    use crate::sign::encode;

    #[test]
    fn a_secret_that_a_text_quotes_is_not_in_it() {
        let secret = "a+b/ *~LEAK=é";
        let form =
            |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        for quoted in [
            secret.to_owned(),
            encode(secret),
            encode(secret).to_lowercase().replace("leak", "LEAK"),
            encode(&encode(&encode(secret))),
            form(secret),
            form(&form(secret)),
            encode(&form(secret)),
        ] {
            let text = clean(&format!("é is:{quoted}&x\r\n{quoted}"), &["", "b", secret]);
            assert_eq!(text, "é is:[secret]&x  [secret]", "{quoted}");
        }
    }

    #[test]
    fn what_is_not_the_secret_stays() {
        for text in [
            "", "%", "%2", "%zz", "100 %2F", "se%63re", "%2525", "sécret",
        ] {
            assert_eq!(clean(text, &["secret", "/x"]), text);
        }
    }

    #[test]
    fn a_text_is_short() {
        assert_eq!(clean(&"é".repeat(9999), &[]).chars().count(), TEXT_LIMIT);
    }
}
