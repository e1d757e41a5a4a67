//! A mail that a server took.

use jiff::Timestamp;

/// As it was handed over: envelope, bytes, and how.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The envelope's sender, without `<>`.
    pub mail_from: String,
    /// The envelope's recipients, without `<>`.
    pub rcpt_to: Vec<String>,
    /// The message, lines ending in CRLF, dots unstuffed. [`crate::Smtpd`] puts its trace headers before
    /// what was sent.
    pub raw: Vec<u8>,
    /// When the last byte was there.
    pub received_at: Timestamp,
    /// Whether it came over TLS.
    pub tls: bool,
    /// The user name that was proved.
    pub authenticated_as: Option<String>,
    /// Whether the server said 250 after the final dot. If not, the sender cannot know that it was taken.
    pub acknowledged: bool,
}

impl Mail {
    /// The message as text, bytes that are not UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    /// The first header of this name (case-insensitive), unfolded, not decoded. For more, give `raw` to a
    /// parser.
    pub fn header(&self, name: &str) -> Option<String> {
        let text = self.text();
        let mut lines = text.lines().take_while(|line| !line.is_empty()).peekable();
        while let Some(line) = lines.next() {
            let Some((found, value)) = line.split_once(':') else {
                continue;
            };
            if !found.eq_ignore_ascii_case(name) {
                continue;
            }
            let mut value = value.trim().to_owned();
            while let Some(more) = lines.next_if(|line| line.starts_with([' ', '\t'])) {
                value.push(' ');
                value.push_str(more.trim());
            }
            return Some(value);
        }
        None
    }

    /// `Message-ID`, with its `<>`; empty if there is none.
    pub fn message_id(&self) -> String {
        self.header("message-id").unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_in_any_case_and_unfolded_but_not_in_the_body() {
        let mail = Mail {
            mail_from: String::new(),
            rcpt_to: Vec::new(),
            raw: b"Subject: one\r\n two\r\nMessage-Id: <1@x>\r\n\r\nX-Body: no\r\n".to_vec(),
            received_at: Timestamp::UNIX_EPOCH,
            tls: false,
            authenticated_as: None,
            acknowledged: true,
        };
        assert_eq!(mail.header("SUBJECT").as_deref(), Some("one two"));
        assert_eq!(mail.message_id(), "<1@x>");
        assert_eq!(mail.header("x-body"), None);
    }
}
