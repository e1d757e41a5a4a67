//! The demo's story as it is told on a terminal, and its verdict.

use std::time::Duration;

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use syncbell_service::Metrics;
use syncbell_simulator::mailbox::{Mail, Mailbox};
use syncbell_simulator::receiver::{Receipt, Receiver};
use syncbell_simulator::{World, compare};

use crate::table::plain;

/// How long after the story's end the last alert may take.
const PATIENCE: Duration = Duration::from_secs(15);
const STEP: Duration = Duration::from_millis(20);

/// Lines of a mail that are printed.
const MAIL_LINES: usize = 12;

/// Alerts that are printed within a breath; of more only their number is.
const ALERTS_A_BREATH: usize = 4;
const BREATH: SignedDuration = SignedDuration::from_secs(1);

/// In the text of a mail that counts what it tells, instead of telling each in full.
const DIGEST: &str = "\nThe gravest:\n";

/// Reads world, receiver and mailbox side by side, and prints what is new.
pub(crate) struct Story {
    world: World,
    receiver: Receiver,
    mailbox: Mailbox,
    began_at: Timestamp,
    notes: usize,
    receipts: usize,
    mails: usize,
    refused: bool,
    /// When the last breath began, how many alerts it had, and how many of them were not printed.
    breath: (Timestamp, usize, usize),
}

impl Story {
    pub(crate) fn new(world: World, receiver: Receiver, mailbox: Mailbox) -> Self {
        let began_at = Timestamp::now();
        Self {
            world,
            receiver,
            mailbox,
            began_at,
            notes: 0,
            receipts: 0,
            mails: 0,
            refused: false,
            breath: (began_at, 0, 0),
        }
    }

    /// Tells the story to its end, and until everything that had to arrive has, save that of `silenced`, or patience
    /// ends.
    pub(crate) async fn tell(&mut self, silenced: &[&str]) {
        let finished = async |world: &World| world.story_finished().await;
        let world = self.world.clone();
        let mut end = std::pin::pin!(finished(&world));
        loop {
            self.print_news();
            tokio::select! {
                () = &mut end => break,
                () = tokio::time::sleep(STEP) => {}
            }
        }
        let patient = async {
            while !self.is_settled(silenced) {
                self.print_news();
                tokio::time::sleep(STEP).await;
            }
        };
        if tokio::time::timeout(PATIENCE, patient).await.is_err() {
            tracing::debug!("not everything arrived in time");
        }
        self.print_news();
    }

    /// Goes on printing for ever.
    pub(crate) async fn watch(&mut self) {
        loop {
            self.print_news();
            tokio::time::sleep(STEP).await;
        }
    }

    /// Prints what is new until the mailbox has a digest, or patience ends.
    pub(crate) async fn tell_digest(&mut self) {
        let patient = async {
            while !self.has_digest() {
                self.print_news();
                tokio::time::sleep(STEP).await;
            }
        };
        if tokio::time::timeout(PATIENCE, patient).await.is_err() {
            tracing::debug!("no digest came in time");
        }
        self.print_news();
    }

    /// Prints what somebody does meanwhile, and what it answers.
    pub(crate) fn act(&self, what: &str, answer: &[String]) {
        self.line(Timestamp::now(), "you", what);
        for line in answer {
            anstream::println!("{:22}{}", "", plain(line));
        }
    }

    fn has_digest(&self) -> bool {
        let mails = self.mailbox.mails();
        mails.iter().any(|mail| mail.text.contains(DIGEST))
    }

    fn is_settled(&self, silenced: &[&str]) -> bool {
        let ledger = self.world.ledger();
        let missing = compare(&ledger.expected(), &self.receiver.got()).missing;
        ledger.unserved().is_empty()
            && missing
                .iter()
                .all(|told| silenced.contains(&told.task_id.as_str()))
    }

    fn print_news(&mut self) {
        let notes = self.world.notes();
        for note in notes.iter().skip(self.notes) {
            self.line(note.at, "registry", &note.text);
        }
        self.notes = notes.len();
        let receipts = self.receiver.receipts();
        for receipt in receipts.iter().skip(self.receipts) {
            self.print_receipt(receipt);
        }
        self.receipts = receipts.len();
        self.print_rest();
        let mails = self.mailbox.mails();
        for mail in mails.iter().skip(self.mails) {
            self.print_mail(mail);
        }
        self.mails = mails.len();
        // The third alert meets a receiver that is down, once.
        let accepted = receipts
            .iter()
            .filter(|receipt| receipt.is_accepted())
            .count();
        if accepted == 2 && !self.refused {
            self.refused = true;
            self.receiver.fail_next(1, StatusCode::SERVICE_UNAVAILABLE);
        }
    }

    /// True if an alert more is to be printed now.
    fn breathe(&mut self, at: Timestamp) -> bool {
        if at.duration_since(self.breath.0) >= BREATH {
            self.print_rest();
            self.breath = (at, 0, self.breath.2);
        }
        self.breath.1 += 1;
        let printed = self.breath.1 <= ALERTS_A_BREATH;
        self.breath.2 += usize::from(!printed);
        printed
    }

    /// How many alerts were not printed, once their breath is over.
    fn print_rest(&mut self) {
        let (at, _, rest) = self.breath;
        let now = Timestamp::now();
        if rest > 0 && now.duration_since(at) >= BREATH {
            let text = format!("and {rest} more, each by itself: programs are told one by one");
            self.line(now, "alert", &text);
            self.breath.2 = 0;
        }
    }

    /// Its title; of a digest the beginning of its text.
    fn print_mail(&self, mail: &Mail) {
        let mut lines = mail.text.lines();
        let title = lines.next().unwrap_or_default();
        self.line(mail.received_at, "mail", &plain(title));
        if mail.text.contains(DIGEST) {
            for line in lines.take(MAIL_LINES) {
                anstream::println!("{:22}{}", "", plain(line));
            }
            anstream::println!("{:22}…", "");
        }
    }

    fn print_receipt(&mut self, receipt: &Receipt) {
        let at = receipt.received_at;
        if receipt.is_accepted() && !self.breathe(at) {
            return;
        }
        if !receipt.is_accepted() {
            let text = format!(
                "the receiver answers {}: it will be tried again",
                receipt.answered
            );
            return self.line(at, "alert", &text);
        }
        let expected = self.world.ledger().expected();
        for got in receipt.got() {
            let told = expected.iter().find(|told| {
                told.task_id == got.task_id
                    && told.rule.as_str() == got.rule
                    && told.status == got.status
            });
            let late = told
                .and_then(|told| told.served_at)
                .map(|served| at.duration_since(served));
            let late = late.map_or_else(String::new, |late| {
                format!(
                    ", {:.1} ms after the poll saw it",
                    late.as_secs_f64() * 1_000.0
                )
            });
            let summary = receipt.body["data"]["alerts"][0]["summary"]
                .as_str()
                .unwrap_or_default();
            self.line(
                at,
                "alert",
                &format!("{} {summary}{late}", got.status.as_str().to_uppercase()),
            );
        }
    }

    fn line(&self, at: Timestamp, who: &str, text: &str) {
        let seconds = at.duration_since(self.began_at).as_secs_f64();
        anstream::println!("{seconds:6.2} s  {who:8}  {text}");
    }

    /// Prints the faults and the count. True if exactly what had to arrive did, and a digest.
    pub(crate) fn verdict(&self, metrics: &Metrics) -> bool {
        let expected = self.world.ledger().expected();
        let receipts = self.receiver.receipts();
        let got = self.receiver.got();
        let comparison = compare(&expected, &got);
        let exact = comparison.is_exact();
        if !exact {
            anstream::println!("{comparison}");
        }
        let digest = self.has_digest();
        if !digest {
            anstream::println!("no mail is a digest");
        }
        let deliveries = receipts
            .iter()
            .filter(|receipt| receipt.is_accepted())
            .count();
        anstream::println!(
            "demo: {} events, {} mails, {} alerts, {deliveries} deliveries, {} retries, {} lost, {} repeated: {}",
            events(metrics),
            self.mailbox.mails().len(),
            got.len(),
            receipts.len() - deliveries,
            comparison.missing.len(),
            comparison.repeated.len() + comparison.unexpected.len(),
            if exact && digest { "ok" } else { "FAILED" }
        );
        exact && digest
    }
}

/// Events that the notifier read.
fn events(metrics: &Metrics) -> u64 {
    let text = metrics.encode();
    let line = text
        .lines()
        .find(|line| line.starts_with("syncbell_events_consumed_total"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or(0)
}
