//! Adds to a failure what else can be found out: how much was copied, which layers failed, the sync
//! rule's name, how the rest of its batch stands.
//!
//! In: what is about to be told. Out: the same with details, as far as the budget and a second allow.
//! Must never happen: an alert that waits for its details; a request that a poll then lacks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use syncbell_acr::{BoxFuture, Page, TaskReport};
use syncbell_event::{BatchCounts, Detail, Phase, Status};
use tokio::time::Instant;

use crate::diff::is_bad;
use crate::state::Told;
use crate::upstream::Upstream;

/// Tasks, and batches, that are asked for in one turn.
const A_TURN: usize = 20;

/// The time for all requests of one turn together.
const TIME_A_TURN: Duration = Duration::from_secs(1);

/// Digests of layers that are told.
const LAYERS: usize = 20;

/// Names of rules are read again after this, and for a rule that is not known no sooner than that.
const RULES_FOR: Duration = Duration::from_hours(1);
const UNKNOWN_RULE_AFTER: Duration = Duration::from_mins(5);

/// Pages of rules that are read.
const RULE_PAGES: u32 = 20;

/// What is known beside the tasks.
#[derive(Debug, Default)]
pub(crate) struct Enrich {
    rules: HashMap<String, String>,
    rules_read_at: Option<Instant>,
    n_left: usize,
    time_left: Duration,
}

/// One answer.
enum Found {
    Report(usize, Option<Box<TaskReport>>),
    Batch(String, Option<BatchCounts>),
    Rules(HashMap<String, String>),
}

impl Enrich {
    /// A new turn has its own second.
    pub(crate) fn begin_turn(&mut self) {
        self.n_left = A_TURN;
        self.time_left = TIME_A_TURN;
    }

    /// Fills in the details of the failures among `told`.
    pub(crate) async fn fill(&mut self, upstream: &Upstream, told: &mut [Told]) {
        let failures: Vec<usize> = (0..told.len())
            .filter(|at| is_failure(&told[*at]))
            .collect();
        if failures.is_empty() {
            return;
        }
        let started = Instant::now();
        let deadline = started + self.time_left;
        let mut asked = self.ask(upstream, told, &failures);
        let mut batches: BTreeMap<String, BatchCounts> = BTreeMap::new();
        // What has come by then is told; what has not is left out.
        while let Ok(Some(found)) = tokio::time::timeout_at(deadline, asked.next()).await {
            match found {
                Found::Report(at, Some(report)) => add_report(&mut told[at], *report),
                Found::Batch(id, Some(counts)) => drop(batches.insert(id, counts)),
                Found::Rules(rules) if !rules.is_empty() => self.rules = rules,
                Found::Report(..) | Found::Batch(..) | Found::Rules(_) => {}
            }
        }
        drop(asked);
        self.time_left = self.time_left.saturating_sub(started.elapsed());
        for at in failures {
            let Some(task) = told[at].change.after.clone() else {
                continue;
            };
            let name = task
                .sync_rule_id
                .and_then(|id| self.rules.get(&id))
                .cloned();
            let counts = task.batch_id.and_then(|id| batches.get(&id)).cloned();
            if name.is_some() || counts.is_some() {
                let detail = told[at].detail.get_or_insert_with(Detail::default);
                (detail.sync_rule_name, detail.batch) = (name, counts);
            }
        }
    }

    /// Asks for all at once: names first, then batches, which say most about many tasks.
    fn ask<'a>(
        &mut self,
        upstream: &'a Upstream,
        told: &[Told],
        failures: &[usize],
    ) -> FuturesUnordered<BoxFuture<'a, Found>> {
        let asked: FuturesUnordered<BoxFuture<'a, Found>> = FuturesUnordered::new();
        let tasks = failures
            .iter()
            .filter_map(|at| told[*at].change.after.as_ref());
        let rules: BTreeSet<&str> = tasks
            .clone()
            .filter_map(|task| task.sync_rule_id.as_deref())
            .collect();
        if self.needs_rules(&rules) {
            self.rules_read_at = Some(Instant::now());
            asked.push(Box::pin(rule_names(upstream)));
        }
        let batches: BTreeSet<&str> = tasks.filter_map(|task| task.batch_id.as_deref()).collect();
        for id in batches.into_iter().take(self.n_left) {
            self.n_left -= 1;
            asked.push(Box::pin(batch(upstream, id.to_owned())));
        }
        for at in failures.iter().copied().take(self.n_left) {
            self.n_left -= 1;
            let id = told[at].change.task_id.clone();
            asked.push(Box::pin(async move {
                let report = upstream.task_now(id.as_str()).await;
                Found::Report(at, report.map(Box::new))
            }));
        }
        asked
    }

    fn needs_rules(&self, wanted: &BTreeSet<&str>) -> bool {
        let Some(age) = self.rules_read_at.map(|at| at.elapsed()) else {
            return !wanted.is_empty();
        };
        let unknown = wanted.iter().any(|id| !self.rules.contains_key(*id));
        age >= RULES_FOR || unknown && age >= UNKNOWN_RULE_AFTER
    }
}

fn is_failure(told: &Told) -> bool {
    told.change.after.as_ref().is_some_and(is_bad)
}

fn add_report(told: &mut Told, report: TaskReport) {
    let failed = report
        .layers
        .into_iter()
        .filter(|layer| layer.status == Status::Error)
        .filter_map(|layer| layer.digest);
    let detail = told.detail.get_or_insert_with(Detail::default);
    detail.progress = report.progress;
    detail.synced_size_bytes = report.synced_size_bytes;
    detail.failed_layers = failed.take(LAYERS).collect();
}

async fn rule_names(upstream: &Upstream) -> Found {
    let mut names = HashMap::new();
    for page_no in 1..=RULE_PAGES {
        let Some(page) = upstream.rules_now(page_no).await else {
            break;
        };
        let n_rows = page.n_rows as u64;
        for rule in page.rules {
            names.extend(rule.name.map(|name| (rule.id, name)));
        }
        if n_rows == 0 || page.page_size.is_none_or(|size| n_rows < size) {
            break;
        }
    }
    Found::Rules(names)
}

async fn batch(upstream: &Upstream, id: String) -> Found {
    let page = upstream.batch(&id).await.and_then(Result::ok);
    Found::Batch(id, page.and_then(|page| counts(&page)))
}

/// Of a batch that fits on one page: of a larger one the counts would be wrong.
fn counts(page: &Page) -> Option<BatchCounts> {
    let (tasks, refused) = page.tasks();
    let n = tasks.len() as u64;
    if n == 0 || !refused.is_empty() || page.total_count.is_some_and(|total| total != n) {
        return None;
    }
    let count = |wanted: &dyn Fn(&Status) -> bool| {
        tasks.iter().filter(|task| wanted(&task.status)).count() as u64
    };
    Some(BatchCounts {
        total: n,
        failed: count(&|status| *status == Status::Error),
        open: count(&|status| status.phase() == Phase::Open),
    })
}
