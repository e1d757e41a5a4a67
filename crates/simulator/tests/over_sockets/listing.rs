use jiff::{SignedDuration, Timestamp};
use reqwest::Method;

use syncbell_event::Status;
use syncbell_simulator::{DEMO_INSTANCE, NewTask, Options, Script, Simulator};

use crate::client::{call, ids, page, start};

#[tokio::test]
async fn pages_come_newest_first_with_what_was_asked_for() {
    let handle = start().await;
    handle.world().load(Script::demo());
    let first = page(&handle, 1, 8).await;
    assert_eq!(first["PageNo"], 1);
    assert_eq!(first["PageSize"], 8);
    assert_eq!(first["TotalCount"], "20");
    assert_eq!(first["Code"], "success");
    let mut all = ids(&first);
    all.extend(ids(&page(&handle, 2, 8).await));
    all.extend(ids(&page(&handle, 3, 8).await));
    let expected: Vec<_> = (1..=20).map(|n| format!("rst-demo0000000{n:02}")).collect();
    assert_eq!(all, expected);
    assert_eq!(ids(&page(&handle, 4, 8).await).len(), 0);
    assert!(handle.stop().await);
}

#[tokio::test]
async fn the_default_page_has_thirty_rows_and_get_works_too() {
    let handle = start().await;
    for n in 0..40 {
        handle.world().add_task(NewTask::of("a/b", &n.to_string()));
    }
    let mut call = call(&[("InstanceId", DEMO_INSTANCE)]);
    call.method = Method::GET;
    let (_, body) = call.json(&handle).await;
    assert_eq!(
        (ids(&body).len(), &body["PageNo"], &body["PageSize"]),
        (30, &1.into(), &30.into())
    );
    assert_eq!(ids(&page(&handle, 1, 1000).await).len(), 40);
}

#[tokio::test]
async fn a_filter_narrows_the_list() {
    let handle = start().await;
    handle.world().load(Script::demo());
    let query = [
        ("InstanceId", DEMO_INSTANCE),
        ("RepoNamespaceName", "data"),
        ("RepoName", "ingest"),
    ];
    let (_, body) = call(&query).json(&handle).await;
    assert_eq!(body["TotalCount"], "3");
    assert!(body["SyncTasks"][0]["ImageFrom"]["RepoName"] == "ingest");
}

#[tokio::test]
async fn a_wrong_call_is_refused_as_the_vendor_refuses_it() {
    let handle = start().await;
    let good = || call(&[("InstanceId", DEMO_INSTANCE)]);

    let mut bad = good();
    bad.key_id = "another".to_owned();
    assert_eq!(
        bad.code(&handle).await,
        (404, "InvalidAccessKeyId.NotFound".to_owned())
    );

    let mut bad = good();
    bad.secret = "another".to_owned();
    let (status, body) = bad.json(&handle).await;
    assert_eq!(
        (status, &body["Code"]),
        (400, &"SignatureDoesNotMatch".into())
    );
    let message = body["Message"].as_str().unwrap();
    assert!(message.starts_with(
        "Specified signature is not matched with our calculation. \
         server string to sign is:ACS3-HMAC-SHA256\n"
    ));
    assert_eq!(body["HostId"], handle.addr().to_string());

    let mut bad = good();
    bad.date = Timestamp::now() - SignedDuration::from_mins(16);
    assert_eq!(
        bad.code(&handle).await,
        (400, "InvalidTimeStamp.Expired".to_owned())
    );

    let mut bad = good();
    bad.action = "ListRepoSyncTasks".to_owned();
    assert_eq!(
        bad.code(&handle).await,
        (404, "InvalidAction.NotFound".to_owned())
    );

    assert_eq!(
        call(&[]).code(&handle).await,
        (400, "MissingInstanceId".to_owned())
    );
    let bad = call(&[("InstanceId", DEMO_INSTANCE), ("PageNo", "x")]);
    assert_eq!(
        bad.code(&handle).await,
        (400, "InvalidParameter".to_owned())
    );

    let (status, body) = call(&[("InstanceId", "cri-none")]).json(&handle).await;
    assert_eq!((status, &body["IsSuccess"]), (200, &false.into()));
    assert_eq!(body["Code"], "INSTANCE_NOT_EXIST");

    let once = good();
    assert_eq!(once.code(&handle).await.0, 200);
    assert_eq!(
        once.code(&handle).await,
        (400, "SignatureNonceUsed".to_owned())
    );
}

#[tokio::test]
async fn every_answer_has_the_servers_date() {
    let skew = SignedDuration::from_mins(-20);
    let options = Options {
        clock_skew: skew,
        ..Options::default()
    };
    let handle = Simulator::start(options).await.unwrap();
    let response = call(&[("InstanceId", DEMO_INSTANCE)])
        .send(&handle)
        .await
        .unwrap();
    assert_eq!(response.status(), 400);
    let date = response.headers()["date"].to_str().unwrap();
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(date)
        .unwrap();
    let off = Timestamp::now().duration_since(date) + skew;
    assert!(off.abs() < SignedDuration::from_secs(60), "{off}");
    let state = reqwest::Client::builder().build().unwrap();
    let state = state
        .get(format!("{}/_simulator/state", handle.url()))
        .send()
        .await
        .unwrap();
    assert!(state.headers().contains_key("date"));
    // Signed by the server's clock, the call is good, and tasks bear that clock's time.
    handle.world().add_task(NewTask::of("a/b", "1"));
    let mut call = call(&[("InstanceId", DEMO_INSTANCE)]);
    call.date = Timestamp::now() + skew;
    let (status, body) = call.json(&handle).await;
    assert_eq!(status, 200);
    let created = body["SyncTasks"][0]["CreateTime"].as_i64().unwrap();
    assert!(Timestamp::now().as_millisecond() - created >= 20 * 60_000);
}

#[tokio::test]
async fn rows_inserted_while_paging_are_read_twice_and_never_missed_from_the_front() {
    let handle = start().await;
    for n in 0..30 {
        let task = NewTask::of("a/b", &n.to_string()).status(Status::Success);
        handle.world().add_task(task);
    }
    handle.world().insert_while_paging(3);
    let mut seen = Vec::new();
    for page_no in 1..=4 {
        seen.extend(ids(&page(&handle, page_no, 10).await));
    }
    let n_rows = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((n_rows, seen.len()), (33, 30));
    assert_eq!(handle.world().counts().tasks, 33);
    assert_eq!(
        handle.world().ledger().unserved().len(),
        1,
        "one of the three is a failure"
    );
}
