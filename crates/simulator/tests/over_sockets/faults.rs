use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use syncbell_event::Status;
use syncbell_simulator::{DEMO_INSTANCE, Extent, Fault, Handle, NewTask};

use crate::client::{call, ids, page, start};

async fn one_call(handle: &Handle, fault: Fault) -> reqwest::Result<reqwest::Response> {
    handle.world().fault(fault, Extent::Calls(1)).unwrap();
    call(&[("InstanceId", DEMO_INSTANCE)]).send(handle).await
}

#[tokio::test]
async fn each_error_has_its_status_its_headers_and_its_form() {
    let handle = start().await;
    let answer = one_call(
        &handle,
        Fault::Throttled {
            retry_after_ms: Some(1500),
        },
    )
    .await
    .unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.headers()["x-acs-retry-after"], "1500");
    assert!(answer.text().await.unwrap().contains("Throttling.User"));

    let answer = one_call(&handle, Fault::TooManyRequests { retry_after_s: 2 })
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (429, &"2".parse().unwrap())
    );

    for (fault, status, text) in [
        (Fault::NoPrivilege, 403, "AccessDeniedDetail"),
        (Fault::LowerCamelError, 403, "\"code\":\"NoPrivilege\""),
        (Fault::SystemError, 500, "SystemError"),
        (Fault::Unavailable, 503, "ServiceUnavailable"),
        (Fault::BadGateway, 502, "<html>"),
        (Fault::XmlError, 503, "<Error>"),
        (
            Fault::NotSuccessful {
                code: "REPO_NOT_EXIST".to_owned(),
            },
            200,
            "\"IsSuccess\":false",
        ),
    ] {
        let answer = one_call(&handle, fault.clone()).await.unwrap();
        assert_eq!(answer.status(), status, "{fault:?}");
        assert!(answer.headers().contains_key("date"), "{fault:?}");
        assert!(answer.text().await.unwrap().contains(text), "{fault:?}");
    }
    page(&handle, 1, 30).await;
    assert_eq!(handle.world().counts().answers, 1, "faults are no lists");
}

#[tokio::test]
async fn a_cut_off_answer_is_not_served() {
    let handle = start().await;
    // Else a task made in the second before the first answer's Date would be of the baseline.
    handle.world().baseline_done();
    handle
        .world()
        .add_task(NewTask::of("a/b", "1").status(Status::Error));
    let answer = one_call(&handle, Fault::Truncated { honest: true })
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_err());
    let answer = one_call(&handle, Fault::Truncated { honest: false })
        .await
        .unwrap();
    assert!(answer.text().await.is_err());
    assert!(one_call(&handle, Fault::Closed).await.is_err());
    assert_eq!(handle.world().ledger().expected(), []);
    assert_eq!(handle.world().ledger().unserved().len(), 1);
    page(&handle, 1, 30).await;
    assert_eq!(handle.world().ledger().expected().len(), 1);
}

#[tokio::test]
async fn odd_rows_come_beside_good_ones() {
    let handle = start().await;
    handle.world().add_task(NewTask::of("a/b", "1").id("rst-1"));
    for (fault, check) in [
        (Fault::TaskWithoutId, "ERROR"),
        (Fault::NullFields, "\"LinkId\":null"),
        (Fault::UnknownValues, "WAITING_FOR_QUOTA"),
    ] {
        let text = one_call(&handle, fault.clone())
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert!(text.contains(check), "{fault:?}: {text}");
        assert!(text.contains("rst-1"), "{fault:?}: {text}");
    }
    // Nothing of that is anything to tell.
    page(&handle, 1, 30).await;
    assert_eq!(handle.world().ledger().expected(), []);
}

#[tokio::test]
async fn an_ignored_page_number_gives_page_one_again() {
    let handle = start().await;
    for n in 0..4 {
        handle.world().add_task(NewTask::of("a/b", &n.to_string()));
    }
    let first = ids(&page(&handle, 1, 2).await);
    handle
        .world()
        .fault(Fault::PageNoIgnored { echo_asked: true }, Extent::Always)
        .unwrap();
    let second = page(&handle, 2, 2).await;
    assert_eq!((ids(&second), &second["PageNo"]), (first, &2.into()));
}

#[tokio::test]
async fn a_slow_answer_takes_its_time_and_a_wrong_clock_is_the_servers() {
    let handle = start().await;
    let start = Instant::now();
    one_call(&handle, Fault::Slow { delay_ms: 120 })
        .await
        .unwrap();
    assert!(start.elapsed() >= Duration::from_millis(120));
    let answer = one_call(&handle, Fault::ClockSkew { minutes: 20 })
        .await
        .unwrap();
    assert_eq!(answer.status(), 400);
    let date = answer.headers()["date"].to_str().unwrap();
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(date)
        .unwrap();
    assert!(date.duration_since(Timestamp::now()) > SignedDuration::from_mins(19));
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("InvalidTimeStamp.Expired")
    );
    page(&handle, 1, 30).await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_slow_answer() {
    let handle = start().await;
    let other = handle.clone();
    handle
        .world()
        .fault(Fault::Slow { delay_ms: 60_000 }, Extent::Always)
        .unwrap();
    let asked = async move { call(&[("InstanceId", DEMO_INSTANCE)]).send(&other).await };
    let stop = async {
        handle
            .world()
            .until(|world| world.counts().calls == 1)
            .await;
        handle.stop().await
    };
    let (answer, is_stopped) = tokio::join!(asked, stop);
    assert!(is_stopped);
    assert_eq!(answer.unwrap().status(), 200);
}
