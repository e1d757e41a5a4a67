//! Who watches the watcher: a dead man's switch outside hears a heartbeat while all is seen, and the fallback hears of
//! a receiver that nothing reaches.

use syncbell_event::Status;
use syncbell_simulator::NewTask;
use syncbell_testkit::binary::Source;
use syncbell_testkit::chaos::Mode;
use syncbell_testkit::{Answer, ChaosProxy, WebhookReceiver, eventually};

use crate::bad_input::metrics;
use crate::house::{House, WAIT};
use crate::mailbox::text_of;

/// Turns of a heartbeat, or tries of a receiver, within which what must not happen would.
const TURNS: usize = 4;

fn fail(house: &House, name: &str) {
    let task = NewTask::of(&format!("watchdog/{name}"), "v1").id(&format!("rst-{name}"));
    house.simulator.world().add_task(task.status(Status::Error));
}

/// How often the service that runs logged `what`.
async fn logged(house: &House, what: &str) -> usize {
    let binary = house.binary.lock().await;
    let running = binary.as_ref().expect("it runs");
    let text = running.text(Source::Stdout) + &running.text(Source::Stderr);
    text.matches(what).count()
}

/// The value of a series of the service that runs.
async fn counted(house: &House, series: &str) -> usize {
    let binary = house.binary.lock().await;
    let text = metrics(binary.as_ref().expect("it runs")).await;
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("{series} is not counted: {text}"))
}

/// Waits until that value has grown by so many.
async fn grown(house: &House, series: &str, by: usize) {
    let from = counted(house, series).await;
    eventually(&format!("{by} more of {series}"), WAIT, async || {
        (counted(house, series).await >= from + by).then_some(())
    })
    .await;
}

async fn says(house: &House, what: &str) {
    let binary = house.binary.lock().await;
    let running = binary.as_ref().expect("it runs");
    running.wait_for_line(what, WAIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_comes_while_all_is_seen_and_stops_when_the_registry_is_cut_off() {
    let mut house = House::build().await;
    let switch = WebhookReceiver::start_without_secret().await;
    let way = ChaosProxy::start(house.simulator.addr()).await;
    house.endpoint = format!("http://{}", way.addr());
    let more = format!(
        "rules: {{blind: {{after: 3s}}}}\nheartbeat: {{url: '{}', every: 1s}}\n",
        switch.url()
    );
    house.more = more.leak();
    house.start().await;
    house.baseline().await;
    let pings = switch.wait_for_accepted(3, WAIT).await;
    assert!(
        pings
            .iter()
            .all(|ping| ping.method == "POST" && ping.raw.is_empty())
    );

    let held_back = "the heartbeat is held back";
    let at_start = logged(&house, held_back).await;
    way.set(Mode::Refuse).await;
    way.cut().await;
    eventually("the blindness", WAIT, async || {
        (house.blindness() == ["firing unavailable"]).then_some(())
    })
    .await;
    eventually("the heartbeat to be held back", WAIT, async || {
        (logged(&house, held_back).await > at_start).then_some(())
    })
    .await;
    let so_far = switch.requests().len();
    grown(
        &house,
        "syncbell_heartbeats_total{outcome=\"held_back\"}",
        TURNS,
    )
    .await;
    assert_eq!(switch.requests().len(), so_far, "a ping of a blind service");
    assert_eq!(logged(&house, held_back).await, at_start + 1, "said once");

    // The switch itself is down when the registry is back: said once, and it goes on.
    switch.answer_always(Answer::status(500));
    way.set(Mode::Pass).await;
    switch.wait_for(so_far + 3, WAIT).await;
    says(&house, "the heartbeat does not arrive").await;
    assert_eq!(logged(&house, "the heartbeat does not arrive").await, 1);
    assert_eq!(
        logged(&house, switch.url()).await,
        0,
        "the URL may be a secret"
    );
    let accepted = switch.accepted().len();
    switch.answer_always(Answer::status(204));
    switch.wait_for_accepted(accepted + 2, WAIT).await;
    says(&house, "the heartbeat is sent again").await;
    for outcome in ["sent", "failed", "held_back"] {
        let series = format!("syncbell_heartbeats_total{{outcome=\"{outcome}\"}}");
        assert!(counted(&house, &series).await > 0, "{series}");
    }
    assert!(house.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fallback_hears_once_of_a_dead_receiver_and_once_that_it_lives() {
    let mut house = House::build().await;
    house.receivers = "[ops]";
    house.grouping = "group_by: ['...'], fallback: mail";
    house.more = "watchdog: {receiver_failing_for: 2s}\n";
    house.webhook.answer_always(Answer::status(502));
    house.start().await;
    house.baseline().await;
    fail(&house, "one");
    // A mail that was taken as the process died comes again, under its own id.
    let subjects = || -> Vec<String> {
        let mut mails = house.mailbox.mails();
        let mut ids = std::collections::BTreeSet::new();
        mails.retain(|mail| ids.insert(mail.message_id()));
        let first = |mail| text_of(mail).lines().next().unwrap_or_default().to_owned();
        mails.iter().map(first).collect()
    };
    let told = eventually("what the fallback is told", WAIT, async || {
        Some(subjects()).filter(|told| !told.is_empty())
    })
    .await;
    assert!(
        told[0].starts_with("nothing has reached ops since "),
        "{told:?}"
    );
    assert!(told[0].contains("HTTP 502"), "{told:?}");

    // Neither the next look nor a death tells it again.
    house.kill().await;
    house.start_again().await;
    fail(&house, "two");
    let seen = house.webhook.requests().len();
    house.webhook.wait_for(seen + 2 * TURNS, WAIT).await;
    assert_eq!(subjects().len(), 1, "{:?}", subjects());

    house.webhook.answer_always(Answer::status(204));
    let told = eventually("the end", WAIT, async || {
        Some(subjects()).filter(|told| told.len() > 1)
    })
    .await;
    assert!(
        told[1].starts_with("ops is reached again, after "),
        "{told:?}"
    );
    eventually("what waited for the receiver", WAIT, async || {
        (house.webhook_got().len() == 2).then_some(())
    })
    .await;
    eventually("the look at which nothing fails", WAIT, async || {
        (counted(&house, "syncbell_receivers_failing").await == 0).then_some(())
    })
    .await;
    fail(&house, "three");
    eventually("what comes after it", WAIT, async || {
        (house.webhook_got().len() == 3).then_some(())
    })
    .await;
    assert_eq!(subjects().len(), 2, "{:?}", subjects());
    assert!(house.stop().await.success());
}
