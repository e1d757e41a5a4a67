//! A throttled answer's delay, measured where the calls come in.

use std::time::Duration;

use syncbell_simulator::{CallRecord, DEMO_INSTANCE, Extent, Fault, inside_pauses};

use crate::watched::{Watched, Wrong, is_swept, watch_while};

const DELAY: Duration = Duration::from_millis(1_500);

/// Calls that were on their way when the answer was.
const UNDER_WAY: Duration = Duration::from_millis(50);

/// How late the next call may be.
const LATE: Duration = Duration::from_millis(100);

const ROUNDS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn the_delay_of_a_throttled_answer_holds_for_all_that_share_the_budget() {
    let instances = [DEMO_INSTANCE, "cri-second", "cri-third"];
    let measured = watch_while(&instances, DELAY * 10, async |watched: &Watched| {
        let all_seen = |events: &[syncbell_event::Envelope]| {
            let swept = |id: &&str| {
                events
                    .iter()
                    .any(|e| is_swept(e) && e.source.instance == *id)
            };
            instances.iter().all(swept)
        };
        watched.until("the first sights", all_seen).await?;
        let mut late = Vec::new();
        for _ in 0..ROUNDS {
            late.push(one_throttle(watched).await?);
        }
        Ok(late)
    });
    let mut late = measured.await.unwrap();
    late.sort_unstable();
    println!("the next call came so long after the end of a delay of {DELAY:?}: {late:?}");
    // One round may meet a machine that is busy with something else.
    assert!(late[ROUNDS / 2] <= LATE, "{late:?}");
    assert!(late[ROUNDS - 1] <= LATE * 10, "{late:?}");
}

/// One throttled answer; gives how long after its delay the next call of any instance came.
async fn one_throttle(watched: &Watched) -> Result<Duration, Wrong> {
    watched.world.forget_calls();
    let retry_after_ms = u64::try_from(DELAY.as_millis()).ok();
    let fault = Fault::Throttled { retry_after_ms };
    let added = watched.world.fault(fault, Extent::Calls(1));
    added.map_err(|error| error.to_string())?;
    let calls = calls_after_it(watched).await?;
    let inside = inside_pauses(&calls, UNDER_WAY);
    if !inside.is_empty() {
        return Err(format!("inside the pause: {inside:?}"));
    }
    let until_us = end_us(&calls).ok_or("nothing was throttled")?;
    let next = calls
        .iter()
        .map(|call| call.at_us)
        .filter(|at| *at >= until_us)
        .min();
    let next = next.ok_or("nothing came after it")?;
    Ok(Duration::from_micros(next - until_us))
}

/// The calls, once each instance has called again.
async fn calls_after_it(watched: &Watched) -> Result<Vec<CallRecord>, Wrong> {
    let wait = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let calls = watched.world.calls();
            let Some(until_us) = end_us(&calls) else {
                continue;
            };
            let mut again: Vec<_> = calls
                .iter()
                .filter(|call| call.at_us >= until_us)
                .map(|call| call.instance_id.clone())
                .collect();
            again.sort();
            again.dedup();
            if again.len() == 3 {
                return calls;
            }
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), wait).await;
    waited.map_err(|_| "an instance did not call again".to_owned())
}

/// When the delay that was asked for is over.
fn end_us(calls: &[CallRecord]) -> Option<u64> {
    let throttled = calls.iter().find(|call| call.wait_ms.is_some())?;
    Some(throttled.answered_us? + throttled.wait_ms? * 1_000)
}
