//! The one line that says what is so. Pure.

use jiff::{SignedDuration, Timestamp};
use syncbell_event::{Image, SyncTask, TaskId};

use super::condition::{self, Rule};
pub(crate) use crate::render::text::spoken;

/// That a condition of a task began; `passed` is how long it took, where the rule is about time.
pub(crate) fn firing(
    task: &SyncTask,
    rule: Rule,
    occurrence: u32,
    passed: Option<SignedDuration>,
) -> String {
    let (image, place) = ends(task);
    let reason = condition::reason(task);
    let after = |word: &str| {
        passed.map_or_else(String::new, |passed| format!(", {word} {}", spoken(passed)))
    };
    let what = match rule {
        Rule::Issue => format!("has an issue on its way to {place}"),
        Rule::Stuck => format!("is stuck on its way to {place}{}", after("open for")),
        Rule::Vanished => {
            format!("vanished on its way to {place}: no longer listed, last seen as")
        }
        Rule::UnknownStatus => format!("has a status that is not known on its way to {place}"),
        Rule::Canceled => format!("was called off on its way to {place}"),
        Rule::Slow => format!("was slow on its way to {place}{}", after("it took")),
        Rule::Own(name) => {
            format!(
                "breaks {} on its way to {place}{}",
                name.as_str(),
                after("so for")
            )
        }
        Rule::Failed | Rule::Blind | Rule::Silent => format!("did not reach {place}"),
    };
    let again = match occurrence {
        0 | 1 => String::new(),
        n => format!(" (again, {})", ordinal(n)),
    };
    let colon = if rule == Rule::Vanished { "" } else { ":" };
    format!("{image} {what}{colon} {reason}{again}")
}

/// That a condition of `task` ended because the task `by` went well.
pub(crate) fn resolved(task: &SyncTask, by: &TaskId) -> String {
    let (image, place) = ends(task);
    if task.task_id == *by {
        format!("{image} reached {place} after all")
    } else {
        format!("{image} reached {place}, by task {by}")
    }
}

/// That a rule is no longer broken because of how `task` stands now.
pub(crate) fn over(task: &SyncTask, rule: Rule) -> String {
    let (image, place) = ends(task);
    let status = &task.status;
    match rule {
        Rule::Vanished => format!("{image} on its way to {place} is listed again: {status}"),
        Rule::Own(name) => {
            format!(
                "{image} no longer breaks {} on its way to {place}: {status}",
                name.as_str()
            )
        }
        _ => format!("{image} is no longer stuck on its way to {place}: {status}"),
    }
}

fn ends(task: &SyncTask) -> (String, String) {
    let image = task
        .from
        .as_ref()
        .map_or_else(|| format!("task {}", task.task_id), Image::name);
    let place = task
        .to
        .as_ref()
        .map_or_else(|| "its target".to_owned(), Image::place);
    (image, place)
}

/// `2026-01-02 03:04 UTC`
pub(crate) fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// `03:04 UTC`, with the day if it is another than that of `now`.
pub(crate) fn clock(at: Timestamp, now: Timestamp) -> String {
    let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    if day(at) == day(now) {
        at.strftime("%H:%M UTC").to_string()
    } else {
        minute(at)
    }
}

/// `2nd time`, `3rd time`, `11th time`
fn ordinal(n: u32) -> String {
    let suffix = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{suffix} time")
}
