//! What a mail tells, read from its text alone, as a person would.

use mail_parser::MessageParser;
use syncbell_event::AlertStatus;
use syncbell_simulator::Got;
use syncbell_testkit::Mail;

/// The conditions that `mail` tells, those without a task left out. Panics where its text is not as mails are.
pub(crate) fn told_by(mail: &Mail) -> Vec<Got> {
    let text = text_of(mail);
    let id = mail.message_id();
    if text.contains("\nThe gravest:\n") || text.contains("\nAll of them:\n") {
        digest(&text, &id)
    } else {
        let parts = text.split("\n----");
        parts.filter_map(|part| entry(part, &id)).collect()
    }
}

/// The plain text of a mail.
pub(crate) fn text_of(mail: &Mail) -> String {
    let parsed = MessageParser::default().parse(&mail.raw).expect("a mail");
    let text = parsed.body_text(0).expect("a text part");
    text.replace("\r\n", "\n")
}

/// One condition with all its rows; none if it is about an instance.
fn entry(part: &str, id: &str) -> Option<Got> {
    let row = |name: &str| {
        let mut lines = part.lines();
        let found = lines.find_map(|line| line.strip_prefix("  ")?.strip_prefix(name));
        found.and_then(|rest| rest.split_whitespace().next())
    };
    let word = |name: &str| row(name).unwrap_or_else(|| panic!("no {name:?} in {part}"));
    if row("Instance ").is_some() {
        return None;
    }
    Some(Got {
        task_id: word("Task ").to_owned(),
        rule: word("Rule ").to_owned(),
        // Only what is over has lasted.
        status: match row("Lasted ") {
            Some(_) => AlertStatus::Resolved,
            None => AlertStatus::Firing,
        },
        id: id.to_owned(),
    })
}

/// More than ten: twenty with a line, of the others the task ids; the counts hold for all of them. For
/// the others, the text gives rule and status only where all of the digest have the same.
fn digest(text: &str, id: &str) -> Vec<Got> {
    let block = |title: &str| {
        let after = text.split(&format!("\n{title}\n")).nth(1);
        let lines = after
            .into_iter()
            .filter_map(|after| after.split("\n\n").next());
        lines.flat_map(str::lines).collect::<Vec<_>>()
    };
    let count = text.lines().find_map(|line| line.strip_prefix("  Rule "));
    let count = count.expect("rules are counted");
    assert!(
        !count.contains(','),
        "more than one rule or status in {text}"
    );
    let words: Vec<&str> = count.split_whitespace().collect();
    let [n, "×", rule, status] = words.as_slice() else {
        panic!("no count of a rule: {count}");
    };
    let status = match *status {
        "(firing)" => AlertStatus::Firing,
        "(resolved)" => AlertStatus::Resolved,
        _ => panic!("no status: {count}"),
    };
    let mut lines = block("All of them:");
    lines.extend(block("The gravest:"));
    let mut task_ids: Vec<&str> = Vec::new();
    for line in lines {
        if let Some((said, rest)) = line.split_once("(task ") {
            let begins = said.trim_start().trim_start_matches("- ");
            assert!(
                begins.starts_with(&status.as_str().to_uppercase()),
                "{line}"
            );
            task_ids.extend(rest.split(',').next());
        } else {
            let others = line.split_once(" more: ").expect("the others by their ids");
            task_ids.extend(others.1.split(", "));
        }
    }
    assert_eq!(n.parse(), Ok(task_ids.len()), "counted and named: {text}");
    let got = |task_id: &str| Got {
        task_id: task_id.trim().to_owned(),
        rule: (*rule).to_owned(),
        status,
        id: id.to_owned(),
    };
    task_ids.into_iter().map(got).collect()
}
