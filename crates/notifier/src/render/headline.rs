//! The one line that says what is so. In English it is the summary that was decided and that the wire carries; in
//! Chinese it is said anew, from the same facts. Pure.

use syncbell_config::Language;
use syncbell_event::Image;

use crate::delivery::{Delivery, Entry};

use super::phrases::{self, spoken};
use super::text::second;
use super::{RECEIVER_FAILING, notice, receiver_of};

/// The headline of `entry`; not yet clean.
pub(super) fn of(language: Language, entry: &Entry, delivery: &Delivery) -> String {
    match language {
        Language::En => entry.item.summary.clone(),
        Language::Zh => chinese(entry, delivery),
    }
}

/// What happened before on a route, as `decide` keeps it: `{minute} {state}, task {id}`.
pub(super) fn before(language: Language, line: &str) -> String {
    let (Language::Zh, Some((state, task))) = (language, line.rsplit_once(", task ")) else {
        return line.to_owned();
    };
    let (state, gone) = match state.strip_suffix(" and vanished") {
        Some(state) => (state, "，已消失"),
        None => (state, ""),
    };
    match state.split_once(" with ") {
        Some((state, issue)) => format!("{state}，问题 {issue}{gone}，任务 {task}"),
        None => format!("{state}{gone}，任务 {task}"),
    }
}

/// What `decide` says where no task does; what others said stays as it is.
pub(super) fn message(language: Language, text: &str) -> String {
    if language == Language::En {
        return text.to_owned();
    }
    match text {
        "No task of it has been seen." => "还没有见过它的任务。".to_owned(),
        "nothing was ever heard of it" => "从未收到过它的消息".to_owned(),
        "nothing is heard of its poller" => "没有收到其轮询进程的消息".to_owned(),
        text => created(text)
            .or_else(|| log_lost(text))
            .or_else(|| ledger_lost(text))
            .unwrap_or_else(|| text.to_owned()),
    }
}

fn created(text: &str) -> Option<String> {
    let at = text.strip_prefix("Its last task was created at ")?;
    Some(format!("上一个任务创建于 {}。", at.trim_end_matches('.')))
}

fn log_lost(text: &str) -> Option<String> {
    let rest = text.strip_prefix("the event log is not the one that was read (")?;
    let (why, what) = rest.rsplit_once("): ")?;
    let said = if let Some(count) = what.strip_suffix(" events were cut away unread") {
        format!("有 {count} 个事件未读就被截断")
    } else {
        let count = what
            .strip_prefix("the ")?
            .strip_suffix(" events on it are read from its start")?;
        format!("从头读取其上的 {count} 个事件")
    };
    Some(format!("事件日志不是之前读取的那一个（{why}）：{said}"))
}

fn ledger_lost(text: &str) -> Option<String> {
    let rest = text.strip_prefix("the notifier's ledger could not be read (")?;
    let (why, rest) = rest.rsplit_once(") and is kept as ")?;
    let (kept_as, _) = rest.split_once(": the event log is read from its start")?;
    Some(format!(
        "通知进程的账本无法读取（{why}），已另存为 {kept_as}：事件日志从头读取，24 小时内见过的会发出，其中一些会重复"
    ))
}

fn chinese(entry: &Entry, delivery: &Delivery) -> String {
    let said = if entry.fires() {
        firing(entry, delivery)
    } else {
        resolved(entry, delivery)
    };
    let said = said.unwrap_or_else(|| entry.item.summary.clone());
    let again = match entry.occurrence {
        n if n > 1 && entry.fires() && entry.item.task.is_some() => format!("（第 {n} 次）"),
        _ => String::new(),
    };
    let still = if delivery.repeat {
        "仍未恢复："
    } else {
        ""
    };
    format!("{still}{said}{again}")
}

/// None: a rule of which nothing more is known than its summary.
fn firing(entry: &Entry, delivery: &Delivery) -> Option<String> {
    let item = &entry.item;
    let (image, place) = ends(entry);
    let reason = phrases::reason(Language::Zh, item);
    let created_at = item.task.as_ref().and_then(|task| task.created_at);
    Some(match item.rule.as_str() {
        "failed" => format!("{image} 未能同步到 {place}：{reason}"),
        "issue" => format!("{image} 同步到 {place} 时有问题：{reason}"),
        "stuck" => {
            let open = created_at.map_or_else(String::new, |created_at| {
                let passed = entry.observed_at.duration_since(created_at);
                format!("，已过 {}", spoken(Language::Zh, passed))
            });
            format!("{image} 同步到 {place} 卡住{open}：{reason}")
        }
        "vanished" => {
            format!("{image} 同步到 {place} 的任务已消失：不再列出，最后状态为 {reason}")
        }
        "unknown_status" => format!("{image} 同步到 {place} 的状态未知：{reason}"),
        "canceled" => format!("{image} 同步到 {place} 已取消"),
        "slow" => {
            let ended_at = item.task.as_ref().and_then(|task| task.modified_at);
            let took = created_at
                .zip(ended_at)
                .map_or_else(String::new, |(from, to)| {
                    format!("，用时 {}", spoken(Language::Zh, to.duration_since(from)))
                });
            format!("{image} 同步到 {place} 缓慢{took}：{reason}")
        }
        "blind" => format!(
            "自 {} 起看不到 {}：{reason}",
            second(item.since),
            entry.instance
        ),
        "silent" => format!("{}（{}）没有同步任务", what(entry), entry.instance),
        RECEIVER_FAILING => format!(
            "自 {} 起没有消息送达接收者 {}",
            second(item.since),
            receiver_of(delivery)
        ),
        rule if item.task.is_some() => {
            format!("{image} 同步到 {place} 违反规则 {rule}：{reason}")
        }
        _ => return None,
    })
}

fn resolved(entry: &Entry, delivery: &Delivery) -> Option<String> {
    let item = &entry.item;
    let (image, place) = ends(entry);
    if let (Some(task), Some(by)) = (&item.task, &item.resolved_by) {
        return Some(if task.task_id == *by {
            format!("{image} 最终已同步到 {place}")
        } else {
            format!("{image} 已同步到 {place}（任务 {by}）")
        });
    }
    if let Some((_, why)) = item.summary.split_once(": closed by hand") {
        let what = match &item.task {
            Some(_) => format!("{image} → {place}"),
            None => notice::of(Language::Zh, item).unwrap_or_else(|| entry.instance.clone()),
        };
        let why = why.strip_prefix(": ").unwrap_or_default();
        let colon = if why.is_empty() { "" } else { "：" };
        return Some(format!("{what} 已手动关闭{colon}{why}"));
    }
    Some(match item.rule.as_str() {
        "stuck" => format!("{image} 同步到 {place} 不再卡住"),
        "vanished" => format!("{image} 同步到 {place} 的任务重新列出"),
        "blind" => format!("重新看到 {}", entry.instance),
        "silent" => format!("{}（{}）恢复同步", what(entry), entry.instance),
        RECEIVER_FAILING => format!("接收者 {} 重新收到消息", receiver_of(delivery)),
        rule if item.task.is_some() => format!("{image} 同步到 {place} 不再违反规则 {rule}"),
        _ => return None,
    })
}

fn what(entry: &Entry) -> String {
    notice::of(Language::Zh, &entry.item).unwrap_or_else(|| "实例".to_owned())
}

fn ends(entry: &Entry) -> (String, String) {
    let task = entry.item.task.as_ref();
    let image = task.map(|task| {
        let named = task.from.as_ref().map(Image::name);
        named.unwrap_or_else(|| format!("任务 {}", task.task_id))
    });
    let place = task.and_then(|task| task.to.as_ref()).map(Image::place);
    (
        image.unwrap_or_default(),
        place.unwrap_or_else(|| "目标端".to_owned()),
    )
}
