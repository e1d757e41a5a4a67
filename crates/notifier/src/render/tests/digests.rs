//! Storms: what a digest counts, and how a batch reads.

use super::*;

/// `n` failed syncs of one tag, `each` of them in a batch of `total`.
fn of_batches(tag: &str, n: usize, each: usize, total: u64) -> Vec<Entry> {
    let mut entries = many(n);
    for (i, entry) in entries.iter_mut().enumerate() {
        let task = entry.item.task.as_mut().unwrap();
        task.task_id = format!("rst-{tag}-{i}").into();
        task.batch_id = Some(format!("batch-{tag}-{}", i / each));
        task.from.as_mut().unwrap().tag = Some(tag.into());
        // The poller counts as it sees them.
        let failed = (i % each) as u64 + 1;
        entry.item.detail = Some(Detail {
            batch: Some(BatchCounts {
                total,
                failed,
                open: total - failed,
            }),
            ..Detail::default()
        });
    }
    entries
}

fn titles(entries: &[Entry]) -> (String, String, String) {
    let delivery = delivery(entries.to_vec());
    let zh = renderer(Language::Zh).mail(&delivery, at("2026-01-02T03:16:20Z"));
    let en = mail(&delivery);
    let first = |mail: &Mail| mail.text.lines().next().unwrap().to_owned();
    (en.subject.clone(), first(&en), first(&zh))
}

#[test]
fn a_batch_says_how_much_of_it_failed() {
    let (subject, title, chinese) = titles(&of_batches("v1.8", 37, 37, 40));
    assert_eq!(subject, "[FIRING] 37 of 40 syncs of v1.8 failed");
    assert_eq!(title, "37 of 40 syncs of v1.8 failed");
    assert_eq!(chinese, "v1.8 的 40 个同步任务中有 37 个失败");
    // Of several batches of one tag: ten images to four targets each.
    let (_, title, _) = titles(&of_batches("v1.8", 30, 3, 4));
    assert_eq!(title, "30 of 40 syncs of v1.8 failed");
    // A few that need no digest.
    let (_, title, _) = titles(&of_batches("v2", 2, 2, 3));
    assert_eq!(title, "2 of 3 syncs of v2 failed");
}

#[test]
fn a_batch_whose_size_is_not_known_for_all_says_what_failed() {
    let mut entries = of_batches("v1.8", 12, 12, 12);
    entries[5].item.detail = None;
    assert_eq!(titles(&entries).1, "12 syncs of v1.8 failed");
    for entry in &mut entries {
        entry.item.task.as_mut().unwrap().batch_id = None;
    }
    assert_eq!(titles(&entries).1, "12 syncs of v1.8 failed");
    // The poller looked before the last ones failed.
    let mut early = of_batches("v1.8", 12, 12, 40);
    for entry in &mut early {
        entry
            .item
            .detail
            .as_mut()
            .unwrap()
            .batch
            .as_mut()
            .unwrap()
            .failed = 2;
    }
    assert_eq!(titles(&early).1, "12 of 40 syncs of v1.8 failed");
}

#[test]
fn several_tags_stand_one_below_the_other_and_what_else_there_is_in_the_title() {
    let mut entries = of_batches("v1.8", 11, 11, 12);
    entries.extend(of_batches("v1.9", 13, 13, 13));
    entries.push(resolved(
        firing(task("rst-x", Status::Error, None)),
        "rst-y",
    ));
    let told = mail(&delivery(entries));
    let lines: Vec<&str> = told.text.lines().take(4).collect();
    assert_eq!(
        lines,
        [
            "24 firing, 1 resolved: failed on cri-source",
            "",
            "13 of 13 syncs of v1.9 failed",
            "11 of 12 syncs of v1.8 failed"
        ]
    );
}

#[test]
fn a_digest_counts_what_its_entries_have_in_common() {
    let mut entries = of_batches("v1.8", 37, 37, 40);
    for (i, entry) in entries.iter_mut().enumerate() {
        let to = entry.item.task.as_mut().unwrap().to.as_mut().unwrap();
        if i < 7 {
            to.region_id = Some("cn-beijing".into());
            entry.item.reason = "TARGET_LIMIT".into();
        }
        if i == 36 {
            entry.instance = "cri-other".into();
        }
    }
    let told = mail(&delivery(entries.clone()));
    for line in [
        "  Rule       37 × failed (firing)",
        "  Instance   36 × cri-source, 1 × cri-other",
        "  To region  30 × cn-shenzhen, 7 × cn-beijing",
        "  Reason     30 × NETWORK_ERROR, 7 × TARGET_LIMIT",
        "  - and 17 more: ",
    ] {
        assert!(told.text.contains(line), "{line} in {}", told.text);
    }
    assert_eq!(told.text.matches("  - FIRING ").count(), 20);
    let chinese = renderer(Language::Zh).mail(&delivery(entries), at("2026-01-02T03:16:20Z"));
    insta::assert_snapshot!("digest.zh.txt", text(&chinese));
}
