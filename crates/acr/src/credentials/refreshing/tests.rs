//! Time is paused: what waits for nothing but a pause goes on at once, and says how long it took.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use secrecy::ExposeSecret as _;
use tokio::task::yield_now;
use tokio::time::{advance, sleep};

use super::*;

const HOUR: Duration = Duration::from_hours(1);
const ANSWER: Duration = Duration::from_secs(2);

/// Answers in turn, each after [`ANSWER`]; with none left, as an STS that is down.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Issued>>>,
    n_asked: Arc<AtomicUsize>,
    n_asked_at_a_time: Arc<AtomicUsize>,
}

impl Script {
    fn of(answers: &[(&str, Option<Duration>)]) -> Self {
        let script = Self::default();
        for (key, life) in answers {
            script.add(key, *life);
        }
        script
    }

    fn add(&self, key: &str, life: Option<Duration>) {
        let issued = Issued {
            credentials: of(key),
            expires_at: life.map(|life| Timestamp::now() + life),
        };
        self.answers.lock().unwrap().push_back(issued);
    }

    fn n_asked(&self) -> usize {
        self.n_asked.load(Ordering::SeqCst)
    }
}

impl Source for Script {
    fn fetch(&self) -> BoxFuture<'_, Result<Issued, Error>> {
        Box::pin(async {
            self.n_asked.fetch_add(1, Ordering::SeqCst);
            let n = self.n_asked_at_a_time.fetch_add(1, Ordering::SeqCst);
            assert_eq!(n, 0, "two questions at a time");
            sleep(ANSWER).await;
            self.n_asked_at_a_time.fetch_sub(1, Ordering::SeqCst);
            let answer = self.answers.lock().unwrap().pop_front();
            answer.ok_or_else(|| super::super::down("script", "STS is down"))
        })
    }

    fn name(&self) -> &'static str {
        "script"
    }
}

fn of(key: &str) -> Credentials {
    Credentials {
        access_key_id: key.to_owned(),
        secret: "hush".into(),
        security_token: None,
    }
}

/// The key that `provider` gives, and how long that took.
async fn key(provider: &impl CredentialsProvider) -> (Result<String, String>, Duration) {
    let begin = Instant::now();
    let given = provider.credentials().await;
    let key = given.map(|given| given.access_key_id);
    (key.map_err(|error| error.to_string()), begin.elapsed())
}

/// So long after they came, `before` the margin of those that live for `life`.
fn before_the_margin(life: Duration, before: Duration) -> Duration {
    life.saturating_sub(MARGIN + before)
}

async fn key_at_once(provider: &impl CredentialsProvider) -> String {
    let (key, took) = key(provider).await;
    assert_eq!(took, Duration::ZERO);
    key.unwrap()
}

#[tokio::test(start_paused = true)]
async fn fifty_at_once_are_one_question() {
    let script = Script::of(&[("one", Some(HOUR))]);
    let provider = Arc::new(Refreshing::new(script.clone()));
    let mut all = JoinSet::new();
    for _ in 0..50 {
        let provider = Arc::clone(&provider);
        all.spawn(async move { key(&*provider).await });
    }
    for (key, took) in all.join_all().await {
        assert_eq!((key.as_deref(), took), (Ok("one"), ANSWER));
    }
    assert_eq!(script.n_asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn fifty_at_once_share_one_failure() {
    let script = Script::default();
    let provider = Arc::new(Refreshing::new(script.clone()));
    let mut all = JoinSet::new();
    for _ in 0..50 {
        let provider = Arc::clone(&provider);
        all.spawn(async move { key(&*provider).await.0 });
    }
    for key in all.join_all().await {
        assert!(key.unwrap_err().contains("STS is down"));
    }
    assert_eq!(script.n_asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_quarter_of_an_hour_before_the_end_they_are_replaced_and_nobody_waits() {
    let script = Script::of(&[("one", Some(2 * HOUR))]);
    let provider = Refreshing::new(script.clone());
    assert_eq!(key(&provider).await.0.as_deref(), Ok("one"));
    script.add("two", Some(2 * HOUR));

    advance(before_the_margin(2 * HOUR, Duration::from_secs(5))).await;
    assert_eq!(key_at_once(&provider).await, "one");
    yield_now().await;
    assert_eq!(script.n_asked(), 1, "before its time");

    advance(Duration::from_secs(5)).await;
    assert_eq!(key_at_once(&provider).await, "one");
    assert_eq!(key_at_once(&provider).await, "one");
    sleep(ANSWER * 2).await;
    assert_eq!(key_at_once(&provider).await, "two");
    assert_eq!(script.n_asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn of_short_lived_ones_the_last_quarter_is_the_margin() {
    let script = Script::of(&[("one", Some(Duration::from_secs(400)))]);
    let provider = Refreshing::new(script.clone());
    key(&provider).await.0.unwrap();
    script.add("two", Some(HOUR));
    advance(Duration::from_secs(295)).await;
    assert_eq!(key_at_once(&provider).await, "one");
    sleep(ANSWER * 4).await;
    assert_eq!(script.n_asked(), 1);
    assert_eq!(key_at_once(&provider).await, "one");
    sleep(ANSWER * 2).await;
    assert_eq!(key_at_once(&provider).await, "two");
}

#[tokio::test(start_paused = true)]
async fn while_they_are_valid_a_failing_refresh_holds_nobody_up_and_is_tried_again_with_backoff() {
    let script = Script::of(&[("one", Some(HOUR))]);
    let provider = Refreshing::new(script.clone());
    key(&provider).await.0.unwrap();
    advance(before_the_margin(HOUR, Duration::ZERO)).await;
    // Ten minutes at ten requests a second.
    for _ in 0..6000 {
        assert_eq!(key_at_once(&provider).await, "one");
        sleep(Duration::from_millis(100)).await;
    }
    // Pauses of at most 1, 2, 4, … 30 s, at least half of it, and 2 s for each answer.
    let n_refreshes = script.n_asked() - 1;
    assert!((19..=40).contains(&n_refreshes), "{n_refreshes}");

    script.add("two", Some(HOUR));
    sleep(LONGEST_PAUSE).await;
    // This one may still get the old: it asks beside. A question may also have been under way.
    key_at_once(&provider).await;
    sleep(ANSWER * 2).await;
    assert_eq!(key_at_once(&provider).await, "two");
}

#[tokio::test(start_paused = true)]
async fn when_they_are_over_everybody_waits_for_others() {
    let script = Script::of(&[("one", Some(HOUR)), ("two", Some(HOUR))]);
    let provider = Refreshing::new(script.clone());
    key(&provider).await.0.unwrap();
    advance(HOUR).await;
    assert_eq!(key(&provider).await, (Ok("two".to_owned()), ANSWER));
    assert_eq!(script.n_asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn when_they_are_over_and_there_are_no_others_the_source_is_left_alone_for_a_while() {
    let script = Script::of(&[("one", Some(HOUR))]);
    let provider = Refreshing::new(script.clone());
    key(&provider).await.0.unwrap();
    advance(HOUR).await;
    let (said, took) = key(&provider).await;
    assert!(said.unwrap_err().contains("STS is down"));
    assert_eq!(took, ANSWER);
    // The pause is at least half of the first one.
    for _ in 0..4 {
        let (said, took) = key(&provider).await;
        assert!(said.unwrap_err().contains("STS is down"));
        assert_eq!(took, Duration::ZERO);
        sleep(FIRST_PAUSE / 10).await;
    }
    assert_eq!(script.n_asked(), 2);
    script.add("two", Some(HOUR));
    sleep(FIRST_PAUSE).await;
    assert_eq!(key(&provider).await, (Ok("two".to_owned()), ANSWER));
}

#[tokio::test(start_paused = true)]
async fn what_never_ends_is_asked_for_once() {
    let script = Script::of(&[("one", None)]);
    let provider = Refreshing::new(script.clone());
    key(&provider).await.0.unwrap();
    advance(HOUR * 1000).await;
    assert_eq!(key_at_once(&provider).await, "one");
    yield_now().await;
    assert_eq!(script.n_asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_over_on_arrival_is_tried_and_its_source_not_asked_at_each_request() {
    let script = Script::of(&[("one", Some(Duration::ZERO))]);
    let provider = Refreshing::new(script.clone());
    key(&provider).await.0.unwrap();
    for _ in 0..20 {
        assert_eq!(key_at_once(&provider).await, "one");
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(script.n_asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_refused_are_replaced_once_however_often_they_are_refused() {
    let script = Script::of(&[("one", Some(HOUR)), ("two", Some(HOUR))]);
    let provider = Refreshing::new(script.clone());
    let refused = provider.credentials().await.unwrap();
    let (first, second) = tokio::join!(provider.renew(&refused), provider.renew(&refused));
    let third = provider.renew(&refused).await;
    for renewed in [first, second, third] {
        assert_eq!(renewed.unwrap().unwrap().access_key_id, "two");
    }
    assert_eq!(key_at_once(&provider).await, "two");
    assert_eq!(script.n_asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_has_no_others_is_not_asked_for_them_at_each_refusal() {
    let script = Script::of(&[("one", None), ("one", None)]);
    let provider = Refreshing::new(script.clone());
    let refused = provider.credentials().await.unwrap();
    for _ in 0..50 {
        assert!(provider.renew(&refused).await.unwrap().is_none());
    }
    assert_eq!(script.n_asked(), 2);
    script.add("two", None);
    sleep(LONGEST_PAUSE).await;
    let others = provider.renew(&refused).await.unwrap().unwrap();
    assert_eq!(others.access_key_id, "two");
    // That was about the former.
    script.add("three", None);
    let others = provider.renew(&of("two")).await.unwrap().unwrap();
    assert_eq!(others.access_key_id, "three");
}

#[tokio::test(start_paused = true)]
async fn the_refused_are_not_given_again_while_there_are_no_others() {
    let script = Script::of(&[("one", Some(HOUR))]);
    let provider = Refreshing::new(script.clone());
    let refused = provider.credentials().await.unwrap();
    for _ in 0..2 {
        let said = provider.renew(&refused).await.unwrap_err().to_string();
        assert!(said.contains("STS is down"), "{said}");
        assert!(key(&provider).await.0.is_err());
    }
    assert_eq!(script.n_asked(), 2, "one refresh, then a pause");
    script.add("two", Some(HOUR));
    sleep(FIRST_PAUSE).await;
    assert_eq!(key(&provider).await.0.as_deref(), Ok("two"));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_given_up_does_not_keep_the_turn() {
    let script = Script::of(&[("one", Some(HOUR)), ("two", Some(HOUR))]);
    let provider = Refreshing::new(script.clone());
    let given_up = tokio::time::timeout(ANSWER / 2, provider.credentials()).await;
    assert!(given_up.is_err());
    script.n_asked_at_a_time.store(0, Ordering::SeqCst);
    assert_eq!(key(&provider).await, (Ok("one".to_owned()), ANSWER));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_beside_ends_with_its_provider() {
    let script = Script::of(&[("one", Some(HOUR))]);
    let provider = Refreshing::new(script.clone());
    key(&provider).await.0.unwrap();
    advance(before_the_margin(HOUR, Duration::ZERO)).await;
    key_at_once(&provider).await;
    yield_now().await;
    assert_eq!(script.n_asked(), 2);
    drop(provider);
    sleep(ANSWER * 2).await;
    // It would have counted down.
    assert_eq!(script.n_asked_at_a_time.load(Ordering::SeqCst), 1);
}

#[test]
fn a_pause_grows_to_its_limit_and_is_half_by_chance() {
    for (n, longest) in [(0, 1), (1, 2), (4, 16), (5, 30), (40, 30), (u32::MAX, 30)] {
        let longest = Duration::from_secs(longest);
        for _ in 0..100 {
            let pause = pause(n);
            assert!(longest / 2 <= pause && pause <= longest, "{n}: {pause:?}");
        }
    }
}

#[test]
fn credentials_are_told_apart_by_all_they_have() {
    let one = of("one");
    assert!(one.are(&of("one")) && !one.are(&of("two")));
    let with_token = Credentials {
        security_token: Some("token".into()),
        ..of("one")
    };
    assert!(!one.are(&with_token));
    let other_secret = Credentials {
        secret: "other".into(),
        ..of("one")
    };
    assert_eq!(one.secret.expose_secret(), "hush");
    assert!(!one.are(&other_secret));
}
