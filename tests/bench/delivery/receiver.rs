//! One webhook that takes, refuses or waits, and knows when each alert came.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use tokio::time::Instant;

/// By it an alert is known in a body of either engine; digits follow.
pub(crate) const MARK: &str = "mark-";

#[derive(Clone, Copy)]
pub(crate) enum Mode {
    Takes,
    /// 500.
    Fails,
    /// 429 until then.
    Throttles(Instant),
    Slow(Duration),
}

struct Log {
    mode: Mode,
    /// When each alert was taken first, and when its end.
    taken: Vec<[Option<Instant>; 2]>,
    n_repeated: usize,
    n_out_of_order: usize,
    /// Tries that were refused.
    refused: Vec<Instant>,
    /// Tries that were taken.
    tries: Vec<Instant>,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    url: String,
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

impl Receiver {
    /// For alerts numbered below `n`, and some to warm up.
    pub(crate) async fn start(n: usize) -> Self {
        let log = Arc::new(Mutex::new(Log {
            mode: Mode::Takes,
            taken: vec![[None; 2]; n + 100],
            n_repeated: 0,
            n_out_of_order: 0,
            refused: Vec::new(),
            tries: Vec::new(),
        }));
        let app = Router::new().fallback(take).with_state(log.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let url = format!("http://{address}/");
        let server = syncbell_service::Shutdown::new();
        let served = server.spawn("receiver", async move { axum::serve(listener, app).await });
        drop(served);
        Self { url, address, log }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.log().mode = mode;
    }

    pub(crate) fn forget(&self) {
        let mut log = self.log();
        log.taken.fill([None; 2]);
        log.tries.clear();
        log.refused.clear();
    }

    async fn until(&self, limit: Duration, taken: impl Fn(&Log) -> usize, n: usize) -> usize {
        let began = Instant::now();
        loop {
            let have = taken(&self.log());
            if have >= n || began.elapsed() > limit {
                return have;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until all of them were taken; gives how many were in the end.
    pub(crate) async fn until_taken(&self, numbers: Range<usize>, limit: Duration) -> usize {
        let n = numbers.len();
        let taken = move |log: &Log| {
            let slots = log.taken[numbers.clone()].iter();
            slots.filter(|slot| slot[0].is_some()).count()
        };
        self.until(limit, taken, n).await
    }

    /// As [`Receiver::until_taken`], of their ends.
    pub(crate) async fn until_ended(&self, numbers: Range<usize>, limit: Duration) -> usize {
        let n = numbers.len();
        let ended = move |log: &Log| {
            let slots = log.taken[numbers.clone()].iter();
            slots.filter(|slot| slot[1].is_some()).count()
        };
        self.until(limit, ended, n).await
    }

    /// Taken a second from `began` to the last one.
    pub(crate) fn a_second(&self, began: Instant) -> f64 {
        let log = self.log();
        let last = log.tries.iter().max().copied().unwrap_or(began);
        log.tries.len() as f64 / last.duration_since(began).as_secs_f64()
    }

    pub(crate) fn best_second(&self) -> f64 {
        let log = self.log();
        let mut tries = log.tries.clone();
        tries.sort_unstable();
        let second = Duration::from_secs(1);
        let in_one = |from: usize| {
            let first = tries[from];
            tries[from..].partition_point(|at| at.duration_since(first) < second)
        };
        (0..tries.len()).step_by(50).map(in_one).max().unwrap_or(0) as f64
    }

    /// From when each was fed to when it was taken.
    pub(crate) fn latencies_ms(&self, fed: &[Instant]) -> Vec<f64> {
        let log = self.log();
        let pairs = fed.iter().zip(&log.taken);
        pairs
            .filter_map(|(fed, slot)| Some(slot[0]?.duration_since(*fed).as_secs_f64() * 1_000.0))
            .collect()
    }

    /// The same, where the number of each is given with it.
    pub(crate) fn latencies_of(&self, fed: &[(usize, Instant)]) -> Vec<f64> {
        let log = self.log();
        let taken = fed.iter().filter_map(|(number, fed)| {
            let taken = log.taken.get(*number)?[0]?;
            Some(taken.duration_since(*fed).as_secs_f64() * 1_000.0)
        });
        taken.collect()
    }

    pub(crate) fn refused(&self) -> usize {
        self.log().refused.len()
    }

    /// Tries refused in the first 100 ms, later ones before the pause was over, and from that to the first try.
    pub(crate) fn after_throttling(&self, pause: Duration) -> (usize, usize, f64) {
        let log = self.log();
        let Some(first) = log.refused.iter().min().copied() else {
            return (0, 0, f64::NAN);
        };
        let over = first + pause;
        let early = |at: &&Instant| **at > first + Duration::from_millis(100) && **at < over;
        let n_early = log.refused.iter().chain(&log.tries).filter(early).count();
        let after = log
            .refused
            .iter()
            .chain(&log.tries)
            .filter(|at| **at >= over);
        let next_ms = after.min().map_or(f64::NAN, |at| {
            at.duration_since(over).as_secs_f64() * 1_000.0
        });
        let at_once = |at: &&Instant| **at <= first + Duration::from_millis(100);
        (log.refused.iter().filter(at_once).count(), n_early, next_ms)
    }

    pub(crate) fn repeated(&self) -> usize {
        self.log().n_repeated
    }

    pub(crate) fn out_of_order(&self) -> usize {
        self.log().n_out_of_order
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn take(State(log): State<Arc<Mutex<Log>>>, headers: HeaderMap, body: Bytes) -> Response {
    let mode = lock(&log).mode;
    match mode {
        Mode::Fails => {
            lock(&log).refused.push(Instant::now());
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        Mode::Throttles(until) if Instant::now() < until => {
            lock(&log).refused.push(Instant::now());
            return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "5")]).into_response();
        }
        Mode::Slow(pause) => tokio::time::sleep(pause).await,
        Mode::Takes | Mode::Throttles(_) => {}
    }
    drop(headers);
    let text = String::from_utf8_lossy(&body);
    let number = text
        .split_once(MARK)
        .map(|(_, rest)| &rest[..6.min(rest.len())]);
    let number: Option<usize> = number.and_then(|digits| digits.parse().ok());
    let ends = usize::from(text.contains(r#""status":"resolved""#));
    let now = Instant::now();
    let mut log = lock(&log);
    log.tries.push(now);
    if let Some(slot) = number.and_then(|number| log.taken.get_mut(number)) {
        let out_of_order = ends == 1 && slot[0].is_none();
        let repeated = slot[ends].is_some();
        slot[ends].get_or_insert(now);
        log.n_out_of_order += usize::from(out_of_order);
        log.n_repeated += usize::from(repeated);
    }
    StatusCode::OK.into_response()
}
