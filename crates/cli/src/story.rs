//! The demo's story as it is told on a terminal, and its verdict.

use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;
use syncbell_service::Metrics;
use syncbell_simulator::receiver::{Receipt, Receiver};
use syncbell_simulator::{World, compare};

/// How long after the story's end the last alert may take.
const PATIENCE: Duration = Duration::from_secs(15);
const STEP: Duration = Duration::from_millis(20);

/// Reads world and receiver side by side, and prints what is new.
pub(crate) struct Story {
    world: World,
    receiver: Receiver,
    began_at: Timestamp,
    notes: usize,
    receipts: usize,
    refused: bool,
}

impl Story {
    pub(crate) fn new(world: World, receiver: Receiver) -> Self {
        Self {
            world,
            receiver,
            began_at: Timestamp::now(),
            notes: 0,
            receipts: 0,
            refused: false,
        }
    }

    /// Tells the story to its end, and until everything that had to arrive has, or patience ends.
    pub(crate) async fn tell(&mut self) {
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
            while !self.is_settled() {
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

    fn is_settled(&self) -> bool {
        let ledger = self.world.ledger();
        ledger.unserved().is_empty()
            && compare(&ledger.expected(), &self.receiver.got())
                .missing
                .is_empty()
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

    fn print_receipt(&self, receipt: &Receipt) {
        let at = receipt.received_at;
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

    /// Prints the faults and the count. True if exactly what had to arrive did.
    pub(crate) fn verdict(&self, metrics: &Metrics) -> bool {
        let expected = self.world.ledger().expected();
        let receipts = self.receiver.receipts();
        let got = self.receiver.got();
        let comparison = compare(&expected, &got);
        let exact = comparison.is_exact();
        if !exact {
            anstream::println!("{comparison}");
        }
        let deliveries = receipts
            .iter()
            .filter(|receipt| receipt.is_accepted())
            .count();
        anstream::println!(
            "demo: {} events, {} alerts, {deliveries} deliveries, {} retries, {} lost, {} repeated: {}",
            events(metrics),
            got.len(),
            receipts.len() - deliveries,
            comparison.missing.len(),
            comparison.repeated.len() + comparison.unexpected.len(),
            if exact { "ok" } else { "FAILED" }
        );
        exact
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
