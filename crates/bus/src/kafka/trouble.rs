//! librdkafka's errors in the words of the person who mends them.
//!
//! librdkafka goes on trying by itself and tells only a callback why it does not succeed. The last
//! such reason is kept here, so that "no answer in 5 s" can say why; each new kind is logged once.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::time::Instant;

/// The same kind of trouble is logged again after this.
const LOG_AGAIN: Duration = Duration::from_mins(5);

/// A reason is believed to stand for this long after it was last told.
const FRESH: Duration = Duration::from_mins(1);

/// What is wrong, by what it takes to mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Nobody listens, or the network is cut.
    Unreachable,
    /// A host name that nobody knows.
    Name,
    /// The other side speaks another protocol: TLS against plain text.
    Protocol,
    /// The broker's certificate is not one that we trust.
    Certificate,
    /// The broker wants a certificate of us, or another one.
    ClientCertificate,
    /// The broker does not take our password or token.
    Credentials,
    /// The broker knows us and does not let us.
    Permission,
    /// Anything else.
    Other,
}

/// The last reason that a client gave.
#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<Option<Trouble>>);

#[derive(Clone, Debug)]
struct Trouble {
    kind: Kind,
    text: String,
    told_at: Instant,
    logged_at: Instant,
}

impl Troubles {
    /// Keeps what `client` was told, and logs it if it is new.
    pub(super) fn note(&self, client: &str, error: &KafkaError, reason: &str) {
        self.keep(client, kind(code(error), reason), reason);
    }

    /// The same for a line of librdkafka's log: that the two sides speak different protocols comes only
    /// there.
    pub(super) fn note_line(&self, client: &str, line: &str) {
        if kind(None, line) == Kind::Protocol {
            self.keep(client, Kind::Protocol, line);
        }
    }

    fn keep(&self, client: &str, kind: Kind, reason: &str) {
        if kind == Kind::Unreachable && is_idle_close(reason) {
            tracing::debug!(client, reason, "a broker closed a connection");
            return;
        }
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stands = last.as_ref().filter(|last| now - last.told_at < FRESH);
        // "All brokers are down" follows each reason and says less than it.
        if kind == Kind::Unreachable && stands.is_some_and(|stands| stands.kind > kind) {
            return;
        }
        let text = words(kind, reason);
        let logged_at = match stands {
            Some(stands) if stands.kind == kind && now - stands.logged_at < LOG_AGAIN => {
                stands.logged_at
            }
            _ => {
                tracing::warn!(client, "Kafka: {text}");
                now
            }
        };
        *last = Some(Trouble {
            kind,
            text,
            told_at: now,
            logged_at,
        });
    }

    /// It works: what was wrong before is history.
    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// `what`, and why as far as it is known.
    pub(super) fn explain(&self, what: &str, error: Option<&KafkaError>) -> String {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = last.as_ref().filter(|last| last.told_at.elapsed() < FRESH);
        let own = error.map(|error| (code(error), error.to_string()));
        match (own, fresh) {
            // A refusal of this very request says more than what the connection told before.
            (Some((code, text)), _) if kind(code, &text) == Kind::Permission => {
                format!("{what}: {}", words(Kind::Permission, &text))
            }
            (_, Some(trouble)) => format!("{what}: {}", trouble.text),
            (Some((_, text)), None) => format!("{what}: {text}"),
            (None, None) => what.to_owned(),
        }
    }
}

/// A broker closes connections that were idle for ten minutes (`connections.max.idle.ms`), and those that
/// it had when it ends in order: the next request makes another. Told only if that does not succeed.
fn is_idle_close(reason: &str) -> bool {
    reason.contains("Disconnected") && reason.contains("in state UP")
}

fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    error.rdkafka_error_code()
}

/// By code, and where one code covers several faults by librdkafka's (and OpenSSL's) own words.
fn kind(code: Option<RDKafkaErrorCode>, reason: &str) -> Kind {
    use RDKafkaErrorCode as Code;
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    match code {
        Some(Code::Authentication | Code::SaslAuthenticationFailed) => Kind::Credentials,
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed,
        ) => Kind::Permission,
        Some(Code::Resolve) => Kind::Name,
        Some(Code::SSL) if says(&["certificate verify failed", "broker certificate could not"]) => {
            Kind::Certificate
        }
        Some(Code::SSL) if says(&["wrong version number", "connecting to a PLAINTEXT"]) => {
            Kind::Protocol
        }
        Some(Code::SSL) if says(&["alert"]) => Kind::ClientCertificate,
        // A broker that wants a certificate may end the connection only after the handshake (TLS 1.3).
        _ if says(&["certificate required", "bad certificate", "unknown ca"]) => {
            Kind::ClientCertificate
        }
        _ if says(&["to a SSL listener", "to a SASL listener"]) => Kind::Protocol,
        // A TLS port closes a connection in plain text at its first request.
        _ if says(&["Disconnected"]) && says(&["in state APIVERSION_QUERY"]) => Kind::Protocol,
        Some(
            Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::NodeUpdate
            | Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::RequestTimedOut,
        ) => Kind::Unreachable,
        _ => Kind::Other,
    }
}

fn words(kind: Kind, reason: &str) -> String {
    let reason = reason.trim();
    match kind {
        Kind::Unreachable => format!("no broker can be reached ({reason})"),
        Kind::Name => {
            format!("a broker's host name is not known; look at bus.kafka.brokers ({reason})")
        }
        Kind::Protocol => format!(
            "the broker ends the connection at once, or does not speak what we speak; look whether its port wants \
             bus.kafka.tls or bus.kafka.sasl ({reason})"
        ),
        Kind::Certificate => format!(
            "the broker's certificate is not trusted, or is for another name; \
             look at bus.kafka.tls.ca_file and bus.kafka.brokers ({reason})"
        ),
        Kind::ClientCertificate => format!(
            "the broker does not take our certificate, or wants one; \
             look at bus.kafka.tls.cert_file and key_file ({reason})"
        ),
        Kind::Credentials => format!(
            "the broker refuses our user name, password or token; look at bus.kafka.sasl ({reason})"
        ),
        Kind::Permission => {
            format!("the broker knows us and does not let us: an ACL is missing ({reason})")
        }
        Kind::Other => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(code: RDKafkaErrorCode) -> KafkaError {
        KafkaError::Global(code)
    }

    #[tokio::test]
    async fn each_fault_has_words_of_its_own() {
        use RDKafkaErrorCode as Code;
        let cases = [
            (
                Code::Authentication,
                "SASL authentication error",
                "bus.kafka.sasl",
            ),
            (
                Code::SSL,
                "error:0A000086:SSL routines::certificate verify failed",
                "ca_file",
            ),
            (
                Code::SSL,
                "error:0A000412:SSL routines::sslv3 alert bad certificate",
                "cert_file",
            ),
            (
                Code::SSL,
                "error:0A00010B:SSL routines::wrong version number",
                "bus.kafka.tls",
            ),
            (
                Code::Resolve,
                "Failed to resolve 'nowhere:9092'",
                "bus.kafka.brokers",
            ),
            (
                Code::TopicAuthorizationFailed,
                "Topic authorization failed",
                "ACL",
            ),
            (
                Code::BrokerTransportFailure,
                "Connect to 127.0.0.1:1 failed",
                "no broker can be reached",
            ),
        ];
        for (code, reason, expected) in cases {
            let troubles = Troubles::default();
            troubles.note("producer", &global(code), reason);
            let said = troubles.explain("no answer", None);
            assert!(said.contains(expected) && said.contains(reason), "{said}");
        }
    }

    #[tokio::test]
    async fn plain_text_at_a_tls_port_is_told_from_a_log_line() {
        let troubles = Troubles::default();
        troubles.note_line(
            "lookups",
            "Disconnected: closed (after 1ms in state APIVERSION_QUERY)",
        );
        troubles.note_line("lookups", "Connect to 127.0.0.1:1 failed");
        assert!(
            troubles
                .explain("no answer", None)
                .contains("bus.kafka.tls")
        );
    }

    #[tokio::test]
    async fn a_connection_that_the_broker_closes_is_no_trouble() {
        let troubles = Troubles::default();
        let reason = "127.0.0.1:9092/1: Disconnected (after 600001ms in state UP)";
        troubles.note(
            "reader",
            &global(RDKafkaErrorCode::BrokerTransportFailure),
            reason,
        );
        assert_eq!(troubles.explain("no answer", None), "no answer");
    }

    #[tokio::test]
    async fn all_brokers_down_does_not_hide_why() {
        let troubles = Troubles::default();
        troubles.note(
            "reader",
            &global(RDKafkaErrorCode::Authentication),
            "bad password",
        );
        troubles.note(
            "reader",
            &global(RDKafkaErrorCode::AllBrokersDown),
            "1/1 brokers are down",
        );
        assert!(troubles.explain("no answer", None).contains("bad password"));
        troubles.clear();
        assert_eq!(troubles.explain("no answer", None), "no answer");
    }
}
