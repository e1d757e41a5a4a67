//! A hundred targets, one of which dies: what the others notice of it.
//!
//! One run, one process. Calm, then the first target accepts connections and never answers, calm again, then it
//! refuses connections; the pace is the same all the time. Compared are the other 99, with and without a dead one.

use std::ops::Range;
use std::time::Duration;

use syncbell_testkit::{ChaosProxy, Mode};
use tokio::time::Instant;

use crate::receiver::Receiver;
use crate::syncbell::{Syncbell, TEAMS};
use crate::{LONGEST, p50_and_p99};

/// All targets together: two alerts a second each.
const A_SECOND: usize = 200;

const WARM: Duration = Duration::from_secs(3);
const CALM: Duration = Duration::from_secs(8);
/// Longer than the deadline of an attempt (10 s): attempts end, the breaker opens, probes go out.
const DEAD: Duration = Duration::from_secs(13);

/// The ratio of issue 8.
const GOAL: f64 = 1.2;

pub(crate) async fn targets() {
    let total = WARM + CALM * 2 + DEAD * 2;
    let receiver = Receiver::start(total.as_secs() as usize * A_SECOND).await;
    let way = ChaosProxy::start(receiver.address()).await;
    let mut urls = vec![receiver.url().to_owned(); TEAMS];
    urls[0] = format!("http://{}/", way.addr());
    let Some(engine) = Syncbell::start_with_one_each(&urls).await else {
        println!("syncbell: {TEAMS} targets: left out");
        return;
    };
    let mut work = Work {
        engine,
        receiver,
        next: 0,
    };
    work.pace(WARM).await;
    work.settled().await;

    let mut calm = work.pace(CALM).await;
    way.set(Mode::Stall).await;
    let silent = work.pace(DEAD).await;
    way.set(Mode::Pass).await;
    work.settled().await;
    calm.extend(work.pace(CALM).await);
    way.set(Mode::Refuse).await;
    way.cut().await;
    let refusing = work.pace(DEAD).await;
    way.set(Mode::Pass).await;
    let all = work.settled().await;

    let figures = |fed: &[(usize, Instant)]| p50_and_p99(work.receiver.latencies_of(fed));
    let without = figures(&calm);
    let [half, most] = without;
    println!(
        "syncbell: {TEAMS} targets, {A_SECOND}/s in all, the other {} while all live: p50 {half:.1} ms, p99 {most:.1} ms",
        TEAMS - 1
    );
    for (what, fed) in [("never answers", silent), ("refuses connections", refusing)] {
        let [half, most] = figures(&fed);
        println!(
            "syncbell: {TEAMS} targets, the other {} while one {what}: p50 {half:.1} ms ({:.2} x), p99 {most:.1} ms \
             ({:.2} x, goal {GOAL} x)",
            TEAMS - 1,
            half / without[0],
            most / without[1],
        );
    }
    let n = work.next;
    println!("syncbell: {TEAMS} targets: {all} of {n} delivered in the end, the dead one's too");
    work.engine.stop().await;
}

struct Work {
    engine: Syncbell,
    receiver: Receiver,
    /// The number of the next alert.
    next: usize,
}

impl Work {
    /// One target after the other, for so long. Gives what was fed to the others than the first, and when.
    async fn pace(&mut self, time: Duration) -> Vec<(usize, Instant)> {
        let n = time.as_secs() as usize * A_SECOND;
        let numbers: Range<usize> = self.next..self.next + n;
        self.next = numbers.end;
        let mut fed = Vec::with_capacity(n);
        let began = Instant::now();
        for (nth, number) in numbers.enumerate() {
            let due = Duration::from_secs_f64(nth as f64 / A_SECOND as f64);
            tokio::time::sleep_until(began + due).await;
            if number % TEAMS != 0 {
                fed.push((number, Instant::now()));
            }
            self.engine.feed(number..number + 1, "ERROR").await;
        }
        fed
    }

    /// Waits until all was taken; gives how many were.
    async fn settled(&self) -> usize {
        self.receiver.until_taken(0..self.next, LONGEST).await
    }
}
