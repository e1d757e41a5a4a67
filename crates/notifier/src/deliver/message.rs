//! One mail as it goes over the wire: headers, text, HTML, and the dots of SMTP. Pure.

use jiff::Timestamp;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use syncbell_event::{AlertStatus, Severity};

use crate::delivery::{Delivery, Entry};
use crate::group;
use crate::render::{self, Mail, text};

const HEADER_LIMIT_CHARS: usize = 200;
/// Of a part of a name.
const LABEL_LIMIT_CHARS: usize = 63;

/// What makes a mail urgent to one client or another.
const URGENT: [(&str, &str); 3] = [
    ("X-Priority", "1"),
    ("Importance", "high"),
    ("Priority", "urgent"),
];

/// A mail with its envelope: one recipient.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) from: Address,
    pub(super) to: Address,
    /// The message with dots doubled and the final dot; ASCII.
    pub(super) wire: String,
}

/// Writes the letter, or says why it cannot be written.
///
/// The Message-ID is made of the delivery's id, so that a mail sent twice is one mail to those who look.
pub(super) fn letter(
    from: &Mailbox,
    to: &Address,
    delivery: &Delivery,
    mail: Mail,
    now: Timestamp,
) -> Result<Letter, String> {
    let domain = from.email.domain();
    let entries = &delivery.entries;
    let (status, severity) = (render::status(entries), render::severity(entries));
    // Roots that were never sent: the mails of an incident, or of a group, form a thread even if the first is lost.
    let (kind, key) = render::only_incident(entries).map_or_else(
        || ("group", group::digest(&delivery.group)),
        |incident| ("incident", header(incident)),
    );
    let root = format!("<{kind}-{key}@{domain}>");
    let date = now
        .try_into()
        .map_err(|_| format!("could not write the mail: {now} is no date"))?;
    let mut builder = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to.clone()))
        .subject(header(&mail.subject))
        .date(date)
        .message_id(Some(format!("<{}@{domain}>", header(&delivery.id.0))))
        .raw_header(raw("Auto-Submitted", "auto-generated"))
        .raw_header(raw("X-Auto-Response-Suppress", "All"))
        .raw_header(raw("X-Alert-Key", &key))
        .raw_header(raw("List-Id", &list_id(entries, domain)))
        .raw_header(raw("X-Alert-Status", status.as_str()))
        .raw_header(raw("X-Alert-Severity", severity.as_str()))
        .in_reply_to(root.clone())
        .references(root);
    if status == AlertStatus::Firing && severity == Severity::Critical {
        for (name, value) in URGENT {
            builder = builder.raw_header(raw(name, value));
        }
    }
    let message = builder
        .multipart(MultiPart::alternative_plain_html(mail.text, mail.html))
        .map_err(|error| format!("could not write the mail: {error}"))?;
    let formatted = String::from_utf8(message.formatted())
        .map_err(|_| "could not write the mail: its headers are not text".to_owned())?;
    Ok(Letter {
        from: from.email.clone(),
        to: to.clone(),
        wire: dotted(&formatted),
    })
}

/// What people filter by: the same for all mails of a rule.
fn list_id(entries: &[Entry], domain: &str) -> String {
    let rule = entries.first().map_or("", |entry| entry.item.rule.as_str());
    let is_one = entries.iter().all(|entry| entry.item.rule == rule);
    let name = if is_one && !rule.is_empty() {
        rule
    } else {
        "alerts"
    };
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let label: String = name.chars().map(fits).take(LABEL_LIMIT_CHARS).collect();
    format!("Syncbell <{label}.syncbell.{domain}>")
}

fn header(value: &str) -> String {
    text::line(value, HEADER_LIMIT_CHARS)
}

fn raw(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), header(value))
}

/// `message` with dots at line starts doubled and the final dot (RFC 5321, 4.5.2).
fn dotted(message: &str) -> String {
    let mut wire = String::with_capacity(message.len() + 64);
    if message.starts_with('.') {
        wire.push('.');
    }
    wire.push_str(&message.replace("\r\n.", "\r\n.."));
    if !wire.ends_with("\r\n") {
        wire.push_str("\r\n");
    }
    wire.push_str(".\r\n");
    wire
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_at_line_starts_are_doubled() {
        let cases = [
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".\r\n.b\r\nc.d\r\n", "..\r\n..b\r\nc.d\r\n.\r\n"),
            ("\r\n.\r\n.\r\n", "\r\n..\r\n..\r\n.\r\n"),
        ];
        for (message, expected) in cases {
            assert_eq!(dotted(message), expected, "{message:?}");
        }
    }
}
