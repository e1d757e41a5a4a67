//! Messages of every kind, to try the operator's templates on. Pure.

use jiff::{SignedDuration, Timestamp};
use syncbell_event::{
    AlertItem, AlertStatus, BatchCounts, Detail, EventId, Image, Replay, Severity, Status, SyncTask,
};

use crate::decide::{Rule, summary};
use crate::delivery::{Delivery, DeliveryId, Entry, Target};

use super::{FAILING_RECEIVER, RECEIVER_FAILING};

/// All kinds, each with a name for people.
pub(crate) fn all() -> Vec<(&'static str, Delivery)> {
    let mut all = beginnings();
    all.extend(ends());
    all.extend(together());
    all
}

fn one(entry: Entry) -> Delivery {
    delivery(vec![entry])
}

fn stuck() -> Entry {
    let took = SignedDuration::from_hours(2);
    of_task(Rule::Stuck, Status::Synchronizing, None, Some(took))
}

/// What begins, of each rule.
fn beginnings() -> Vec<(&'static str, Delivery)> {
    let mut again = failure(1);
    again.occurrence = 3;
    again.history = vec![
        "2026-01-02 02:50 UTC ERROR, task rst-2".into(),
        "2026-01-02 02:40 UTC ERROR with NETWORK_ERROR, task rst-1".into(),
        "2026-01-01 22:00 UTC SUCCESS, task rst-0".into(),
    ];
    let of = |rule, status| one(of_task(rule, status, None, None));
    let issue = of_task(Rule::Issue, Status::Success, Some("NETWORK_ERROR"), None);
    let took = SignedDuration::from_hours(3);
    let slow = of_task(Rule::Slow, Status::Success, None, Some(took));
    let waiting = Status::Unknown("WAITING".into());
    vec![
        ("failed", one(failure(1))),
        ("failed again", one(again)),
        ("issue", one(issue)),
        ("stuck", one(stuck())),
        ("vanished", of(Rule::Vanished, Status::Pending)),
        ("unknown status", of(Rule::UnknownStatus, waiting)),
        ("canceled", of(Rule::Canceled, Status::Canceled)),
        ("slow", one(slow)),
        ("a rule of one's own", one(of_own_rule())),
        ("blind", one(blind())),
        ("log lost", one(log_lost())),
        ("ledger lost", one(ledger_lost())),
        ("silent", one(silent())),
        ("receiver failing", about_ops(receiver_failing())),
        ("a task of which little is known", one(bare())),
        ("hostile texts", one(hostile())),
    ]
}

/// What ends.
fn ends() -> Vec<(&'static str, Delivery)> {
    let reached = "something reached receiver ops again";
    let no_longer = "team-a/shop:v1.4 is no longer stuck";
    let own = "team-a/shop:v1.4 no longer breaks prod_waits on its way to cn-shenzhen/cri-target: SUCCESS";
    let closed = "team-a/shop-1:v1.4 to cn-shenzhen/cri-target: closed by hand: 误报";
    let dark = "cri-source: closed by hand";
    let seen = "sees cri-source again, after 12 minutes";
    let runs = "team-a/shop on cri-source runs again";
    vec![
        ("resolved", one(resolved(failure(1), "rst-2"))),
        ("no longer stuck", one(ended(stuck(), no_longer))),
        (
            "a rule of one's own is over",
            one(ended(of_own_rule(), own)),
        ),
        ("closed by hand", one(ended(failure(1), closed))),
        ("closed by hand without a task", one(ended(blind(), dark))),
        ("seen again", one(ended(blind(), seen))),
        ("runs again", one(ended(silent(), runs))),
        (
            "receiver reached",
            about_ops(ended(receiver_failing(), reached)),
        ),
    ]
}

/// What is told together, or again.
fn together() -> Vec<(&'static str, Delivery)> {
    let mut repeat = delivery(vec![still(failure(1)), still(blind())]);
    repeat.repeat = true;
    let mut replay = one(failure(1));
    replay.replay = Some(Replay {
        since: at(-120),
        of: at(0),
        at: at(300),
    });
    let mut flapping = failure(1);
    flapping.flapping = true;
    let mut instead = one(failure(1));
    instead.instead_of = Some("ops".into());
    let mixed = vec![failure(1), resolved(failure(2), "rst-9"), blind()];
    let flood = (0..33).map(failure).chain([blind()]);
    let all_clears = (0..11).map(|n| resolved(failure(n), "rst-99"));
    vec![
        ("begins and ends", delivery(mixed)),
        ("a batch", delivery((0..3).map(failure).collect())),
        ("a digest", delivery(flood.collect())),
        ("a digest of all-clears", delivery(all_clears.collect())),
        ("reminder", repeat),
        ("replay", replay),
        ("for a fallback", instead),
        ("flapping", one(flapping)),
    ]
}

fn about_ops(entry: Entry) -> Delivery {
    let mut about = one(entry);
    about.group = [(FAILING_RECEIVER.to_owned(), "ops".to_owned())].into();
    about
}

/// When the samples are sent.
pub(crate) fn now() -> Timestamp {
    at(12)
}

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_767_323_045 + minute * 60).expect("a time of this century")
}

fn image(region: &str, instance: &str) -> Image {
    Image {
        region_id: Some(region.into()),
        instance_id: Some(instance.into()),
        namespace: Some("team-a".into()),
        repo: Some("shop".into()),
        tag: Some("v1.4".into()),
    }
}

/// A task with all that the registry may say.
fn of_task(rule: Rule, status: Status, issue: Option<&str>, took: Option<SignedDuration>) -> Entry {
    let mut task = SyncTask::new("rst-4kfd7fk6pohk", status);
    task.batch_id = Some("15DEEB56-9271-4FDD-AC4D-C3A5CC2C0001".into());
    task.sync_rule_id = Some("crsr-7lph66uloi6h".into());
    task.issue = issue.map(str::to_owned);
    task.trigger = Some("PASSIVE".into());
    task.priority = Some(3);
    task.created_at = Some(at(-120));
    task.modified_at = Some(at(0));
    task.from = Some(image("cn-shanghai", "cri-source"));
    task.to = Some(image("cn-shenzhen", "cri-target"));
    (task.cross_user, task.custom_link, task.accelerated) = (Some(false), Some(false), Some(true));
    task.link_id = Some("link-1".into());
    let reason = issue.map_or_else(|| task.status.to_string(), str::to_owned);
    let detail = Detail {
        progress: Some(0.42),
        synced_size_bytes: Some(104_857_600),
        failed_layers: (1..=5).map(|n| format!("sha256:{n}")).collect(),
        sync_rule_name: Some("to-shenzhen".into()),
        batch: Some(BatchCounts {
            total: 40,
            failed: 37,
            open: 1,
        }),
        request_id: Some("7A3B4C5D".into()),
        requested: true,
    };
    let summary = summary::firing(&task, rule, 1, took);
    let mut entry = entry(rule.as_str(), rule.severity(), &reason, &summary);
    entry.item.task = Some(task);
    entry.item.detail = Some(detail);
    entry
}

fn failure(n: usize) -> Entry {
    let mut entry = of_task(Rule::Failed, Status::Error, Some("NETWORK_ERROR"), None);
    entry.item.incident = format!("{n:032x}");
    if let Some(task) = &mut entry.item.task {
        task.task_id = format!("rst-{n}").into();
        let repo = format!("shop-{}", n % 13);
        task.from
            .iter_mut()
            .for_each(|image| image.repo = Some(repo.clone()));
        entry.item.summary = summary::firing(task, Rule::Failed, 1, None);
    }
    entry
}

fn bare() -> Entry {
    let mut entry = of_task(Rule::Failed, Status::Error, None, None);
    let task = SyncTask::new("rst-1", Status::Error);
    entry.item.summary = summary::firing(&task, Rule::Failed, 1, None);
    (entry.item.task, entry.item.detail) = (Some(task), None);
    entry
}

fn blind() -> Entry {
    let summary = "cannot see cri-source since 03:04 UTC: denied: NoPrivilege: Access denied.";
    let mut entry = notice("blind", Severity::Critical, "denied", summary);
    entry.message = Some("NoPrivilege: Access denied.".into());
    entry
}

fn of_own_rule() -> Entry {
    let name = crate::decide::Name::new("prod_waits").expect("a short name");
    let took = SignedDuration::from_mins(15);
    of_task(Rule::Own(name), Status::Synchronizing, None, Some(took))
}

fn log_lost() -> Entry {
    let message = "the event log is not the one that was read (2 segments are missing): 12 events were cut away unread";
    let summary = format!("cannot see cri-source since 03:04 UTC: log_lost: {message}");
    let mut entry = notice("blind", Severity::Critical, "log_lost", &summary);
    entry.message = Some(message.into());
    entry
}

fn ledger_lost() -> Entry {
    let message = "the notifier's ledger could not be read (crc) and is kept as notifier.1: the event log is read \
                   from its start, and what was seen in the last 24 h is told, some of it again";
    let summary = format!("cannot see cri-source since 03:04 UTC: ledger_lost: {message}");
    let mut entry = notice("blind", Severity::Critical, "ledger_lost", &summary);
    entry.message = Some(message.into());
    entry
}

fn silent() -> Entry {
    let summary = "nothing ran of sync rule crsr-1 on cri-source for 24 hours";
    let mut entry = notice("silent", Severity::Warning, "nothing_ran", summary);
    entry.item.sync_rule_id = Some("crsr-1".into());
    entry.item.repo = Some("team-a/shop".into());
    entry.message = Some("Its last task was created at 2026-01-01 03:04 UTC.".into());
    entry
}

fn receiver_failing() -> Entry {
    let summary = "nothing reached receiver ops since 03:04 UTC: HTTP 502 Bad Gateway";
    let mut entry = entry(RECEIVER_FAILING, Severity::Critical, "transient", summary);
    entry.instance = String::new();
    entry.message = Some("HTTP 502 Bad Gateway".into());
    entry
}

/// What no task is the cause of.
fn notice(rule: &str, severity: Severity, reason: &str, summary: &str) -> Entry {
    let mut entry = entry(rule, severity, reason, summary);
    entry.item.instance = Some("cri-source".into());
    entry.item.region = Some("cn-shanghai".into());
    entry
}

fn entry(rule: &str, severity: Severity, reason: &str, summary: &str) -> Entry {
    Entry {
        item: AlertItem {
            incident: "fedcba9876543210fedcba9876543210".into(),
            rule: rule.into(),
            severity,
            status: AlertStatus::Firing,
            reason: reason.into(),
            since: at(0),
            summary: summary.into(),
            instance: None,
            region: None,
            sync_rule_id: None,
            repo: None,
            task: None,
            resolved_by: None,
            detail: None,
            labels: [("team".to_owned(), "a".to_owned())].into(),
            annotations: [(
                "runbook".to_owned(),
                "https://wiki.example.com/sync".to_owned(),
            )]
            .into(),
        },
        event_id: EventId("0123456789abcdef0123456789abcdef".into()),
        message: None,
        occurrence: 1,
        history: Vec::new(),
        flapping: false,
        instance: "cri-source".into(),
        observed_at: at(1),
        traceparent: None,
    }
}

fn ended(mut entry: Entry, summary: &str) -> Entry {
    entry.item.status = AlertStatus::Resolved;
    entry.item.summary = summary.into();
    entry.item.detail = None;
    entry
}

fn resolved(entry: Entry, by: &str) -> Entry {
    let summary = format!("team-a/shop:v1.4 reached cn-shenzhen/cri-target, by task {by}");
    let mut entry = ended(entry, &summary);
    entry.item.resolved_by = Some(by.into());
    entry
}

fn still(mut entry: Entry) -> Entry {
    entry.item.summary.insert_str(0, "still: ");
    entry.item.detail = None;
    entry
}

/// Right to left, emoji, control characters, markup, a template, a header, and all of it long.
fn hostile() -> Entry {
    let evil = "\u{202E}\u{05D0}\u{0627}\r\nBcc: x@example.com\r\n\r\n.\r\n</td><script>alert('1')</script>\
                &amp;{{ 7*7 }}{% raw %}\0\u{1F9D1}\u{200D}\u{1F680}\u{E000}\u{FFFE}";
    let long = evil.repeat(300);
    let mut entry = of_task(
        Rule::Failed,
        Status::Unknown(evil.into()),
        Some(&long),
        None,
    );
    if let Some(task) = &mut entry.item.task {
        task.task_id = format!("rst-{evil}").into();
        task.sync_rule_id = Some(long.clone());
        task.extra.insert("Blob".into(), long.clone().into());
        for image in task.from.iter_mut().chain(&mut task.to) {
            (image.namespace, image.repo) = (Some(evil.into()), Some(long.clone()));
            (image.region_id, image.instance_id) = (Some(evil.into()), Some(evil.into()));
        }
        entry.item.summary = summary::firing(task, Rule::Failed, 1, None);
    }
    (entry.item.rule, entry.instance) = (evil.into(), evil.into());
    entry.message = Some(long.clone());
    entry.history = vec![long; 50];
    entry
}

fn delivery(entries: Vec<Entry>) -> Delivery {
    let target = Target {
        receiver: "mail".into(),
        address: Some("oncall@example.com".into()),
    };
    let group = [
        ("instance".to_owned(), "cri-source".to_owned()),
        ("rule".to_owned(), "failed".to_owned()),
    ];
    Delivery {
        id: DeliveryId("00112233445566778899aabbccddeeff".into()),
        entries,
        ..Delivery::due_now(&target, (&group.into(), &[]), 0, 1, at(12))
    }
}
