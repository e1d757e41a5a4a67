//! One poll: reads the list of one instance to its end, commits each page as it comes.
//!
//! In: a tick. Out: rows and events in the store, page by page; after a complete sweep absence, the
//! end of the baseline, the heartbeat. Must never happen: absence judged after a sweep that was not
//! complete; a page asked for before the one before is durable.

use jiff::Timestamp;
use syncbell_acr::Page;
use syncbell_event::{Detail, Envelope, Kind, SyncTask, TaskId, TraceParent};
use syncbell_service::crash_point;
use syncbell_store::Batch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::admit::admit;
use crate::instance::Watcher;
use crate::requests::Wanted;
use crate::row::Row;
use crate::snapshot::{Newest, is_wanted, snapshot_of};
use crate::state::{CHUNK_ROWS, Counts, Listed};
use crate::sweep::{Answer, Outcome, PAGE_CAP, Step, Sweep, Why};
use crate::upstream::asked_to_wait;
use crate::watch::swept;

/// A request id is carried in events up to this many characters.
const REQUEST_ID_LIMIT: usize = 128;

/// How often a throttled page is asked for again before the whole poll is given up.
const THROTTLED_TRIES: u32 = 3;

/// The end of a sweep after which what was not listed is not there.
const PROVES_ABSENCE: Step = Step::End(Outcome::Complete {
    proves_absence: true,
});

/// What a complete poll did.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) pages: u32,
    pub(crate) counts: Counts,
    /// What was not listed is not there.
    pub(crate) proves_absence: bool,
    /// The server's time of the first answer.
    pub(crate) seen_until: Timestamp,
    /// What was told.
    pub(crate) told: Vec<Kind>,
}

/// Why a poll did not come to its end.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The process stops.
    Shutdown,
    /// The store is broken.
    Broken(Error),
    /// To be tried again.
    Failed(Failure),
}

/// Why a poll was not complete.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The upstream did not answer as it should.
    Upstream(syncbell_acr::Error),
    /// The list was answered, but it cannot be said what it holds.
    Unstable(Why),
    /// The store takes no rows for now.
    StoreFull(syncbell_store::Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) if error.retry() == syncbell_store::Retry::Later => {
                Self::Failed(Failure::StoreFull(error))
            }
            error => Self::Broken(error),
        }
    }
}

impl Watcher {
    /// Reads the whole list once. What was committed before a failure stays: it was seen.
    pub(crate) async fn poll(&mut self, stop: &CancellationToken) -> Result<Report, Stopped> {
        let started = Instant::now();
        let trace = TraceParent::new(rand::random(), rand::random());
        self.state.begin_turn(trace);
        self.baseline.begin_turn();
        // Asked before the first page: the answer is at least as new as the question.
        let wanted = self.state.wanted().await?;
        let mut sweep = Sweep::new(PAGE_CAP);
        let mut told = Vec::new();
        let mut seen_until = None;
        let mut step = Step::Ask(1);
        while let Step::Ask(page_no) = step {
            let page = self.page(page_no, stop).await?;
            crash_point("poller.page-read");
            // Without a Date our own clock has to do.
            let date = *seen_until.get_or_insert(page.date.unwrap_or_else(Timestamp::now));
            self.baseline.begin(date);
            let (answer, listed) = self.take(page);
            told.extend(self.commit_page(listed).await?);
            step = sweep.answered(&answer.as_answer());
        }
        if let Step::End(Outcome::Unstable(why)) = step {
            return Err(Stopped::Failed(Failure::Unstable(why)));
        }
        let now = Timestamp::now();
        if step == PROVES_ABSENCE {
            told.extend(self.settle_absent(now, stop).await?);
        }
        told.extend(self.finish_baseline(&told, now, stop).await?);
        if let Some(wanted) = wanted {
            told.extend(self.answer(&wanted, now, stop).await?);
        }
        let counts = self.state.counts();
        let seen_until = seen_until.unwrap_or(now);
        if self.watch.is_due(now) {
            let interval = self.longest_interval();
            let swept = swept(seen_until, counts, interval, started.elapsed());
            let envelope = Envelope::swept(&self.source, now, swept);
            self.state.commit_watch(envelope).await?;
            self.watch.told(now);
        }
        Ok(Report {
            pages: sweep.pages(),
            counts,
            proves_absence: step == PROVES_ABSENCE,
            seen_until,
            told,
        })
    }

    /// Asks for one page, once there is room for what it brings. A throttled page in the middle of a
    /// sweep is asked for again: beginning anew would only cost more requests.
    async fn page(&self, page_no: u32, stop: &CancellationToken) -> Result<Page, Stopped> {
        self.room(stop).await?;
        let mut tries = 0;
        loop {
            tries += 1;
            let answered = tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Stopped::Shutdown),
                answered = self.upstream.page(page_no) => answered,
            };
            let error = match answered {
                Ok(page) => return Ok(page),
                Err(error) => error,
            };
            match asked_to_wait(&error) {
                Some(delay) if page_no > 1 && tries < THROTTLED_TRIES => {
                    self.log_failure(&error, error.class(), delay);
                }
                _ => return Err(Stopped::Failed(Failure::Upstream(error))),
            }
        }
    }

    /// Waits until the outbox has room.
    async fn room(&self, stop: &CancellationToken) -> Result<(), Stopped> {
        if self.outbox.is_full() {
            tracing::warn!(instance = %self.source.instance, "the outbox is full: polling waits");
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Stopped::Shutdown),
            () = self.outbox.room() => Ok(()),
        }
    }

    /// Sorts a page: what the sweep needs of it, and what is committed. Names each refused row.
    fn take(&self, page: Page) -> (Taken, Listed) {
        let mut taken = Taken {
            page_no: page.page_no,
            page_size: page.page_size,
            total_count: page.total_count,
            ids: page.tasks.iter().map(|task| task.task_id.clone()).collect(),
            n_rows: page.n_rows,
        };
        let mut refused = Vec::new();
        let mut n_refused = 0;
        let mut refuse = |task_id: Option<TaskId>, reason: &str| {
            n_refused += 1;
            tracing::warn!(
                instance = %self.source.instance,
                task.id = task_id.as_ref().map(TaskId::as_str),
                request.id = page.request_id.as_deref(),
                reason,
                "refused a row of the list"
            );
            refused.extend(task_id);
        };
        let mut tasks: Vec<SyncTask> = Vec::with_capacity(page.tasks.len());
        for task in page.tasks {
            let task_id = task.task_id.clone();
            match admit(task) {
                Ok(task) => tasks.push(task),
                Err(reason) => refuse(Some(task_id), &reason),
            }
        }
        for row in page.refused {
            let task_id = row.task_id.map(TaskId::from);
            taken.ids.extend(task_id.clone());
            refuse(task_id, &row.reason);
        }
        self.metrics.read(page.n_rows as u64, n_refused);
        let detail = page.request_id.map(|request_id| Detail {
            request_id: Some(request_id.chars().take(REQUEST_ID_LIMIT).collect()),
            ..Detail::default()
        });
        let listed = Listed {
            tasks,
            refused,
            detail,
            now: Timestamp::now(),
        };
        (taken, listed)
    }

    async fn commit_page(&mut self, listed: Listed) -> Result<Vec<Kind>, Error> {
        self.baseline.note(&listed.tasks);
        let unsaved = self.baseline.unsaved();
        let baseline = &self.baseline;
        let told = self
            .state
            .commit_listed(listed, |task| baseline.sight(task), unsaved)
            .await?;
        self.baseline.set_saved();
        self.metrics.told(&told);
        self.metrics.outbox(self.outbox.depth());
        Ok(told)
    }

    /// Decides about each task that the sweep did not list.
    async fn settle_absent(
        &mut self,
        now: Timestamp,
        stop: &CancellationToken,
    ) -> Result<Vec<Kind>, Stopped> {
        let mut told = Vec::new();
        for absent in self.state.absent(now).chunks(CHUNK_ROWS) {
            self.room(stop).await?;
            let kinds = self.state.commit_absent(absent, now).await?;
            self.metrics.told(&kinds);
            told.extend(kinds);
        }
        Ok(told)
    }

    /// Tells the notifier how everything stands that it may not know: what is open or bad, what was
    /// modified since, and the newest task of each sync rule.
    async fn answer(
        &mut self,
        wanted: &Wanted,
        now: Timestamp,
        stop: &CancellationToken,
    ) -> Result<Vec<Kind>, Stopped> {
        let requested = Detail {
            requested: true,
            ..Detail::default()
        };
        let mut told = Vec::new();
        let mut newest = Newest::default();
        let mut after = None;
        while let Some((rows, last)) = self.state.rows_after(after).await? {
            after = Some(last);
            let rows = rows.into_iter().filter(|row| row.absent_since.is_none());
            let (now_told, rest): (Vec<Row>, Vec<Row>) =
                rows.partition(|row| is_wanted(row, wanted.since));
            newest.note(rest);
            self.room(stop).await?;
            let changes = now_told.iter().map(snapshot_of).collect();
            let some = self
                .state
                .commit_told(changes, Batch::new(), Some(&requested), now);
            told.extend(some.await?);
        }
        self.room(stop).await?;
        let changes = newest.rows().map(snapshot_of).collect();
        let last = self
            .state
            .commit_told(changes, wanted.answered(), Some(&requested), now);
        told.extend(last.await?);
        self.metrics.told(&told);
        tracing::info!(
            instance = %self.source.instance,
            snapshots = told.len(),
            "told the notifier how everything stands"
        );
        Ok(told)
    }

    /// Tells the last snapshots of a baseline and says what it found. `before` is what the turn told.
    async fn finish_baseline(
        &mut self,
        before: &[Kind],
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
        let found = self.baseline.set_complete();
        self.metrics.told(&told);
        self.metrics.baseline(true);
        self.metrics.untold(found.untold);
        let all = before.iter().chain(&told);
        let n_snapshots = all.clone().filter(|kind| **kind == Kind::Snapshot).count();
        tracing::info!(
            instance = %self.source.instance,
            since = self.baseline.stand().since.map(tracing::field::display),
            tasks = found.tasks,
            open = found.open,
            untold = found.untold,
            told = all.count() - n_snapshots,
            snapshots = n_snapshots,
            "the baseline is complete: failures from before it (untold) are not told"
        );
        Ok(told)
    }
}

/// What the sweep needs of a page whose tasks went elsewhere.
struct Taken {
    page_no: Option<u64>,
    page_size: Option<u64>,
    total_count: Option<u64>,
    ids: Vec<TaskId>,
    n_rows: usize,
}

impl Taken {
    fn as_answer(&self) -> Answer<'_> {
        Answer {
            page_no: self.page_no,
            page_size: self.page_size,
            total_count: self.total_count,
            ids: self.ids.iter().collect(),
            n_rows: self.n_rows,
        }
    }
}
