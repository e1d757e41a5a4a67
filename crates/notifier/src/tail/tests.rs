//! Tails of an embedded log.

use std::sync::Arc;

use syncbell_bus::{EmbeddedOptions, Record};
use syncbell_event::{Change, Envelope, Kind, Source, Status, SyncTask};
use tokio::sync::{Semaphore, mpsc};

use super::*;

const LONG: Duration = Duration::from_secs(30);

struct Log {
    bus: Bus,
    _folder: tempfile::TempDir,
}

fn at(minute: i64) -> Timestamp {
    Timestamp::constant(1_760_000_000 + 60 * minute, 0)
}

/// An event about task `id`, observed in `minute`.
fn event(instance: &str, id: &str, minute: i64) -> Record {
    let change = Change {
        kind: Kind::Created,
        task_id: id.into(),
        before: None,
        after: Some(SyncTask::new(id, Status::Error)),
        changed: vec![],
        n: 0,
    };
    let source = Source {
        region: "cn-a".to_owned(),
        instance: instance.to_owned(),
    };
    Record::new(
        instance,
        change.into_envelope(&source, at(minute), None).encode(),
    )
}

fn log(options: EmbeddedOptions) -> Log {
    let folder = tempfile::tempdir().unwrap();
    Log {
        bus: Bus::embedded(folder.path(), options).unwrap(),
        _folder: folder,
    }
}

/// Minutes 0 to 199: instance `a` in each, `b` only in each fiftieth, and garbage behind minute 100.
async fn filled() -> Log {
    let log = log(EmbeddedOptions::default());
    let mut records = Vec::new();
    for minute in 0..200 {
        records.push(event("a", &format!("a{minute}"), minute));
        if minute % 50 == 0 {
            records.push(event("b", &format!("b{minute}"), minute));
        }
        if minute == 100 {
            records.push(Record::new("a", "no event"));
        }
    }
    let publisher = log.bus.publisher();
    publisher.append(Stream::Changes, records).await.unwrap();
    log
}

fn wanted(from: StartFrom) -> Wanted {
    Wanted {
        from,
        instance: None,
        limit: None,
        follow: false,
    }
}

/// The subjects of all lines; of garbage, its key in `!`.
async fn subjects(log: &Log, wanted: Wanted) -> Vec<String> {
    let mut tail = Tail::open(&log.bus, wanted).await.unwrap();
    let mut subjects = Vec::new();
    while let Some(lines) = tail.next().await.unwrap() {
        assert!(!lines.is_empty());
        subjects.extend(lines.iter().map(|line| subject(line)));
    }
    subjects
}

fn subject(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    match line["subject"].as_str() {
        Some(subject) => subject.to_owned(),
        None => format!("!{}", line["undecodable"]["key"].as_str().unwrap()),
    }
}

#[tokio::test]
async fn a_tail_begins_where_it_is_asked_to() {
    let log = filled().await;
    let all = subjects(&log, wanted(StartFrom::Start)).await;
    assert_eq!(all.len(), 205);
    assert_eq!(all[..3], ["a0", "b0", "a1"]);
    assert!(subjects(&log, wanted(StartFrom::End)).await.is_empty());
    assert_eq!(
        subjects(&log, wanted(StartFrom::Last(2))).await,
        ["a198", "a199"]
    );
    assert_eq!(subjects(&log, wanted(StartFrom::Last(9_999))).await, all);
    assert!(subjects(&log, wanted(StartFrom::Last(0))).await.is_empty());
    // The oldest records are looked at one by one where time is looked for: 64 and 512 before the end.
    for (minute, first) in [(-5, "a0"), (60, "a60"), (190, "a190"), (199, "a199")] {
        let since = subjects(&log, wanted(StartFrom::Since(at(minute)))).await;
        assert_eq!(since.first().unwrap(), first);
        assert_eq!(since.last().unwrap(), "a199");
    }
    assert!(
        subjects(&log, wanted(StartFrom::Since(at(200))))
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn an_instance_is_found_however_far_back() {
    let log = filled().await;
    let of_b = |from| Wanted {
        instance: Some("b".to_owned()),
        ..wanted(from)
    };
    assert_eq!(
        subjects(&log, of_b(StartFrom::Last(2))).await,
        ["b100", "b150"]
    );
    assert_eq!(subjects(&log, of_b(StartFrom::Last(9))).await.len(), 4);
    assert_eq!(
        subjects(&log, of_b(StartFrom::Since(at(51)))).await,
        ["b100", "b150"]
    );
    let nobody = Wanted {
        instance: Some("c".to_owned()),
        ..wanted(StartFrom::Last(5))
    };
    assert!(subjects(&log, nobody).await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_decoded_is_shown_where_it_stands() {
    let log = filled().await;
    for from in [StartFrom::Since(at(100)), StartFrom::Last(103)] {
        assert_eq!(
            subjects(&log, wanted(from)).await[..3],
            ["a100", "b100", "!a"]
        );
    }
    // Behind older events it is older, too.
    assert_eq!(
        subjects(&log, wanted(StartFrom::Since(at(101)))).await[0],
        "a101"
    );
    let mut tail = Tail::open(&log.bus, wanted(StartFrom::Start))
        .await
        .unwrap();
    let lines = tail.next().await.unwrap().unwrap();
    let line = lines
        .iter()
        .find(|line| line.contains("undecodable"))
        .unwrap();
    let shown: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(shown["undecodable"]["value_base64"], "bm8gZXZlbnQ=");
    assert_eq!(shown["undecodable"]["offset"], 104);
    assert!(
        shown["undecodable"]["error"]
            .as_str()
            .unwrap()
            .contains("could not decode")
    );
}

#[tokio::test]
async fn a_line_is_the_event_as_it_travels() {
    let log = log(EmbeddedOptions::default());
    let plain = event("a", "x", 1);
    let value = String::from_utf8(plain.value.clone()).unwrap();
    let spread = value.replacen('{', "{\r\n\t", 1);
    let records = vec![plain, Record::new("a", spread)];
    log.bus
        .publisher()
        .append(Stream::Changes, records)
        .await
        .unwrap();
    let mut tail = Tail::open(&log.bus, wanted(StartFrom::Start))
        .await
        .unwrap();
    let lines = tail.next().await.unwrap().unwrap();
    assert_eq!(lines[0], value);
    assert!(!lines[1].contains('\n') && !lines[1].contains('\r'));
    let decoded = |line: &str| Envelope::decode(line.as_bytes()).unwrap();
    assert_eq!(decoded(&lines[1]), decoded(&value));
}

#[tokio::test]
async fn a_tail_follows_until_its_limit() {
    let log = filled().await;
    let asked = Wanted {
        limit: Some(3),
        follow: true,
        ..wanted(StartFrom::Last(1))
    };
    let mut tail = Tail::open(&log.bus, asked).await.unwrap();
    assert_eq!(subject(&tail.next().await.unwrap().unwrap()[0]), "a199");
    let later = (0..5)
        .map(|n| event("a", &format!("later{n}"), 300))
        .collect();
    log.bus
        .publisher()
        .append(Stream::Changes, later)
        .await
        .unwrap();
    let mut got = Vec::new();
    let read = async {
        while let Some(lines) = tail.next().await.unwrap() {
            got.extend(lines.iter().map(|line| subject(line)));
        }
    };
    tokio::time::timeout(LONG, read).await.unwrap();
    assert_eq!(got, ["later0", "later1"]);

    // Without following, what came after the question is not waited for.
    let mut tail = Tail::open(&log.bus, wanted(StartFrom::Last(1)))
        .await
        .unwrap();
    log.bus
        .publisher()
        .append(Stream::Changes, vec![event("a", "more", 301)])
        .await
        .unwrap();
    assert_eq!(subject(&tail.next().await.unwrap().unwrap()[0]), "later4");
    assert_eq!(tail.next().await.unwrap(), None);
}

#[tokio::test]
async fn an_open_tail_keeps_the_log_from_no_retention() {
    let log = log(EmbeddedOptions {
        segment_bytes: 1024 * 1024,
        retention_bytes: 2 * 1024 * 1024,
        retention_every: Duration::from_millis(20),
        ..EmbeddedOptions::default()
    });
    let following = Wanted {
        follow: true,
        ..wanted(StartFrom::Start)
    };
    let mut tail = Tail::open(&log.bus, following).await.unwrap();
    let large = || Record::new("a", vec![b'x'; 500_000]);
    let publisher = log.bus.publisher();
    for _ in 0..3 * RENEW_BYTES / 500_000 {
        publisher
            .append(Stream::Changes, vec![large()])
            .await
            .unwrap();
        tail.next().await.unwrap().unwrap();
    }
    let start = async || {
        let bounds = log.bus.bounds(Stream::Changes).await.unwrap();
        bounds.start.get(0).filter(|start| *start > 0)
    };
    syncbell_testkit::eventually("read segments to be unlinked", LONG, start).await;
}

#[tokio::test(start_paused = true)]
async fn a_tail_that_nobody_reads_ends() {
    let log = log(EmbeddedOptions::default());
    let following = Wanted {
        follow: true,
        ..wanted(StartFrom::End)
    };
    let mut tail = Tail::open(&log.bus, following).await.unwrap();
    tail.found = Some(vec!["a line".to_owned()]);
    let (chunks, _unread) = mpsc::channel(1);
    chunks.send("what waits already".into()).await.unwrap();
    let free = Arc::new(Semaphore::new(1));
    let permit = free.clone().try_acquire_owned().unwrap();
    api::pump(tail, chunks, syncbell_service::Shutdown::new(), permit).await;
    assert_eq!(free.available_permits(), 1);
}

#[test]
fn a_start_is_read_from_what_people_write() {
    assert_eq!("start".parse(), Ok(StartFrom::Start));
    assert_eq!("end".parse(), Ok(StartFrom::End));
    assert_eq!("25".parse(), Ok(StartFrom::Last(25)));
    let at = "2026-01-02T03:04:05Z";
    assert_eq!(at.parse(), Ok(StartFrom::Since(at.parse().unwrap())));
    for (text, seconds) in [("2h", 7_200), ("7d", 604_800)] {
        let Ok(StartFrom::Since(since)) = text.parse() else {
            panic!("{text}: a duration")
        };
        let ago = Timestamp::now().duration_since(since).as_secs();
        assert!((seconds - 10..seconds + 10).contains(&ago), "{text}: {ago}");
    }
    for wrong in ["yesterday", "", "-1", "99999999d"] {
        assert_eq!(wrong.parse::<StartFrom>(), Err(NoStart), "{wrong}");
    }
}
