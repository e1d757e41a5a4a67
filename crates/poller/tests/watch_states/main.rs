//! In which state an instance is watched, whatever the upstream does: the poller with its real client
//! against the simulator, over sockets.
//!
//! An upstream that cannot be read is told once, with the right reason, and once that it is over, which
//! needs nobody; what failed meanwhile is told then. What hides nothing is never told as blindness.

#![expect(clippy::print_stdout, reason = "the table of what was seen")]

mod watched;
mod blinding;
mod harmless;
mod throttle;

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use syncbell_event::{Envelope, Event, Failing, Recovered};
use syncbell_simulator::{DEMO_INSTANCE, Extent, Options};
use tokio::time::Instant;

use blinding::Trouble;
use watched::{Watched, Wrong, is_swept, told, watch_while};

/// Pollers that run at a time.
const AT_A_TIME: usize = 24;

/// When blindness is told, where it is waited for.
const BLIND_SOON: Duration = Duration::from_millis(500);

/// When it is told where it must not be: longer than the second that one failure may cost.
const BLIND_LATE: Duration = Duration::from_secs(3);

/// The longest time until it is told: two requests that are waited for in full (one for a task's id, that
/// proves nothing, and one for the list).
const TOLD_AFTER: Duration = Duration::from_secs(33);

/// The longest time to the next try once a failure lasts, and to the end of that try.
const NEXT_TRY: Duration = Duration::from_secs(17);

/// A row's name, and what was seen, or what was wrong.
type Seen = (String, Result<String, Wrong>);

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_be_blind_is_told_with_its_reason_and_ends_by_itself() {
    let rows = blinding::rows().into_iter();
    verdict(all(rows.map(|row| blinds(row).boxed()).collect()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hides_nothing_is_not_told_as_blindness() {
    let rows = harmless::rows().into_iter();
    verdict(all(rows.map(|row| hides_nothing(row).boxed()).collect()).await);
}

async fn all(rows: Vec<BoxFuture<'static, Seen>>) -> Vec<Seen> {
    let rows = futures_util::stream::iter(rows);
    rows.buffer_unordered(AT_A_TIME).collect().await
}

async fn blinds((name, trouble, reason): blinding::Row) -> Seen {
    let story = async |watched: &Watched| blind_and_back(watched, &trouble, reason).await;
    (name, watch_while(&[DEMO_INSTANCE], BLIND_SOON, story).await)
}

async fn hides_nothing((name, fault, target, extent): harmless::Row) -> Seen {
    let story = async |watched: &Watched| {
        watched
            .until("the first sight", |events| events.iter().any(is_swept))
            .await?;
        let added = watched.world.fault_for(target, fault, extent);
        added.map_err(|error| error.to_string())?;
        goes_on(watched, extent).await
    };
    (name, watch_while(&[DEMO_INSTANCE], BLIND_LATE, story).await)
}

/// Prints the table; panics with the rows that went wrong.
fn verdict(mut rows: Vec<Seen>) {
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let mut wrong = Vec::new();
    for (name, seen) in &rows {
        let text = match seen {
            Ok(seen) => seen.clone(),
            Err(why) => {
                wrong.push(format!("{name}: {why}"));
                format!("WRONG: {why}")
            }
        };
        println!("{name:<58} {text}");
    }
    println!("{} rows", rows.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One row of the blinding ones: seen, blind, seen again.
async fn blind_and_back(
    watched: &Watched,
    trouble: &Trouble,
    reason: &'static str,
) -> Result<String, Wrong> {
    watched
        .until("the first sight", |events| events.iter().any(is_swept))
        .await?;
    let began = Instant::now();
    match trouble {
        Trouble::Fault(fault) => {
            let added = watched.world.fault(fault.clone(), Extent::Always);
            added.map_err(|error| error.to_string())?;
        }
        Trouble::Key(id, secret) => watched.set_key(id, secret),
    }
    watched.fail("rst-meanwhile");
    let is_failing = |events: &[Envelope]| events.iter().any(|event| failing(event).is_some());
    watched.until("watch.failing", is_failing).await?;
    let told_after = began.elapsed();
    if told_after > TOLD_AFTER {
        return Err(format!("told after {told_after:?} only"));
    }

    watched.world.clear_faults();
    let options = Options::default();
    watched.set_key(&options.access_key_id, &options.access_key_secret);
    let ended = Instant::now();
    watched
        .until("watch.recovered and a sight", sees_again)
        .await?;
    let back_after = ended.elapsed();
    if back_after > NEXT_TRY {
        return Err(format!("it took {back_after:?} to see again"));
    }
    watched
        .until("what failed meanwhile", |events| {
            told(events, "rst-meanwhile") > 0
        })
        .await?;
    watched.turns(3).await?;
    let (failing, recovered) = once(&watched.events())?;
    if failing.reason != reason {
        let Failing {
            reason: said,
            message,
            ..
        } = failing;
        return Err(format!("{said} instead of {reason}: {message}"));
    }
    if (&recovered.reason, recovered.since) != (&failing.reason, failing.since) {
        return Err(format!("{recovered:?} does not end {failing:?}"));
    }
    Ok(format!(
        "{reason:<12} told after {:>5} ms, seen again after {:>5} ms",
        told_after.as_millis(),
        back_after.as_millis()
    ))
}

/// The one failure, and the one end of it; what failed meanwhile was told once.
fn once(events: &[Envelope]) -> Result<(Failing, Recovered), Wrong> {
    let begun: Vec<&Failing> = events.iter().filter_map(failing).collect();
    let over: Vec<&Recovered> = events.iter().filter_map(recovered).collect();
    let n_told = told(events, "rst-meanwhile");
    match (&begun[..], &over[..], n_told) {
        ([begun], [over], 1) => Ok(((*begun).clone(), (*over).clone())),
        _ => Err(format!(
            "{begun:?}, then {over:?}, and what failed meanwhile {n_told} times"
        )),
    }
}

fn sees_again(events: &[Envelope]) -> bool {
    let over = events.iter().position(|event| recovered(event).is_some());
    over.is_some_and(|at| events[at..].iter().any(is_swept))
}

fn failing(envelope: &Envelope) -> Option<&Failing> {
    match &envelope.event {
        Event::Failing(failing) => Some(failing),
        _ => None,
    }
}

fn recovered(envelope: &Envelope) -> Option<&Recovered> {
    match &envelope.event {
        Event::Recovered(recovered) => Some(recovered),
        _ => None,
    }
}

/// One row of the harmless ones: turns go on, failures are told, blindness is not.
async fn goes_on(watched: &Watched, extent: Extent) -> Result<String, Wrong> {
    let since = Instant::now();
    watched.fail("rst-under-it");
    watched
        .until("a failure under it", |events| {
            told(events, "rst-under-it") > 0
        })
        .await?;
    let told_after = since.elapsed();
    watched.turns(6).await?;
    while since.elapsed() < BLIND_LATE * 2 {
        watched.turns(1).await?;
    }
    if matches!(extent, Extent::Always) && watched.world.counts().faults.is_empty() {
        return Err("the fault was over too soon".to_owned());
    }
    let events = watched.events();
    if let Some(failing) = events.iter().find_map(failing) {
        return Err(format!("told as blindness: {failing:?}"));
    }
    let n_told = told(&events, "rst-under-it");
    if n_told != 1 {
        return Err(format!("the failure was told {n_told} times"));
    }
    Ok(format!(
        "a failure told after {:>5} ms",
        told_after.as_millis()
    ))
}
