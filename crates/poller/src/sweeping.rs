//! A full sweep, a page at a time, so that head polls find their time between its pages.
//!
//! In: the next step of an instance's loop. Out: rows and events in the store; at its end absence, the
//! end of the baseline, the answer to what the notifier asked. Must never happen: absence judged after
//! a sweep that was not complete.

use jiff::Timestamp;
use serde::Serialize;
use syncbell_event::{Detail, Kind, SweepKind, SyncTask};
use syncbell_service::crash_point;
use syncbell_store::Batch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::budget::Lane;
use crate::failure::{Failure, Stopped};
use crate::instance::{Report, Watcher, millis};
use crate::requests::Wanted;
use crate::row::IdHash;
use crate::snapshot::{Newest, is_wanted};
use crate::state::CHUNK_ROWS;
use crate::status::LastSweep;
use crate::sweep::{Outcome, PAGE_CAP, Step, Sweep};
use crate::upstream::PAGE_SIZE;

/// A page that failed this often in a row ends the sweep: others may be readable.
const TRIES: u32 = 5;

/// Open tasks that a sweep did not list and that are asked for by their ids; of more, the list is
/// believed.
const LOOK_UPS: usize = 100;

/// A full sweep under way.
#[derive(Debug)]
pub(crate) struct Sweeping {
    sweep: Sweep,
    /// The page to ask for.
    page_no: u32,
    page_size: u64,
    started: Instant,
    /// The server's time of the first answer.
    date: Option<Timestamp>,
    /// What the notifier asked before the first page: the answer is at least as new as the question.
    wanted: Option<Wanted>,
    newest: Newest,
    /// Tasks to tell the notifier of, met since the last commit.
    to_answer: Vec<SyncTask>,
    told: Vec<Kind>,
    /// Failures of the page in a row.
    attempts: u32,
    /// It made way for a head poll while it waited for the budget: now it waits as long as it takes.
    made_way: bool,
}

/// A sweep as it stands, for the status.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SweepStand {
    pages: u32,
    took_ms: u64,
}

impl Sweeping {
    fn new(wanted: Option<Wanted>) -> Self {
        Self {
            sweep: Sweep::new(PAGE_CAP),
            page_no: 1,
            page_size: PAGE_SIZE.into(),
            started: Instant::now(),
            date: None,
            wanted,
            newest: Newest::default(),
            to_answer: Vec::new(),
            told: Vec::new(),
            attempts: 0,
            made_way: false,
        }
    }

    pub(crate) fn stand(&self, now: Instant) -> SweepStand {
        SweepStand {
            pages: self.sweep.pages(),
            took_ms: millis(now - self.started),
        }
    }

    /// It answers what the notifier asked.
    pub(crate) fn answers(&self) -> bool {
        self.wanted.is_some()
    }

    /// Takes note of a page's tasks, where the notifier is to be told of them.
    pub(crate) fn note<'a>(&mut self, tasks: impl Iterator<Item = &'a SyncTask>) {
        let Some(wanted) = &self.wanted else { return };
        for task in tasks {
            if is_wanted(task, wanted.since) {
                self.to_answer.push(task.clone());
            } else {
                self.newest.note(task);
            }
        }
    }
}

impl Watcher {
    /// Asks for the next page; begins a sweep where none is under way. `Some` at its complete end.
    /// Gives up waiting for the budget at `until`.
    pub(crate) async fn sweep_on(
        &mut self,
        until: Option<Instant>,
        stop: &CancellationToken,
    ) -> Result<Option<Report>, Stopped> {
        if self.sweeping.is_none() {
            self.begin_sweep().await?;
        }
        self.begin_turn();
        self.room(stop).await?;
        if !self.admitted(until, stop).await? {
            return Ok(None);
        }
        let Some(page_no) = self.sweeping.as_ref().map(|sweeping| sweeping.page_no) else {
            return Ok(None);
        };
        let page = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Stopped::Shutdown),
            page = self.upstream.page(page_no) => page?,
        };
        crash_point("poller.page-read");
        let date = page.date.unwrap_or_else(Timestamp::now);
        self.baseline.begin(date);
        let (intake, kinds) = self.take(&page, page_no).await?;
        if let Some(since) = self.baseline.stand().since {
            self.sighting.began(since).await;
        }
        self.answer_page(stop).await?;
        self.schedule.read_first_page();
        self.page_came();
        let Some(sweeping) = &mut self.sweeping else {
            return Ok(None);
        };
        sweeping.attempts = 0;
        sweeping.date.get_or_insert(date);
        sweeping.page_size = intake.page_size().unwrap_or(sweeping.page_size);
        sweeping.told.extend(kinds);
        match sweeping.sweep.answered(&intake.as_answer()) {
            Step::Ask(page_no) => {
                sweeping.page_no = page_no;
                Ok(None)
            }
            Step::End(Outcome::Unstable(why)) => {
                sweeping.attempts = TRIES;
                Err(Stopped::Failed(Failure::Unstable(why)))
            }
            Step::End(Outcome::Complete {
                proves_absence,
                newest_first,
            }) => {
                self.schedule.set_newest_first(newest_first);
                self.finish_sweep(proves_absence, stop).await
            }
        }
    }

    /// Waits until the budget has a request for a sweep; false where a head poll has its time before.
    async fn admitted(
        &mut self,
        until: Option<Instant>,
        stop: &CancellationToken,
    ) -> Result<bool, Stopped> {
        // Head polls may use the whole budget: not twice in a row.
        let made_way = self
            .sweeping
            .as_ref()
            .is_some_and(|sweeping| sweeping.made_way);
        let give_up = async {
            match until.filter(|_| !made_way) {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Stopped::Shutdown),
            () = self.upstream.admitted(Lane::Sweep) => {
                self.made_way(false);
                Ok(true)
            }
            () = give_up => {
                self.made_way(true);
                Ok(false)
            }
        }
    }

    /// A page of the sweep was read: what its failure told is over, and the next heartbeat says so.
    fn page_came(&mut self) {
        if let Some(failing) = self.failing.take_if(|failing| failing.of_sweep) {
            self.watch.failed();
            self.log_over(&failing);
        }
    }

    fn made_way(&mut self, made_way: bool) {
        if let Some(sweeping) = &mut self.sweeping {
            sweeping.made_way = made_way;
        }
    }

    async fn begin_sweep(&mut self) -> Result<(), Stopped> {
        let wanted = self.state.wanted().await?;
        self.baseline.begin_sweep();
        self.state.index.begin_sweep();
        self.schedule
            .sweep_begins(Instant::now(), self.pace.interval());
        self.sweeping = Some(Sweeping::new(wanted));
        Ok(())
    }

    /// What was read so far is too old: a sweep from the start comes soon.
    pub(crate) fn sweep_anew(&mut self) {
        self.sweeping = None;
        self.schedule.sweep_soon(Instant::now());
    }

    /// Whether the sweep under way ends with this failure of its page.
    pub(crate) fn gives_up(&mut self, failure: &Failure) -> bool {
        let Some(sweeping) = &mut self.sweeping else {
            return true;
        };
        // Waiting as asked, and for space, costs nothing.
        if !failure.is_throttled() && !matches!(failure, Failure::StoreFull(_)) {
            sweeping.attempts += 1;
        }
        sweeping.attempts >= TRIES
    }

    async fn finish_sweep(
        &mut self,
        proves_absence: bool,
        stop: &CancellationToken,
    ) -> Result<Option<Report>, Stopped> {
        let now = Timestamp::now();
        if proves_absence {
            let absent = self.settle_absent(now, stop).await?;
            self.note_told(absent);
        }
        let snapshots = self.finish_baseline(now, stop).await?;
        self.note_told(snapshots);
        self.finish_answer(now, stop).await?;
        let Some(sweeping) = self.sweeping.take() else {
            return Ok(None);
        };
        let report = Report {
            sweep: SweepKind::Full,
            pages: sweeping.sweep.pages(),
            seen_until: sweeping.date.unwrap_or(now),
            told: sweeping.told.len() as u64,
            took: sweeping.started.elapsed(),
        };
        self.sighting.swept(report.seen_until, &self.outbox);
        self.note_sweep(report, proves_absence, now);
        Ok(Some(report))
    }

    fn note_sweep(&mut self, report: Report, proves_absence: bool, now: Timestamp) {
        let counts = self.state.index.counts();
        let last = self.last_sweep.as_ref();
        if last.is_none_or(|last| last.proves_absence) && !proves_absence {
            tracing::warn!(
                instance = %self.source.instance,
                tasks = counts.tasks,
                "the list has rows without an id, or fewer than its TotalCount: tasks that are \
                 gone from it are not told as vanished"
            );
        }
        self.metrics.swept(now);
        self.last_sweep = Some(LastSweep {
            ended_at: now,
            seen_until: report.seen_until,
            took_ms: millis(report.took),
            pages: report.pages,
            tasks: counts.tasks,
            open: counts.open,
            proves_absence,
        });
    }

    fn note_told(&mut self, kinds: Vec<Kind>) {
        self.metrics.told(&kinds);
        if let Some(sweeping) = &mut self.sweeping {
            sweeping.told.extend(kinds);
        }
    }

    /// Decides about each task that the sweep did not list.
    async fn settle_absent(
        &mut self,
        now: Timestamp,
        stop: &CancellationToken,
    ) -> Result<Vec<Kind>, Stopped> {
        let mut told = Vec::new();
        let mut absent = self.state.index.absent(now);
        let found = self.look_up(&absent, stop).await?;
        absent.retain(|id| !found.contains(id));
        for absent in absent.chunks(CHUNK_ROWS) {
            self.room(stop).await?;
            told.extend(self.state.commit_absent(absent, now).await?);
        }
        Ok(told)
    }

    /// Asks for the open ones among `absent`, each by its id. Those that are there after all, or of
    /// which nothing can be said, are not absent.
    async fn look_up(
        &mut self,
        absent: &[IdHash],
        stop: &CancellationToken,
    ) -> Result<Vec<IdHash>, Stopped> {
        let mut found = Vec::new();
        let open = absent.iter().filter(|id| self.state.index.is_open(**id));
        let open: Vec<IdHash> = open.take(LOOK_UPS).copied().collect();
        for (id, row) in self.state.open_rows(&open).await? {
            if !self.upstream.has_tasks_by_id() {
                break;
            }
            if !self.upstream.answers_by_id() {
                found.push(id);
                continue;
            }
            self.room(stop).await?;
            let asked = tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Stopped::Shutdown),
                asked = self.upstream.task(row.task.task_id.as_str()) => asked,
            };
            match asked {
                Ok(Some(report)) => {
                    self.looked_at(id, report).await?;
                    found.push(id);
                }
                // The list and the server agree, or the server does not say: then the list counts.
                Ok(None) => {}
                Err(_) if !self.upstream.has_tasks_by_id() => {}
                Err(_) => found.push(id),
            }
        }
        Ok(found)
    }

    /// Tells the notifier how those of the page's tasks stand that it may not know.
    async fn answer_page(&mut self, stop: &CancellationToken) -> Result<(), Stopped> {
        let Some(sweeping) = &mut self.sweeping else {
            return Ok(());
        };
        let tasks = std::mem::take(&mut sweeping.to_answer);
        if tasks.is_empty() {
            return Ok(());
        }
        let told_since = sweeping.wanted.as_ref().and_then(|wanted| {
            let baseline = self.baseline.stand().since;
            wanted
                .fresh
                .then(|| baseline.map_or(wanted.since, |at| at.max(wanted.since)))
        });
        let is_news = |task: &SyncTask| {
            told_since.is_none_or(|since| task.touched_at().is_some_and(|at| at >= since))
        };
        let (news, known): (Vec<SyncTask>, Vec<SyncTask>) = tasks.into_iter().partition(is_news);
        self.room(stop).await?;
        let (detail, now) = (requested(), Timestamp::now());
        for (tasks, detail) in [(known, None), (news, Some(&detail))] {
            let changes = self.state.snapshots(tasks).await?;
            let told = self.state.commit_told(changes, Batch::new(), detail, now);
            let told = told.await?;
            self.note_told(told);
        }
        Ok(())
    }

    /// The newest task of each sync rule, and that the question is answered.
    async fn finish_answer(
        &mut self,
        now: Timestamp,
        stop: &CancellationToken,
    ) -> Result<(), Stopped> {
        let Some(sweeping) = &mut self.sweeping else {
            return Ok(());
        };
        let Some(wanted) = sweeping.wanted.clone() else {
            return Ok(());
        };
        let newest: Vec<SyncTask> = sweeping.newest.tasks().cloned().collect();
        self.room(stop).await?;
        let changes = self.state.snapshots(newest).await?;
        let detail = requested();
        let told = self
            .state
            .commit_told(changes, wanted.answered(), Some(&detail), now);
        let told = told.await?;
        self.note_told(told);
        let instance = self.source.instance.as_str();
        tracing::info!(instance, "told the notifier how everything stands");
        Ok(())
    }

    /// Tells the last snapshots of a baseline and says what it found.
    async fn finish_baseline(
        &mut self,
        now: Timestamp,
        stop: &CancellationToken,
    ) -> Result<Vec<Kind>, Stopped> {
        let Some((mut snapshots, batch)) = self.baseline.finish() else {
            return Ok(Vec::new());
        };
        let mut told = Vec::new();
        while snapshots.len() > CHUNK_ROWS {
            self.room(stop).await?;
            let later = snapshots.split_off(CHUNK_ROWS);
            let some = self.state.commit_told(snapshots, Batch::new(), None, now);
            told.extend(some.await?);
            snapshots = later;
        }
        self.room(stop).await?;
        let last = self.state.commit_told(snapshots, batch, None, now);
        told.extend(last.await?);
        let recovered = self.baseline.recovers();
        let found = self.baseline.set_complete();
        self.metrics.baseline(true);
        self.metrics.untold(found.untold);
        let before = self.sweeping.iter().flat_map(|sweeping| &sweeping.told);
        let all = before.chain(&told);
        let n_snapshots = all.clone().filter(|kind| **kind == Kind::Snapshot).count();
        tracing::info!(
            instance = %self.source.instance,
            since = self.baseline.stand().since.map(tracing::field::display),
            tasks = found.tasks,
            open = found.open,
            untold = found.untold,
            told = all.count() - n_snapshots,
            snapshots = n_snapshots,
            "{}",
            if recovered {
                "the lost rows are read again: failures from before the loss (untold) are not told again"
            } else {
                "the baseline is complete: failures from before it (untold) are not told"
            }
        );
        Ok(told)
    }
}

fn requested() -> Detail {
    Detail {
        requested: true,
        ..Detail::default()
    }
}
