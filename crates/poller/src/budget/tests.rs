use std::sync::PoisonError;

use proptest::prelude::*;
use serde_json::json;
use syncbell_acr::{Client, ClientOptions, Credentials, ListRepoSyncTask, Static};
use wiremock::matchers::any as any_request;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_pause_holds_all_that_share_the_budget_to_the_millisecond() {
    let budgets = Budgets::default();
    let account = AccountKey::of(1);
    let of = |region: &str| budgets.of(account, region);
    let (one, other) = (of("cn-shanghai"), of("cn-shanghai"));
    let elsewhere = of("cn-beijing");
    let another = budgets.of(AccountKey::of(2), "cn-shanghai");
    let start = Instant::now();
    one.throttled(Some(Duration::from_millis(1_234)));
    elsewhere.take(Lane::Head).await;
    another.take(Lane::Head).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(!other.try_take(Lane::Head));
    other.take(Lane::Sweep).await;
    assert_eq!(start.elapsed(), Duration::from_millis(1_234));
}

#[tokio::test(start_paused = true)]
async fn the_rate_of_each_account_and_region_is_shown() {
    let (metrics, budgets) = (Metrics::default(), Budgets::default());
    budgets.show(&metrics);
    let (one, other) = (AccountKey::of(1), AccountKey::of(2));
    budgets.of(one, "cn-shanghai").throttled(None);
    budgets.of(one, "cn-beijing");
    budgets.of(other, "cn-shanghai");
    let text = metrics.encode();
    for line in [
        "syncbell_budget_requests_per_second{account=\"1\",region=\"cn-beijing\"} 10",
        "syncbell_budget_requests_per_second{account=\"1\",region=\"cn-shanghai\"} 5",
        "syncbell_budget_requests_per_second{account=\"2\",region=\"cn-shanghai\"} 10",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_has_a_token_when_a_pause_begins_asks_again_before_it_sends() {
    let budget = Budget::new();
    let start = Instant::now();
    budget.take(Lane::Head).await;
    budget.pass(false).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    budget.throttled(Some(Duration::from_secs(2)));
    let both = async { tokio::join!(budget.pass(false), budget.pass(false)) };
    both.await;
    // Not both at once when the pause ends: the rate is 5 a second by then.
    assert_eq!(start.elapsed(), Duration::from_millis(2_200));
}

#[tokio::test(start_paused = true)]
async fn a_second_try_counts_as_a_request() {
    let budget = Budget::new();
    for _ in 0..BURST {
        assert!(budget.try_take(Lane::Head));
    }
    let start = Instant::now();
    budget.pass(true).await;
    assert_eq!(start.elapsed(), Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_sweep_leaves_half_of_the_rate_to_the_head_and_few_reads_by_id() {
    let count = |lane| async move {
        let budget = Budget::new();
        let until = Instant::now() + Duration::from_secs(100);
        let mut n = 0.0;
        while Instant::now() < until {
            budget.take(lane).await;
            n += 1.0;
        }
        n / 100.0
    };
    let close = |rate: f64, expected: f64| assert!((rate - expected).abs() < 0.2, "{rate}");
    close(count(Lane::Head).await, 10.0);
    close(count(Lane::Sweep).await, 5.0);
    close(count(Lane::Extra).await, 3.0);
}

#[tokio::test(start_paused = true)]
async fn the_lanes_follow_the_rate_down() {
    let budget = Budget::new();
    budget.throttled(Some(Duration::from_secs(1)));
    assert!((budget.rate() - 5.0).abs() < 1e-9);
    budget.take(Lane::Sweep).await;
    let start = Instant::now();
    for _ in 0..10 {
        budget.take(Lane::Sweep).await;
    }
    let took = start.elapsed().as_secs_f64();
    assert!(
        (3.7..=4.0).contains(&took),
        "10 at about 2.5/s took {took} s"
    );
}

proptest! {
    #[test]
    fn no_lane_gets_more_than_its_share_and_none_goes_in_a_pause(
        steps in prop::collection::vec(
            (0u64..500, 0usize..3, prop::option::weighted(0.05, 0u64..3_000)), 1..300)
    ) {
        let start = Instant::now();
        let (mut now, mut paused_until) = (start, start);
        let mut lanes = Lanes::new(PER_SECOND, now);
        let all = [Lane::Head, Lane::Sweep, Lane::Extra];
        let (mut taken, mut n_pauses) = ([0u32; 3], 0.0);
        for (step_ms, which, delay_ms) in steps {
            now += Duration::from_millis(step_ms);
            if let Some(delay_ms) = delay_ms {
                let delay = Duration::from_millis(delay_ms);
                lanes.throttled(now, Some(delay));
                paused_until = paused_until.max(now + delay);
                n_pauses += 1.0;
            }
            while lanes.take(all[which], now).is_ok() {
                prop_assert!(now >= paused_until);
                taken[which] += 1;
            }
            for (lane, n) in all.into_iter().zip(taken).skip(1) {
                let most = lane.share() * (10.0 + 10.0 * (now - start).as_secs_f64());
                // The one that the server itself said may come after each pause.
                let most = most + n_pauses;
                prop_assert!(f64::from(n) <= most + 1e-6, "{lane:?} took {n} of {most}");
            }
        }
    }
}

/// Asks one page after the other, as an instance does: throttled, it tries again.
async fn ask_pages(budget: &Arc<Budget>, endpoint: &str, n_pages: usize) {
    let endpoint = endpoint.parse().expect("the mock's address is a URL");
    let credentials = Static(Credentials {
        access_key_id: "key".to_owned(),
        secret: "secret".to_owned().into(),
        security_token: None,
    });
    let options = ClientOptions::new(endpoint, "cn-shanghai");
    let client = Client::new(options, Arc::new(credentials)).expect("plain options");
    let client = client.gated(Arc::clone(budget) as Arc<dyn Gate>);
    let mut n_read = 0;
    while n_read < n_pages {
        budget.take(Lane::Head).await;
        let request = ListRepoSyncTask::default();
        n_read += usize::from(client.list_repo_sync_task(&request).await.is_ok());
    }
}

#[tokio::test]
async fn over_sockets_no_sharer_sends_in_a_pause_and_there_is_no_burst_after_it() {
    const PAUSE: Duration = Duration::from_millis(800);
    /// What was under way when the server throttled has arrived by then.
    const UNDER_WAY: Duration = Duration::from_millis(400);
    let arrived: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let seen = Arc::clone(&arrived);
    let server = MockServer::start().await;
    let answer = move |_: &wiremock::Request| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(Instant::now());
        if seen.len() == 5 {
            let body = json!({"Code": "Throttling.User"});
            let throttled = ResponseTemplate::new(400).set_body_json(body);
            return throttled.insert_header("x-acs-retry-after", "800");
        }
        ResponseTemplate::new(200).set_body_json(json!({"SyncTasks": []}))
    };
    Mock::given(any_request())
        .respond_with(answer)
        .mount(&server)
        .await;
    let budget = Arc::new(Budget::new());
    let endpoint = server.uri();
    let sharers = (0..4).map(|_| ask_pages(&budget, &endpoint, 5));
    futures_util::future::join_all(sharers).await;

    let arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(arrived.len(), 21);
    let throttled_at = arrived[4];
    let after: Vec<Duration> = arrived
        .iter()
        .map(|at| at.duration_since(throttled_at))
        .filter(|after| *after > UNDER_WAY)
        .collect();
    assert!(after[0] >= PAUSE, "{:?} is inside the pause", after[0]);
    // The rate is 5 a second by then.
    let gap = after[1].saturating_sub(after[0]);
    assert!(
        gap > Duration::from_millis(50),
        "the second came {gap:?} after the first"
    );
}
