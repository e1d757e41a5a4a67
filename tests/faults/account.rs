//! The ledger of a run: where each expected alert ended.
//!
//! Expected is what the simulator's own ledger says, and each failure of the script stands in it. Every
//! entry is, for the webhook and for the mailbox, delivered, pending or dead; the rest is lost.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use syncbell_event::AlertStatus;
use syncbell_simulator::{Comparison, Got, Told, compare};
use syncbell_testkit::Seed;

use crate::house::{House, WAIT};
use crate::traffic::Traffic;

/// Deliveries that may be sent and not recorded, to a webhook that answers at once. To a mailbox: one.
pub(crate) const UNDER_WAY: usize = 128 + 1;

/// Deliveries that are looked at for those that did not arrive.
const LIMIT: &str = "1000";

/// Counts of alerts, both receivers together.
#[derive(Debug, Default)]
pub(crate) struct Account {
    what: String,
    expected: usize,
    delivered: usize,
    pending: usize,
    dead: usize,
    pub(crate) lost: Vec<String>,
    pub(crate) repeats: usize,
    unexpected: Vec<String>,
    /// What may be repeated: attempts under way at the kills.
    bound: usize,
}

/// `faults kill-poller embedded seed=… rounds=15 expected=… …`, one line.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            expected,
            delivered,
            pending,
            dead,
            lost,
            repeats,
            unexpected,
            bound,
        } = self;
        let (lost, unexpected) = (lost.len(), unexpected.len());
        write!(
            f,
            "faults {what} expected={expected} delivered={delivered} pending={pending} dead={dead} \
             lost={lost} repeats={repeats} (bound {bound}) unexpected={unexpected}"
        )
    }
}

impl Account {
    /// Waits until every alert is delivered or dead (or in vain), prints the ledger, and refuses one that
    /// does not balance.
    pub(crate) async fn settle(
        house: &House,
        traffic: &Traffic,
        fault: &str,
        seed: Seed,
        rounds: usize,
        bound: usize,
    ) -> Self {
        let settled = tokio::time::timeout(WAIT, settled(house)).await.is_ok();
        let what = format!(
            "{fault} {} seed={} rounds={rounds}",
            house.bus(),
            seed.value()
        );
        let account = Self::take(house, traffic, what, bound).await;
        println!("{account}");
        let said = || {
            let services = house.services().iter();
            services
                .map(|one| tail(&house.said(one)))
                .collect::<String>()
        };
        assert!(
            account.lost.is_empty(),
            "{account}\n{:#?}\n{}",
            account.lost,
            said()
        );
        assert!(settled, "not settled: {account}\n{}", said());
        assert_eq!(account.pending, 0, "{account}");
        assert!(
            account.unexpected.is_empty(),
            "{account}\n{:#?}",
            account.unexpected
        );
        assert!(account.repeats <= bound, "{account}");
        assert!(account.expected >= 2 * traffic.bad.len(), "{account}");
        account
    }

    async fn take(house: &House, traffic: &Traffic, what: String, bound: usize) -> Self {
        let expected = house.simulator.world().ledger().expected();
        let mut account = Self {
            what,
            bound,
            ..Self::default()
        };
        for id in &traffic.bad {
            let stands = |told: &Told| told.task_id == *id && told.status == AlertStatus::Firing;
            if !expected.iter().any(stands) {
                account.lost.push(format!("{id} was never seen"));
            }
        }
        let n = expected.iter().filter(|told| told.certain).count();
        for (target, compared) in compared(house, &expected) {
            account.expected += n;
            account.delivered += n - compared.missing.len();
            account.repeats += compared.repeated.len();
            account.unexpected.extend(
                compared
                    .unexpected
                    .iter()
                    .map(|got| format!("{target}: {got:?}")),
            );
            account.find(house, target, &compared.missing).await;
        }
        account
    }

    /// Where those are that did not arrive.
    async fn find(&mut self, house: &House, target: &str, missing: &[Told]) {
        if missing.is_empty() {
            return;
        }
        let states = states(house, target).await;
        for told in missing {
            let key = (
                told.task_id.clone(),
                told.rule.as_str().to_owned(),
                told.status,
            );
            match states.get(&key).map(String::as_str) {
                Some("pending") => self.pending += 1,
                Some("dead" | "dropped") => self.dead += 1,
                other => self.lost.push(format!("{target}: {told:?} ({other:?})")),
            }
        }
    }
}

/// By receiver.
fn compared(house: &House, expected: &[Told]) -> [(&'static str, Comparison); 2] {
    [
        ("ops", compare(expected, &house.webhook_got())),
        ("mail", compare(expected, &house.mail_got())),
    ]
}

/// Until what can be seen was seen, and all of it is delivered or dead; then for a few polls more, so that
/// what nobody asked for could come too.
async fn settled(house: &House) {
    let world = house.simulator.world();
    loop {
        let all_seen = world.counts().unserved == 0;
        if all_seen && nothing_under_way(house).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let answers = world.counts().answers;
    world
        .until(|world| world.counts().answers > answers + 5)
        .await;
}

async fn nothing_under_way(house: &House) -> bool {
    let expected = house.simulator.world().ledger().expected();
    for (target, compared) in compared(house, &expected) {
        if compared.missing.is_empty() {
            continue;
        }
        let states = states(house, target).await;
        let is_dead = |told: &Told| {
            let key = (
                told.task_id.clone(),
                told.rule.as_str().to_owned(),
                told.status,
            );
            matches!(
                states.get(&key).map(String::as_str),
                Some("dead" | "dropped")
            )
        };
        if !compared.missing.iter().all(is_dead) {
            return false;
        }
    }
    true
}

/// The deliveries to `target` that have not arrived and will be listed: their state, by what they tell.
async fn states(house: &House, target: &str) -> HashMap<(String, String, AlertStatus), String> {
    let mut states = HashMap::new();
    let list = ["deliveries", "list", "-o", "json", "--limit", LIMIT];
    let Some(list) = house.ask(&list).await else {
        return states;
    };
    for row in list.as_array().into_iter().flatten() {
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        if text("state") == "delivered" || !text("target").starts_with(target) {
            continue;
        }
        let Some(shown) = house.ask(&["deliveries", "show", text("id")]).await else {
            continue;
        };
        for got in Got::of_alert(text("id"), &shown["alert"]) {
            states.insert(
                (got.task_id, got.rule, got.status),
                text("state").to_owned(),
            );
        }
    }
    states
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n") + "\n"
}
