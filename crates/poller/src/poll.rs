//! One head poll: reads the newest pages of the list of one instance and looks at what is open, commits
//! each page as it comes.
//!
//! In: a tick. Out: rows and events in the store. Must never happen: a page asked for before the one
//! before is durable; a poll counted as complete that left a page out.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use syncbell_acr::{Page, TaskReport};
use syncbell_event::{Detail, Kind, SweepKind, SyncTask, TaskId, TraceParent};
use syncbell_service::crash_point;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admit::admit;
use crate::budget::Lane;
use crate::failure::Stopped;
use crate::head::{Head, HeadStep};
use crate::instance::{Report, Watcher};
use crate::intake::{Intake, Wish, sort};
use crate::plan::{Means, Plan, plan};
use crate::row::IdHash;
use crate::state::Seen;
use crate::sweeping::Sweeping;
use crate::upstream::{PAGE_SIZE, is_throttled};

/// A request id is carried in events up to this many characters.
const REQUEST_ID_LIMIT: usize = 128;

/// What is created so much before the newest known task may still appear: servers list late.
const LOOKBACK: Duration = Duration::from_mins(10);

/// Requests a second for open tasks: 30 % of what an account and region may ask.
const OPEN_PER_SECOND: f64 = 3.0;

impl Watcher {
    /// Reads the newest pages once, and what is open further down. What was committed before a failure
    /// stays: it was seen.
    pub(crate) async fn poll(&mut self, stop: &CancellationToken) -> Result<Report, Stopped> {
        let started = Instant::now();
        self.begin_turn();
        if self.sweeping.is_none() && self.state.wanted().await?.is_some() {
            self.schedule.sweep_soon(started);
        }
        let lookback = LOOKBACK.max(self.pace.interval() * 3);
        let lookback = SignedDuration::try_from(lookback).unwrap_or(SignedDuration::MAX);
        let quiet_before = self.state.index.newest_created_at();
        let quiet_before = quiet_before.and_then(|newest| newest.checked_sub(lookback).ok());
        let mut head = Head::new(quiet_before.map(Timestamp::as_millisecond));
        let mut seen_until = None;
        let mut told = self
            .read_head(&mut head, HeadStep::Ask(1), &mut seen_until, stop)
            .await?;
        match self.plan(&head) {
            Plan::Leave => {}
            Plan::ReadTo(page_no) => {
                let step = head.read_on_to(page_no);
                told += self
                    .read_head(&mut head, step, &mut seen_until, stop)
                    .await?;
            }
            Plan::ById(ids) => told += self.look_at(ids, stop).await?,
        }
        Ok(Report {
            sweep: SweepKind::Head,
            pages: head.pages(),
            seen_until: seen_until.unwrap_or_else(Timestamp::now),
            told,
            took: started.elapsed(),
        })
    }

    pub(crate) fn begin_turn(&mut self) {
        let trace = TraceParent::new(rand::random(), rand::random());
        self.state.begin_turn(trace);
        self.enrich.begin_turn();
    }

    /// Reads pages from `step` on until it is sure; if it cannot be, a full sweep comes soon.
    async fn read_head(
        &mut self,
        head: &mut Head,
        mut step: HeadStep,
        seen_until: &mut Option<Timestamp>,
        stop: &CancellationToken,
    ) -> Result<u64, Stopped> {
        let mut told = 0;
        while let HeadStep::Ask(page_no) = step {
            self.room(stop).await?;
            let page = tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Stopped::Shutdown),
                page = self.ask(Lane::Head, page_no) => page?,
            };
            crash_point("poller.page-read");
            // Without a Date our own clock has to do.
            seen_until.get_or_insert(page.date.unwrap_or_else(Timestamp::now));
            let (intake, kinds) = self.take(&page, page_no).await?;
            told += kinds.len() as u64;
            step = head.answered(&intake.as_head_page());
        }
        if step == HeadStep::Unsure {
            self.schedule.sweep_soon(Instant::now());
        }
        Ok(told)
    }

    async fn ask(&self, lane: Lane, page_no: u32) -> Result<Page, syncbell_acr::Error> {
        self.upstream.admitted(lane).await;
        self.upstream.page(page_no).await
    }

    /// Sorts and commits a page. Says what was told.
    pub(crate) async fn take(
        &mut self,
        page: &Page,
        page_no: u32,
    ) -> Result<(Intake, Vec<Kind>), Stopped> {
        // A baseline, and an answer to the notifier, need the known tasks too.
        let answers = self.sweeping.as_ref().is_some_and(Sweeping::answers);
        let wish = Wish {
            first_rank: u64::from(page_no - 1) * page.page_size.unwrap_or(u64::from(PAGE_SIZE)),
            all: !self.baseline.is_complete() || answers,
        };
        let mut intake = sort(page, &mut self.state, wish);
        self.name_refused(&intake, page.request_id.as_deref());
        self.baseline.note(intake.tasks());
        if let Some(sweeping) = &mut self.sweeping {
            sweeping.note(intake.tasks());
        }
        let seen = std::mem::take(&mut intake.seen);
        let kinds = self.commit(seen, page.request_id.as_deref()).await?;
        Ok((intake, kinds))
    }

    fn name_refused(&self, intake: &Intake, request_id: Option<&str>) {
        for (task_id, reason) in &intake.refused {
            tracing::warn!(
                instance = %self.source.instance,
                task.id = task_id.as_ref().map(TaskId::as_str),
                request.id = request_id,
                reason,
                "refused a row of the list"
            );
        }
        let (n_rows, n_refused) = (intake.n_rows() as u64, intake.refused.len() as u64);
        self.metrics.read(n_rows, n_refused);
    }

    /// Compares tasks with the store and commits what changed, with its details.
    pub(crate) async fn commit(
        &mut self,
        seen: Vec<Seen>,
        request_id: Option<&str>,
    ) -> Result<Vec<Kind>, Stopped> {
        let now = Timestamp::now();
        let (unsaved, baseline) = (self.baseline.unsaved(), &self.baseline);
        let sight = |task: &SyncTask| baseline.sight(task);
        let mut pending = self.state.diff(seen, sight, unsaved, now).await?;
        for told in &mut pending.told {
            told.detail = request_id.map(|id| Detail {
                request_id: Some(id.chars().take(REQUEST_ID_LIMIT).collect()),
                ..Detail::default()
            });
        }
        self.enrich.fill(&self.upstream, &mut pending.told).await;
        let kinds = self.state.commit(pending, now).await?;
        self.baseline.set_saved();
        self.metrics.told(&kinds);
        self.metrics.outbox(self.outbox.depth());
        Ok(kinds)
    }

    /// How to look at the open tasks that this turn did not meet.
    fn plan(&self, head: &Head) -> Plan {
        let turn = self.state.turn();
        let unmet = self.state.index.open().filter(|open| open.turn != turn);
        let seconds = self.pace.interval().as_secs_f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float to an integer saturates"
        )]
        let n_requests = ((OPEN_PER_SECOND * seconds) as usize).max(1);
        let means = Means {
            n_requests,
            pages_read: head.pages(),
            page_size: PAGE_SIZE.into(),
            by_id: self.upstream.answers_by_id(),
            by_page: self.schedule.has_heads(),
            n_added: self.state.index.n_added(),
        };
        plan(unmet.collect(), means)
    }

    /// Asks for single tasks. One that is not there any more is for the next full sweeps to judge.
    async fn look_at(
        &mut self,
        ids: Vec<TaskId>,
        stop: &CancellationToken,
    ) -> Result<u64, Stopped> {
        let mut told = 0;
        let turn = self.state.turn();
        for task_id in ids {
            self.room(stop).await?;
            let asked = tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Stopped::Shutdown),
                asked = self.upstream.task(task_id.as_str()) => asked,
            };
            let report = match asked {
                Ok(report) => report,
                Err(error) if is_throttled(&error) => return Err(error.into()),
                // The list was read: for these, pages and sweeps have to do.
                Err(_) => break,
            };
            let id = IdHash::of(task_id.as_str());
            self.state.index.look_at_open(id, turn, None);
            if let Some(report) = report {
                told += self.looked_at(id, report).await?;
            }
        }
        Ok(told)
    }

    /// Commits a task as the answer to its id shows it: that answer is another operation's, and only
    /// what can change is taken from it.
    pub(crate) async fn looked_at(
        &mut self,
        id: IdHash,
        report: TaskReport,
    ) -> Result<u64, Stopped> {
        let Some((_, row)) = self.state.open_rows(&[id]).await?.pop() else {
            return Ok(0);
        };
        let mut task = row.task;
        task.status = report.task.status;
        task.issue = report.task.issue;
        task.modified_at = report.task.modified_at.or(task.modified_at);
        let Ok(task) = admit(task) else { return Ok(0) };
        let seen = vec![Seen { id, task, text: 0 }];
        let kinds = self.commit(seen, report.request_id.as_deref()).await?;
        Ok(kinds.len() as u64)
    }

    /// Waits until the outbox has room.
    pub(crate) async fn room(&self, stop: &CancellationToken) -> Result<(), Stopped> {
        if self.outbox.is_full() {
            tracing::warn!(instance = %self.source.instance, "the outbox is full: polling waits");
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Stopped::Shutdown),
            () = self.outbox.room() => Ok(()),
        }
    }
}
