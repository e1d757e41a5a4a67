//! What goes wrong with a mail, and what it means. Pure.
//!
//! SMTP's 4xx and 5xx are the reverse of HTTP's: 4xx is "try again", 5xx is "never". What is refused for
//! good depends on where: the sender and the recipient are the target's fault, the content is the
//! message's.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lettre::transport::smtp;

use crate::outcome::Outcome;
use crate::render::text;

const NOTE_LIMIT_CHARS: usize = 200;

/// Many servers that greylist take nobody who comes sooner.
const GREYLISTED: Duration = Duration::from_mins(5);

/// How far a conversation came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Connect,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// The text is on its way or sent: from here on the server may have taken it.
    Content,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL FROM",
            Self::Rcpt => "RCPT TO",
            Self::Data => "DATA",
            Self::Content => "end of DATA",
        }
    }
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server said no.
    Reply { code: u16, text: String },
    /// The connection failed, or what came over it makes no sense.
    Lost(String),
    /// The server's certificate is not to be trusted.
    Certificate(String),
    /// The server lacks what we cannot do without.
    Lacking(String),
}

impl Trouble {
    /// What the server answered with, if it answered.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Reply { code, .. } => Some(*code),
            Self::Lost(_) | Self::Certificate(_) | Self::Lacking(_) => None,
        }
    }

    /// Whether a connection that had been kept may simply have been too old.
    pub(super) fn is_loss(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Reply { code: 421, .. })
    }

    /// Whether the server has had enough of this connection's recipients: another one may do.
    pub(super) fn is_too_many(&self) -> bool {
        match self {
            Self::Reply { code: 452, text } => {
                enhanced(text) == Some((4, 5, 3)) || text.to_lowercase().contains("too many")
            }
            _ => false,
        }
    }

    /// Whether the conversation can go on with another mail.
    pub(super) fn leaves_connection(&self) -> bool {
        matches!(self, Self::Reply { code, .. } if *code != 421)
    }
}

impl From<Arc<io::Error>> for Trouble {
    fn from(error: Arc<io::Error>) -> Self {
        let what = text::line(&error.to_string(), NOTE_LIMIT_CHARS);
        Self::Lost(format!("connection error: {what}"))
    }
}

impl From<smtp::Error> for Trouble {
    fn from(error: smtp::Error) -> Self {
        let source = || error.source().map(ToString::to_string).unwrap_or_default();
        if let Some(code) = error.status() {
            return Self::Reply {
                code: code.into(),
                text: text::line(&source(), NOTE_LIMIT_CHARS),
            };
        }
        if let Some(what) = certificate_fault(&error) {
            return Self::Certificate(what);
        }
        if error.is_client() {
            return Self::Lacking(text::line(&source(), NOTE_LIMIT_CHARS));
        }
        Self::Lost(text::chain(&error, NOTE_LIMIT_CHARS))
    }
}

/// What TLS found wrong with the certificate, if that is what happened.
fn certificate_fault(error: &smtp::Error) -> Option<String> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        // An io::Error gives out its inner error here, not as its source.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let inner = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let fault = inner.or_else(|| error.downcast_ref::<rustls::Error>());
        if let Some(fault @ rustls::Error::InvalidCertificate(_)) = fault {
            return Some(text::line(&fault.to_string(), NOTE_LIMIT_CHARS));
        }
        cause = error.source();
    }
    None
}

/// The outcome of a mail that ended in `trouble` at `stage`.
pub(super) fn classify(stage: Stage, trouble: &Trouble) -> Outcome {
    let at = stage.name();
    match trouble {
        Trouble::Certificate(what) | Trouble::Lacking(what) => Outcome::PermanentTarget {
            note: format!("SMTP {at}: {what}"),
        },
        Trouble::Lost(what) => Outcome::Transient {
            note: format!("SMTP {at}: {what}"),
            maybe_delivered: stage == Stage::Content,
        },
        Trouble::Reply { code, text } => {
            let note = format!("SMTP {at}: {code} {text}");
            if is_greylisted(stage, *code, text) {
                let after = GREYLISTED;
                return Outcome::RetryAfter { after, note };
            }
            refused(stage, *code, enhanced(text), note)
        }
    }
}

/// The outcome where time ran out at `stage`.
pub(super) fn timed_out(stage: Stage, timeout: Duration) -> Outcome {
    Outcome::Transient {
        note: format!("SMTP {}: not done within {timeout:?}", stage.name()),
        maybe_delivered: stage == Stage::Content,
    }
}

/// Whether the server wants to see that we come again, in some minutes. A lane has one recipient, so nobody else
/// waits for that.
fn is_greylisted(stage: Stage, code: u16, text: &str) -> bool {
    let words = text.to_lowercase();
    let said = ["greylist", "graylist", "grey-list", "gray-list"];
    (400..=499).contains(&code)
        && stage >= Stage::Mail
        && (enhanced(text) == Some((4, 7, 1)) || said.iter().any(|word| words.contains(word)))
}

/// The enhanced code, where there is one, says more than the code before it.
fn refused(stage: Stage, code: u16, enhanced: Option<(u8, u16, u16)>, note: String) -> Outcome {
    let permanent = match enhanced {
        Some((class @ (4 | 5), ..)) => class == 5,
        _ => (500..=599).contains(&code),
    };
    // No such mailbox, or none that takes anything: some servers say so only after the text.
    let no_mailbox = matches!(enhanced, Some((5, 1, _) | (5, 2, 1 | 2)));
    let too_large = enhanced == Some((5, 3, 4))
        || (code == 552 && !(stage == Stage::Rcpt && enhanced == Some((5, 2, 2))));
    match stage {
        _ if !permanent => Outcome::Transient {
            note,
            maybe_delivered: false,
        },
        // A server that greets with 5xx is mostly one in trouble, and trying again costs nothing.
        Stage::Connect => Outcome::Transient {
            note,
            maybe_delivered: false,
        },
        Stage::StartTls | Stage::Auth => Outcome::PermanentTarget { note },
        Stage::Mail | Stage::Rcpt if !too_large => Outcome::PermanentTarget { note },
        Stage::Data | Stage::Content if no_mailbox => Outcome::PermanentTarget { note },
        Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Content => {
            Outcome::PermanentMessage { note }
        }
    }
}

/// The enhanced status code (RFC 3463) that a reply's text begins with.
fn enhanced(text: &str) -> Option<(u8, u16, u16)> {
    let mut parts = text.split_whitespace().next()?.split('.');
    let code = (
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
    );
    parts.next().is_none().then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reply_has_its_outcome_by_where_it_came() {
        use Stage::{Auth, Connect, Content, Data, Mail, Rcpt, StartTls};
        let cases = [
            (Connect, 421, "busy", "transient"),
            (Connect, 554, "no service here", "transient"),
            (StartTls, 454, "TLS not available", "transient"),
            (StartTls, 502, "not implemented", "permanent_target"),
            (Auth, 535, "5.7.8 bad credentials", "permanent_target"),
            (Auth, 534, "5.7.9 mechanism too weak", "permanent_target"),
            (Auth, 538, "5.7.11 encryption required", "permanent_target"),
            (Auth, 454, "4.7.0 try later", "transient"),
            (Mail, 451, "4.3.0 later", "transient"),
            (Mail, 550, "5.7.1 sender refused", "permanent_target"),
            (Mail, 552, "too large", "permanent_message"),
            (Mail, 554, "5.3.4 too large", "permanent_message"),
            (Mail, 451, "4.7.1 come again", "retry_after"),
            (Rcpt, 450, "4.7.1 greylisted", "retry_after"),
            (Rcpt, 451, "Greylisted, see example.com", "retry_after"),
            (Rcpt, 450, "4.2.2 mailbox full", "transient"),
            (Rcpt, 451, "4.3.0 later", "transient"),
            (Rcpt, 550, "4.2.1 not now", "transient"),
            (Rcpt, 450, "5.1.1 no such user", "permanent_target"),
            (Rcpt, 452, "4.5.3 too many", "transient"),
            (Rcpt, 550, "5.1.1 no such user", "permanent_target"),
            (Rcpt, 551, "not local", "permanent_target"),
            (Rcpt, 552, "5.2.2 mailbox full", "permanent_target"),
            (Rcpt, 552, "5.3.4 too large", "permanent_message"),
            (Rcpt, 553, "bad name", "permanent_target"),
            (Rcpt, 554, "5.7.1 refused", "permanent_target"),
            (Data, 451, "later", "transient"),
            (Data, 554, "no valid recipients", "permanent_message"),
            (Content, 451, "4.3.0 later", "transient"),
            (Content, 451, "4.7.1 greylisted", "retry_after"),
            (Content, 421, "closing", "transient"),
            (Content, 550, "5.1.1 no such user", "permanent_target"),
            (Content, 552, "5.2.2 mailbox full", "permanent_target"),
            (Content, 550, "5.7.1 looks like spam", "permanent_message"),
            (Content, 552, "too large", "permanent_message"),
            (Content, 554, "5.6.0 refused", "permanent_message"),
        ];
        for (stage, code, text, expected) in cases {
            let trouble = Trouble::Reply {
                code,
                text: text.into(),
            };
            let outcome = classify(stage, &trouble);
            assert_eq!(outcome.name(), expected, "{stage:?} {code} {text}");
            assert!(outcome.note().contains(text));
            let unsure = Outcome::Transient {
                note: String::new(),
                maybe_delivered: true,
            };
            let said_so = matches!(
                outcome,
                Outcome::Transient {
                    maybe_delivered: true,
                    ..
                }
            );
            assert!(!said_so, "an answer was had, so {unsure:?} is wrong");
        }
    }

    #[test]
    fn only_a_loss_after_the_text_was_sent_leaves_a_doubt() {
        let lost = Trouble::Lost("gone".into());
        for stage in [
            Stage::Connect,
            Stage::Auth,
            Stage::Rcpt,
            Stage::Data,
            Stage::Content,
        ] {
            let doubt = stage == Stage::Content;
            for outcome in [
                classify(stage, &lost),
                timed_out(stage, std::time::Duration::from_secs(1)),
            ] {
                let Outcome::Transient {
                    maybe_delivered, ..
                } = outcome
                else {
                    panic!("{outcome:?}")
                };
                assert_eq!(maybe_delivered, doubt);
            }
        }
    }

    #[test]
    fn a_server_without_what_we_need_stops_the_lane() {
        for trouble in [
            Trouble::Certificate("expired".into()),
            Trouble::Lacking("STARTTLS".into()),
        ] {
            assert_eq!(
                classify(Stage::StartTls, &trouble).name(),
                "permanent_target"
            );
        }
    }
}
