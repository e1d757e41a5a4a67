//! Mail: one message to one address, one outcome.
//!
//! In: an address, a delivery, its texts. Out: an outcome; there is no error beside it.
//!
//! Must never happen: a password before TLS, an attempt without a deadline, a Message-ID that changes
//! between attempts, a header that a name from the registry could have written.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use lettre::Address;
use lettre::message::Mailbox;
use syncbell_config::Email;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::delivery::Delivery;
use crate::outcome::{Answered, Outcome};
use crate::render::{Mail, text};

use super::message::{self, Letter};
use super::reply::{self, Stage, Trouble};
use super::session::{Said, Server, Session};
use super::setup::SetupError;

/// Conversations with one server at a time.
const CONCURRENT: usize = 2;
/// Servers hang up on idle clients, many after 5 minutes, some after 1.
const IDLE_LIMIT: Duration = Duration::from_secs(50);
const NOTE_LIMIT_CHARS: usize = 200;

/// A receiver of kind `email`.
pub(crate) struct EmailChannel {
    server: Server,
    from: Mailbox,
    slots: Semaphore,
    /// Conversations that wait for the next mail, at most [`CONCURRENT`].
    parked: Mutex<Vec<(Instant, Session)>>,
}

impl EmailChannel {
    /// Checks the sender and reads the certificates. Blocking: only at start.
    pub(crate) fn try_new(email: &Email) -> Result<Self, SetupError> {
        let address: Address = email
            .from
            .parse()
            .map_err(|_| SetupError::unusable(format!("`from: {}` is no address", email.from)))?;
        Ok(Self {
            server: Server::try_new(&email.smtp, address.domain())?,
            from: Mailbox::new(Some("Syncbell".to_owned()), address),
            slots: Semaphore::new(CONCURRENT),
            parked: Mutex::default(),
        })
    }

    /// Makes one attempt. Once it has one of the two places at the server, it ends within the timeout.
    pub(crate) async fn send(
        &self,
        address: &str,
        delivery: &Delivery,
        mail: Mail,
        now: Timestamp,
    ) -> Answered {
        let Ok(to) = address.parse::<Address>() else {
            let note = format!(
                "{} is no mail address",
                text::line(address, NOTE_LIMIT_CHARS)
            );
            return Outcome::PermanentTarget { note }.into();
        };
        let letter = match message::letter(&self.from, &to, delivery, mail, now) {
            Ok(letter) => letter,
            Err(note) => return Outcome::PermanentMessage { note }.into(),
        };
        let Ok(_slot) = self.slots.acquire().await else {
            let note = "the channel is shut down".to_owned();
            let maybe_delivered = false;
            return Outcome::Transient {
                note,
                maybe_delivered,
            }
            .into();
        };
        let mut stage = Stage::Connect;
        let attempt = self.hand_over(&mut stage, &letter);
        match tokio::time::timeout(self.server.timeout, attempt).await {
            Ok(Ok(Said { code, text })) => {
                let said = text::line(&format!("{code} {text}"), NOTE_LIMIT_CHARS);
                let note = format!("SMTP {said}");
                Answered::with(code, Outcome::Delivered { note })
            }
            Ok(Err(trouble)) => Answered {
                outcome: reply::classify(stage, &trouble),
                status: trouble.code(),
            },
            Err(_) => reply::timed_out(stage, self.server.timeout).into(),
        }
    }

    /// What [`EmailChannel::send`] hands over.
    pub(crate) fn preview(
        &self,
        address: &str,
        delivery: &Delivery,
        mail: Mail,
        now: Timestamp,
    ) -> String {
        let letter = address
            .parse::<Address>()
            .map_err(|_| {
                format!(
                    "{} is no mail address",
                    text::line(address, NOTE_LIMIT_CHARS)
                )
            })
            .and_then(|to| message::letter(&self.from, &to, delivery, mail, now));
        match letter {
            Ok(letter) => format!(
                "MAIL FROM:<{}>\nRCPT TO:<{}>\n\n{}",
                letter.from,
                letter.to,
                letter.wire.replace("\r\n", "\n")
            ),
            Err(why) => why,
        }
    }

    /// Uses a conversation that is open already, if there is one. Where it ends before the mail is on its way, or
    /// the server has had enough of it, another one is opened at once; one, as a server in trouble needs no more.
    async fn hand_over(&self, stage: &mut Stage, letter: &Letter) -> Result<Said, Trouble> {
        let first = match self.take_parked() {
            Some(mut session) => {
                let result = session.send(stage, letter).await;
                if let Err(trouble) = &result
                    && trouble.is_too_many()
                {
                    session.quit().await;
                    result
                } else {
                    self.park(session, result)
                }
            }
            None => self.anew(stage, letter).await,
        };
        match first {
            Err(trouble)
                if (trouble.is_loss() && *stage < Stage::Content) || trouble.is_too_many() =>
            {
                self.anew(stage, letter).await
            }
            first => first,
        }
    }

    /// In a conversation of its own.
    async fn anew(&self, stage: &mut Stage, letter: &Letter) -> Result<Said, Trouble> {
        let mut session = self.server.open(stage).await?;
        let result = session.send(stage, letter).await;
        self.park(session, result)
    }

    fn take_parked(&self) -> Option<Session> {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        parked.retain(|(since, _)| since.elapsed() < IDLE_LIMIT);
        parked.pop().map(|(_, session)| session)
    }

    fn park(&self, session: Session, result: Result<Said, Trouble>) -> Result<Said, Trouble> {
        let usable = result.as_ref().err().is_none_or(Trouble::leaves_connection);
        if usable && !self.slots.is_closed() {
            let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
            if parked.len() < CONCURRENT {
                parked.push((Instant::now(), session));
            }
        }
        result
    }

    /// Takes leave of the server; what is sent afterwards is to be tried again by the next process.
    pub(crate) async fn shutdown(&self) {
        self.slots.close();
        let parked = {
            let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *parked)
        };
        for (_, session) in parked {
            session.quit().await;
        }
    }
}

#[cfg(test)]
pub(in crate::deliver) mod tests;
