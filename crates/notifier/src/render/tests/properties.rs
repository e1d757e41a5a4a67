//! Whatever a delivery holds, it renders within limits, and its page is well formed.

use proptest::prelude::*;

use super::*;

/// Any text, with what breaks lines, pages and mails more often than chance has it.
fn any_text() -> BoxedStrategy<String> {
    prop_oneof![
        4 => "\\PC{0,40}",
        2 => any::<String>(),
        1 => Just("</td></table><script>alert(1)</script><!-- \" ' & ]]> {{ 7*7 }} {% endfor %}".to_owned()),
        1 => Just("\r\nBcc: a@example.com\r\n\r\n.\r\n\0\u{85}\u{2028}\u{202E}\u{FEFF}".to_owned()),
        1 => Just("磁盘🧑‍🚀\u{05D0}\u{0627}".repeat(400)),
        1 => Just(String::new()),
    ]
    .boxed()
}

fn any_image() -> BoxedStrategy<Option<Image>> {
    let part = || proptest::option::of(any_text());
    let image = (part(), part(), part(), part(), part());
    let image = image.prop_map(|(region_id, instance_id, namespace, repo, tag)| Image {
        region_id,
        instance_id,
        namespace,
        repo,
        tag,
    });
    proptest::option::of(image).boxed()
}

fn any_task() -> BoxedStrategy<SyncTask> {
    let status = prop_oneof![
        3 => Just(Status::Error),
        1 => Just(Status::Success),
        1 => Just(Status::Pending),
        1 => any_text().prop_map(Status::Unknown),
    ];
    let texts = (
        any_text(),
        proptest::option::of(any_text()),
        proptest::option::of(any_text()),
    );
    let times = (any::<Option<i32>>(), any::<Option<i32>>());
    let task = (
        texts,
        status,
        any_image(),
        any_image(),
        times,
        proptest::option::of("[ab]"),
    );
    task.prop_map(
        |((id, issue, rule), status, from, to, (created, modified), batch)| {
            let at = |second: i32| Timestamp::from_second(i64::from(second)).unwrap();
            let mut task = SyncTask::new(id.as_str(), status);
            (task.issue, task.sync_rule_id, task.trigger) = (issue.clone(), rule, issue);
            (task.from, task.to, task.batch_id) = (from, to, batch);
            (task.created_at, task.modified_at) = (created.map(at), modified.map(at));
            task
        },
    )
    .boxed()
}

fn any_detail() -> BoxedStrategy<Option<Detail>> {
    let batch = proptest::option::of(any::<(u32, u32, u32)>());
    let detail = (
        any::<Option<f64>>(),
        proptest::collection::vec(any_text(), 0..40),
        batch,
    );
    let detail = detail.prop_map(|(progress, failed_layers, batch)| Detail {
        progress,
        failed_layers,
        batch: batch.map(|(total, failed, open)| BatchCounts {
            total: u64::from(total),
            failed: u64::from(failed),
            open: u64::from(open),
        }),
        ..Detail::default()
    });
    proptest::option::of(detail).boxed()
}

fn any_entry() -> BoxedStrategy<Entry> {
    const RULES: [&str; 11] = [
        "failed",
        "issue",
        "stuck",
        "vanished",
        "unknown_status",
        "blind",
        "silent",
        "canceled",
        "slow",
        "receiver_failing",
        "own-rule",
    ];
    let rule = prop_oneof![9 => proptest::sample::select(&RULES[..]).prop_map(str::to_owned), 1 => any_text()];
    let texts = (
        rule,
        any_text(),
        any_text(),
        any_text(),
        proptest::option::of(any_text()),
    );
    let task = proptest::option::weighted(0.8, any_task());
    let more = (
        any::<bool>(),
        any::<u32>(),
        any::<i32>(),
        proptest::collection::vec(any_text(), 0..8),
    );
    (texts, task, any_detail(), more)
        .prop_map(
            |((rule, reason, summary, instance, message), task, detail, more)| {
                let (fires, occurrence, since, history) = more;
                let mut entry = firing(super::task("rst-1", Status::Error, None));
                (entry.item.rule, entry.item.reason, entry.item.summary) = (rule, reason, summary);
                (entry.item.task, entry.item.detail) = (task, detail);
                (entry.instance, entry.message, entry.history) = (instance, message, history);
                entry.item.since = Timestamp::from_second(i64::from(since)).unwrap();
                entry.occurrence = occurrence;
                if !fires {
                    entry.item.status = AlertStatus::Resolved;
                    entry.item.resolved_by =
                        entry.item.task.as_ref().map(|task| task.task_id.clone());
                }
                entry
            },
        )
        .boxed()
}

pub(crate) fn any_delivery() -> BoxedStrategy<Delivery> {
    let entries = proptest::collection::vec(any_entry(), 0..24);
    (entries, any::<bool>(), any_text())
        .prop_map(|(entries, repeat, receiver)| {
            let mut delivery = delivery(entries);
            delivery.repeat = repeat;
            delivery.group.insert(receiver.clone(), receiver.clone());
            delivery.target.receiver = receiver;
            delivery
        })
        .boxed()
}

/// What is not well formed in this page, if something is: elements that do not nest, markup within text or attributes.
fn fault_in(html: &str) -> Option<String> {
    const ELEMENTS: [&str; 14] = [
        "html", "head", "title", "body", "div", "p", "h1", "h2", "table", "tr", "th", "td", "ul",
        "li",
    ];
    let mut rest = html.strip_prefix("<!doctype html>")?;
    let mut open: Vec<String> = Vec::new();
    while let Some((text, behind)) = rest.split_once('<') {
        if let Some(fault) = fault_in_text(text) {
            return Some(fault);
        }
        let (tag, after) = behind.split_once('>')?;
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop().as_deref() != Some(name) {
                return Some(format!("</{name}> closes nothing"));
            }
            continue;
        }
        let name = tag.split(' ').next()?;
        if name == "meta" {
            continue;
        }
        if !ELEMENTS.contains(&name) && !["a", "code"].contains(&name) {
            return Some(format!("<{name}> is not ours"));
        }
        let quotes = tag.matches('"').count();
        if quotes % 2 == 1 || tag.contains("javascript:") || tag.contains(" on") {
            return Some(format!("attributes of <{tag}>"));
        }
        open.push(name.to_owned());
    }
    (!open.is_empty())
        .then(|| format!("left open: {open:?}"))
        .or_else(|| fault_in_text(rest))
}

fn fault_in_text(text: &str) -> Option<String> {
    let bare = text.split('&').skip(1).any(|rest| {
        let name = rest.split(';').next().unwrap_or_default();
        !["lt", "gt", "amp", "quot", "#x27", "#x2f"].contains(&name)
    });
    (text.contains('>') || bare).then(|| format!("text: {text}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_delivery_renders_within_limits_and_its_page_is_well_formed(delivery in any_delivery()) {
        for language in Language::ALL {
            let mail = renderer(language).mail(&delivery, at("2026-01-02T03:16:20Z"));
            prop_assert_eq!(&mail.failures, &[]);
            prop_assert!(mail.subject.chars().count() <= 150);
            prop_assert!(!mail.subject.chars().any(char::is_control), "{:?}", mail.subject);
            prop_assert!(!mail.subject.trim().is_empty());
            prop_assert!(mail.text.len() <= 256 * 1024 && mail.html.len() <= 256 * 1024);
            let hidden = |c: char| (c.is_control() && c != '\n') || ('\u{202A}'..='\u{202E}').contains(&c);
            prop_assert!(!mail.text.contains(hidden), "{:?}", mail.text);
            prop_assert!(!mail.html.contains(hidden));
            prop_assert_eq!(fault_in(mail.html.trim_end()), None);
        }
    }
}

#[test]
fn the_check_of_pages_finds_what_is_wrong() {
    assert_eq!(fault_in("<!doctype html><p>a &amp; b</p>"), None);
    for wrong in [
        "<p>",
        "<p></div>",
        "<p>a & b</p>",
        "<script></script>",
        "<p>></p>",
        "<p title=\"></p>",
    ] {
        assert!(
            fault_in(&format!("<!doctype html>{wrong}")).is_some(),
            "{wrong}"
        );
    }
}
