mod notices;
mod digests;
mod own;
pub(crate) mod properties;
mod reference;
mod languages;

use std::sync::LazyLock;

use insta::assert_snapshot;
use jiff::Timestamp;
use syncbell_event::{
    Alert, AlertItem, BatchCounts, Detail, EventId, Image, Severity, Status, SyncTask,
};

use super::*;
use crate::delivery::{DeliveryId, Target};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
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

fn task(id: &str, status: Status, issue: Option<&str>) -> SyncTask {
    let mut task = SyncTask::new(id, status);
    task.issue = issue.map(str::to_owned);
    task.sync_rule_id = Some("crsr-7lph66uloi6h".into());
    task.trigger = Some("PASSIVE".into());
    task.from = Some(image("cn-shanghai", "cri-source"));
    task.to = Some(image("cn-shenzhen", "cri-target"));
    task
}

fn firing(task: SyncTask) -> Entry {
    let reason = task
        .issue
        .clone()
        .unwrap_or_else(|| task.status.to_string());
    let name = task.from.as_ref().unwrap().name();
    let failed = task.status == Status::Error;
    let (rule, severity, what) = if failed {
        ("failed", Severity::Error, "did not reach")
    } else {
        ("issue", Severity::Warning, "has an issue on its way to")
    };
    Entry {
        item: AlertItem {
            incident: "fedcba9876543210fedcba9876543210".into(),
            rule: rule.into(),
            severity,
            status: AlertStatus::Firing,
            summary: format!("{name} {what} cn-shenzhen/cri-target: {reason}"),
            reason,
            since: at("2026-01-02T03:04:05Z"),
            instance: None,
            region: None,
            sync_rule_id: None,
            repo: None,
            task: Some(task),
            resolved_by: None,
            detail: None,
            labels: std::collections::BTreeMap::new(),
            annotations: std::collections::BTreeMap::new(),
        },
        event_id: EventId("e1".into()),
        message: None,
        occurrence: 1,
        history: Vec::new(),
        instance: "cri-source".into(),
        observed_at: at("2026-01-02T03:04:06Z"),
        flapping: false,
        traceparent: None,
    }
}

fn resolved(mut entry: Entry, by: &str) -> Entry {
    entry.item.status = AlertStatus::Resolved;
    entry.item.resolved_by = Some(by.into());
    entry.item.summary = format!("team-a/shop:v1.4 reached cn-shenzhen/cri-target, by task {by}");
    entry
}

fn delivery(entries: Vec<Entry>) -> Delivery {
    let target = Target {
        receiver: "mail".into(),
        address: Some("oncall@example.com".into()),
    };
    let group = [("rule".to_owned(), "failed".to_owned())];
    let now = at("2026-01-02T03:16:10Z");
    Delivery {
        id: DeliveryId("00112233445566778899aabbccddeeff".into()),
        entries,
        ..Delivery::due_now(&target, (&group.into(), &[]), 0, 1, now)
    }
}

pub(crate) fn renderer(language: Language) -> Arc<Renderer> {
    static BUILT_IN: LazyLock<Renderers> =
        LazyLock::new(|| Renderers::try_new(&Files::default(), &Console::default()).unwrap());
    BUILT_IN.of(language)
}

fn mail(delivery: &Delivery) -> Mail {
    let mail = renderer(Language::En).mail(delivery, at("2026-01-02T03:16:20Z"));
    assert_eq!(mail.failures, []);
    assert!(mail.subject.chars().count() <= 150);
    assert!(!mail.subject.chars().any(char::is_control));
    let without_links = mail
        .html
        .replace("<a href=\"https:&#x2f;&#x2f;cr.console", "");
    for remote in [
        "http:", "https:", "src=", "<script", "<link", "url(", "@import",
    ] {
        assert!(
            !without_links.contains(remote),
            "the mail would load something: {remote}"
        );
    }
    mail
}

fn text(mail: &Mail) -> String {
    format!("Subject: {}\n\n{}", mail.subject, mail.text)
}

fn many(n: usize) -> Vec<Entry> {
    (0..n)
        .map(|i| {
            let mut task = task(&format!("rst-{i}"), Status::Error, Some("NETWORK_ERROR"));
            let repo = Some(format!("shop-{}", i % 13));
            task.from.as_mut().unwrap().repo = repo;
            let mut entry = firing(task);
            entry.item.incident = format!("{i:032x}");
            entry
        })
        .collect()
}

#[test]
fn a_first_failure_reads_well() {
    let mut entry = firing(task(
        "rst-4kfd7fk6pohk****",
        Status::Error,
        Some("NETWORK_ERROR"),
    ));
    entry.item.detail = Some(Detail {
        progress: Some(0.42),
        failed_layers: (1..=5).map(|n| format!("sha256:{n}")).collect(),
        sync_rule_name: Some("to-shenzhen".into()),
        batch: Some(BatchCounts {
            total: 3,
            failed: 1,
            open: 1,
        }),
        request_id: Some("7A3B".into()),
        ..Detail::default()
    });
    let mail = mail(&delivery(vec![entry]));
    assert_snapshot!("firing.txt", text(&mail));
    assert_snapshot!("firing.html", mail.html);
}

#[test]
fn a_further_failure_says_what_happened_before() {
    let mut entry = firing(task("rst-3", Status::Error, None));
    entry.occurrence = 3;
    entry.item.summary.push_str(" (again, 3rd time)");
    entry.history = vec![
        "2026-01-02 02:50 UTC ERROR, task rst-2".into(),
        "2026-01-02 02:40 UTC ERROR with NETWORK_ERROR, task rst-1".into(),
        "2026-01-01 22:00 UTC SUCCESS, task rst-0".into(),
    ];
    assert_snapshot!("failed_again.txt", text(&mail(&delivery(vec![entry]))));
}

#[test]
fn the_end_says_by_what_and_after_how_long() {
    let mut entry = firing(task("rst-1", Status::Error, Some("NETWORK_ERROR")));
    entry.occurrence = 2;
    let mail = mail(&delivery(vec![resolved(entry, "rst-2")]));
    assert_snapshot!("resolved.txt", text(&mail));
    assert_snapshot!("resolved.html", mail.html);
}

#[test]
fn a_success_with_an_issue_is_explained() {
    let entry = firing(task("rst-1", Status::Success, Some("NETWORK_ERROR")));
    assert_snapshot!(
        "issue_with_success.txt",
        text(&mail(&delivery(vec![entry])))
    );
}

#[test]
fn several_entries_stand_one_below_the_other() {
    let mut entries = many(2);
    entries.push(resolved(
        firing(task("rst-9", Status::Error, None)),
        "rst-10",
    ));
    let mut delivery = delivery(entries);
    assert_snapshot!("several.txt", text(&mail(&delivery)));
    delivery.repeat = true;
    delivery.entries.truncate(1);
    assert_snapshot!("reminder.txt", text(&mail(&delivery)));
}

#[test]
fn more_than_ten_entries_are_a_digest() {
    let mut entries = many(33);
    entries[3] = resolved(entries[3].clone(), "rst-99");
    entries[30].item.severity = Severity::Critical;
    let mail = mail(&delivery(entries));
    assert_snapshot!("digest.txt", text(&mail));
    assert_snapshot!("digest.html", mail.html);
}

#[test]
fn even_a_flood_names_each_task() {
    let mail = mail(&delivery(many(1_000)));
    for i in 0..1_000 {
        let id = format!("rst-{i}");
        let words = || mail.text.split([' ', ',', '\n']);
        assert!(words().any(|word| word == id), "{id} is missing");
    }
    assert!(mail.text.len() < 20_000);
}

#[test]
fn hostile_names_stay_text_on_one_line() {
    let evil =
        "x\r\nBcc: victim@example.com\r\n\r\n.\r\n<script>alert('1')</script>\u{202E}{{ 7*7 }}\0";
    let mut task = task(
        &format!("rst-{evil}"),
        Status::Unknown(evil.into()),
        Some(evil),
    );
    let from = task.from.as_mut().unwrap();
    from.repo = Some(evil.into());
    from.tag = Some("t".repeat(100_000));
    let mut entry = firing(task);
    entry.item.rule = evil.into();
    entry.history = vec![evil.into(); 50];
    entry.instance = evil.into();
    let mut delivery = delivery(vec![entry]);
    delivery.target.receiver = evil.into();
    let mail = mail(&delivery);
    assert!(mail.text.len() < 10_000 && mail.html.len() < 20_000);
    assert!(!mail.text.contains('\r') && !mail.text.contains("\nBcc"));
    assert_snapshot!("hostile.txt", text(&mail));
    assert_snapshot!("hostile.html", mail.html);
}

#[test]
fn the_subject_is_the_same_for_each_mail_of_an_incident() {
    let base = |delivery: &Delivery| {
        let subject = mail(delivery).subject;
        let rest = subject
            .strip_prefix("[FIRING] ")
            .or(subject.strip_prefix("[RESOLVED] "));
        rest.unwrap().to_owned()
    };
    for tag in ["v1.4".to_owned(), "long-".repeat(60)] {
        let mut entry = firing(task("rst-1", Status::Error, None));
        entry.item.task.as_mut().unwrap().from.as_mut().unwrap().tag = Some(tag);
        let mut again = entry.clone();
        again.occurrence = 4;
        again.item.task.as_mut().unwrap().task_id = "rst-4".into();
        let fired = delivery(vec![entry.clone()]);
        let over = delivery(vec![resolved(entry.clone(), "rst-5")]);
        assert!(
            mail(&fired)
                .subject
                .starts_with("[FIRING] failed: team-a/shop:")
        );
        assert!(mail(&over).subject.starts_with("[RESOLVED] "));
        assert_eq!(base(&fired), base(&over));
        assert_eq!(base(&fired), base(&delivery(vec![again])));
        // Opened and over within one group's wait.
        let both = delivery(vec![entry.clone(), resolved(entry, "rst-5")]);
        assert!(mail(&both).subject.starts_with("[RESOLVED] "));
        assert_eq!(base(&fired), base(&both));
    }
}

#[test]
fn a_task_without_a_route_and_a_condition_without_a_task_are_told() {
    let mut entry = firing(task("rst-1", Status::Error, None));
    let bare = entry.item.task.as_mut().unwrap();
    (bare.from, bare.to) = (None, None);
    let told = mail(&delivery(vec![entry.clone()]));
    assert_eq!(told.subject, "[FIRING] failed: task rst-1");
    assert!(told.text.contains("not known"));
    entry.item.task = None;
    let told = mail(&delivery(vec![entry]));
    assert_eq!(told.subject, "[FIRING] failed: cri-source");
}

#[test]
fn a_replay_says_that_nothing_happened_anew() {
    let mut delivery = delivery(vec![firing(task("rst-1", Status::Error, None))]);
    delivery.replay = Some(syncbell_event::Replay {
        since: at("2026-01-02T01:00:00Z"),
        of: at("2026-01-02T03:04:06Z"),
        at: at("2026-01-02T09:00:00Z"),
    });
    let mail = mail(&delivery);
    assert!(
        mail.subject
            .starts_with("[REPLAY] failed: team-a/shop:v1.4")
    );
    let said =
        "This is a replay: nothing happened anew. The events since 2026-01-02 01:00:00 UTC were";
    assert!(mail.text.contains(said) && mail.html.contains(said));
    let alert: Alert = serde_json::from_slice(&webhook(&delivery)).unwrap();
    assert_eq!(alert.data.replay, delivery.replay);
}

#[test]
fn the_webhook_body_is_the_alert_event() {
    let entry = firing(task("rst-1", Status::Error, Some("NETWORK_ERROR")));
    let delivery = delivery(vec![entry.clone()]);
    let body = webhook(&delivery);
    let alert: Alert = serde_json::from_slice(&body).unwrap();
    assert_eq!(alert.id, "00112233445566778899aabbccddeeff");
    assert_eq!(alert.kind, "dev.syncbell.alert.firing.v1");
    assert_eq!(alert.time, delivery.created_at);
    assert_eq!(alert.data.receiver, "mail");
    assert_eq!(alert.data.group, delivery.group);
    assert_eq!(alert.data.alerts, [entry.item]);
    assert_eq!(alert.data.more, 0);
    assert_eq!(body, webhook(&delivery), "a retry sends the same bytes");
}

#[test]
fn a_large_body_loses_whole_items_and_counts_them() {
    let mut entries: Vec<_> = many(1_000)
        .into_iter()
        .map(|entry| resolved(entry, "rst-x"))
        .collect();
    entries.push(firing(task("rst-last", Status::Error, None)));
    let delivery = delivery(entries.clone());
    let body = webhook(&delivery);
    assert!(
        body.len() <= 256 * 1024 && body.len() > 250 * 1024,
        "{}",
        body.len()
    );
    let alert: Alert = serde_json::from_slice(&body).unwrap();
    let kept = alert.data.alerts.len();
    assert_eq!(alert.data.more, 1_001 - kept as u64);
    assert!(
        alert
            .data
            .alerts
            .iter()
            .eq(entries[..kept].iter().map(|entry| &entry.item))
    );
    assert_eq!(
        alert.kind, "dev.syncbell.alert.firing.v1",
        "what is left out still fires"
    );
}

#[test]
fn one_alert_that_is_too_large_is_told_in_part() {
    let huge = "磁".repeat(1_000_000);
    let mut task = task("rst-1", Status::Error, Some(&huge));
    task.extra.insert("Blob".into(), huge.clone().into());
    let mut delivery = delivery(vec![firing(task)]);
    delivery.group.insert("reason".into(), huge);
    let body = webhook(&delivery);
    assert!(body.len() <= 256 * 1024);
    let alert: Alert = serde_json::from_slice(&body).unwrap();
    assert_eq!(alert.data.more, 0);
    let task = alert.data.alerts[0].task.as_ref().unwrap();
    assert_eq!(task.task_id.as_str(), "rst-1");
    assert_eq!(task.issue.as_ref().unwrap().chars().count(), 1_000);
    assert!(task.extra.is_empty());
}
