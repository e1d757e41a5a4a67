//! What messages say with numbers and names in it, in each language. Pure.
//!
//! In: facts that are clean lines already, or are cleaned by the caller. Out: one line each.

use jiff::{SignedDuration, Timestamp};
use syncbell_config::Language;
use syncbell_event::{AlertItem, Severity, Status};

use super::text::{self, counted, second};
use Language::{En, Zh};

/// In front of a subject.
pub(super) fn prefix(language: Language, fires: bool, is_replay: bool) -> &'static str {
    match (language, is_replay, fires) {
        (En, true, _) => "[REPLAY]",
        (En, false, true) => "[FIRING]",
        (En, false, false) => "[RESOLVED]",
        (Zh, true, _) => "【重放】",
        (Zh, false, true) => "【告警】",
        (Zh, false, false) => "【恢复】",
    }
}

/// `firing` or `resolved`, for a line of a list.
pub(super) fn status(language: Language, fires: bool) -> &'static str {
    match (language, fires) {
        (En, true) => "firing",
        (En, false) => "resolved",
        (Zh, true) => "告警",
        (Zh, false) => "恢复",
    }
}

/// The rule's name as people say it; own rules keep theirs.
pub(super) fn rule(language: Language, rule: &str) -> &str {
    match (language, rule) {
        (Zh, "failed") => "同步失败",
        (Zh, "issue") => "同步有问题",
        (Zh, "stuck") => "同步卡住",
        (Zh, "vanished") => "任务消失",
        (Zh, "unknown_status") => "状态未知",
        (Zh, "blind") => "实例不可见",
        (Zh, "silent") => "没有同步",
        (Zh, "canceled") => "同步已取消",
        (Zh, "slow") => "同步缓慢",
        (Zh, "receiver_failing") => "接收者不可达",
        _ => rule,
    }
}

/// Why. What no task is the cause of has reasons of ours: words that programs know.
pub(super) fn reason(language: Language, item: &AlertItem) -> String {
    let code = item.reason.as_str();
    if language == En || item.task.is_some() {
        return code.to_owned();
    }
    let said = match code {
        "denied" => "权限不足",
        "credentials" => "凭证不可用",
        "throttled" => "被限流",
        "unavailable" => "无法连接",
        "clock" => "时钟不准",
        "malformed" => "应答无法解析",
        "rejected" => "请求被拒绝",
        "unstable" => "列表变化太快",
        "gone" => "实例不存在",
        "disk_full" => "磁盘已满",
        "silent_poller" => "轮询进程没有消息",
        "never_heard" => "从未收到消息",
        "log_lost" => "事件日志丢失",
        "ledger_lost" => "账本丢失",
        "nothing_ran" => "没有任务运行",
        "transient" | "retry_after" => "暂时失败",
        "permanent_message" | "permanent_target" => "拒绝接收",
        _ => return code.to_owned(),
    };
    format!("{said}（{code}）")
}

/// In front of the subject of what was for another receiver.
pub(super) fn not_taken(language: Language, receiver: &str) -> String {
    match language {
        En => format!("[not taken by {receiver}] "),
        Zh => format!("【{receiver} 未收】"),
    }
}

/// `failed (error)`
pub(super) fn rule_and_severity(language: Language, name: &str, severity: Severity) -> String {
    let said = match (language, severity) {
        (En, _) => severity.as_str(),
        (Zh, Severity::Critical) => "严重",
        (Zh, Severity::Error) => "错误",
        (Zh, Severity::Warning) => "警告",
        (Zh, Severity::Info) => "提示",
    };
    let spoken = rule(language, name);
    match language {
        En => format!("{name} ({said})"),
        Zh if spoken == name => format!("{name}（{said}）"),
        Zh => format!("{spoken} {name}（{said}）"),
    }
}

/// `failed (firing)`
pub(super) fn rule_and_status(language: Language, name: &str, fires: bool) -> String {
    let (rule, status) = (rule(language, name), status(language, fires));
    match language {
        En => format!("{rule} ({status})"),
        Zh => format!("{rule}（{status}）"),
    }
}

/// `12 alerts`, or `3 firing, 2 resolved`
pub(super) fn totals(language: Language, firing: usize, resolved: usize) -> String {
    match (language, firing, resolved) {
        (En, n, 0) | (En, 0, n) => counted(i64::try_from(n).unwrap_or(i64::MAX), "alert"),
        (En, firing, resolved) => format!("{firing} firing, {resolved} resolved"),
        (Zh, n, 0) => format!("{n} 条告警"),
        (Zh, 0, n) => format!("{n} 条恢复"),
        (Zh, firing, resolved) => format!("{firing} 条告警，{resolved} 条恢复"),
    }
}

/// `3 alerts: failed on cri-1`
pub(super) fn several(language: Language, totals: &str, rules: &str, instances: &str) -> String {
    match (language, instances.is_empty()) {
        (En, true) => format!("{totals}: {rules}"),
        (En, false) => format!("{totals}: {rules} on {instances}"),
        (Zh, true) => format!("{totals}：{rules}"),
        (Zh, false) => format!("{totals}：{rules}（{instances}）"),
    }
}

/// The one value that all have, or how many there are.
pub(super) fn names(language: Language, values: &[&str]) -> String {
    match (language, values) {
        (_, []) => String::new(),
        (_, [one]) => (*one).to_owned(),
        (En, [one, other]) => format!("{one} and {other}"),
        (Zh, [one, other]) => format!("{one}、{other}"),
        (En, [one, rest @ ..]) => format!("{one} and {} more", rest.len()),
        (Zh, [one, rest @ ..]) => format!("{one} 等 {} 个", rest.len() + 1),
    }
}

/// `37 of 40 syncs of v1.8 failed`; without `total` only how many did.
pub(super) fn batch(language: Language, failed: u64, total: Option<u64>, tag: &str) -> String {
    let syncs = if failed == 1 { "sync" } else { "syncs" };
    match (language, total) {
        (En, Some(total)) => format!("{failed} of {total} syncs of {tag} failed"),
        (En, None) => format!("{failed} {syncs} of {tag} failed"),
        (Zh, Some(total)) => format!("{tag} 的 {total} 个同步任务中有 {failed} 个失败"),
        (Zh, None) => format!("{tag} 有 {failed} 个同步任务失败"),
    }
}

/// That nothing new happened since it was told.
pub(super) fn reminder(language: Language, several: bool, totals: &str) -> String {
    match (language, several) {
        (En, true) => format!("Reminder: {totals} still open."),
        (En, false) => "Reminder: this is still open.".to_owned(),
        (Zh, true) => format!("提醒：{totals}，仍未恢复。"),
        (Zh, false) => "提醒：仍未恢复。".to_owned(),
    }
}

/// That a fallback is told what was for another receiver.
pub(super) fn instead_of(language: Language, receiver: &str) -> String {
    match language {
        En => format!("The receiver {receiver} did not take this: you are its fallback."),
        Zh => format!("接收者 {receiver} 未能收到此消息：您是其后备接收者。"),
    }
}

pub(super) fn replay(language: Language, replay: &syncbell_event::Replay) -> String {
    let (since, at, of) = (second(replay.since), second(replay.at), second(replay.of));
    match language {
        En => format!(
            "This is a replay: nothing happened anew. The events since {since} were decided again at {at}; with the \
             rules of now this is told at {of}."
        ),
        Zh => format!(
            "这是一次重放：没有新的事件发生。{since} 以来的事件于 {at} 按现在的规则重新判定；按这些规则，此消息在 {of} 发出。"
        ),
    }
}

/// `12 minutes ago`
pub(super) fn ago(language: Language, since: Timestamp, now: Timestamp) -> String {
    let passed = now.duration_since(since);
    match language {
        En => text::ago(since, now),
        // Also where the server's clock is ahead of ours.
        Zh if passed < SignedDuration::from_secs(5) => "刚刚".to_owned(),
        Zh => format!("{}前", spoken(Zh, passed)),
    }
}

/// `3 hours 5 minutes`
pub(super) fn spoken(language: Language, passed: SignedDuration) -> String {
    if language == En {
        return text::spoken(passed);
    }
    let seconds = passed.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |large: String, small: i64, unit: &str| match small {
        0 => large,
        small => format!("{large} {small} {unit}"),
    };
    match seconds {
        0..60 => format!("{seconds} 秒"),
        60..3_600 => format!("{minutes} 分钟"),
        3_600..172_800 => two(format!("{hours} 小时"), minutes % 60, "分钟"),
        _ => two(format!("{days} 天"), hours % 24, "小时"),
    }
}

/// `2026-01-02 03:04:05 UTC (12 minutes ago)`
pub(super) fn since(language: Language, since: Timestamp, now: Timestamp) -> String {
    let (at, ago) = (second(since), ago(language, since, now));
    match language {
        En => format!("{at} ({ago})"),
        Zh => format!("{at}（{ago}）"),
    }
}

/// `ERROR with NETWORK_ERROR`
pub(super) fn state(language: Language, status: &Status, issue: Option<&str>) -> String {
    match (language, issue) {
        (_, None) => status.to_string(),
        (En, Some(issue)) => format!("{status} with {issue}"),
        (Zh, Some(issue)) => format!("{status}，问题 {issue}"),
    }
}

/// `a in b`
pub(super) fn within(language: Language, what: &str, place: &str) -> String {
    match language {
        En => format!("{what} in {place}"),
        Zh => format!("{what}（{place}）"),
    }
}

/// What ended an incident.
pub(super) fn ended_by(language: Language, task: Option<&str>) -> String {
    match (language, task) {
        (En, None) => "the same task".to_owned(),
        (Zh, None) => "同一任务".to_owned(),
        (En, Some(id)) => format!("task {id}"),
        (Zh, Some(id)) => format!("任务 {id}"),
    }
}

pub(super) fn failures(language: Language, n: u32) -> String {
    match language {
        En => format!("{n} failures in this incident"),
        Zh => format!("此事件中第 {n} 次失败"),
    }
}

/// Who began it.
pub(super) fn trigger(language: Language, trigger: &str) -> &str {
    match (language, trigger) {
        (En, "PASSIVE") => "by a sync rule",
        (En, "INITIATIVE") => "by hand",
        (Zh, "PASSIVE") => "由同步规则触发",
        (Zh, "INITIATIVE") => "手动触发",
        (_, other) => other,
    }
}

/// How the batch of a task stands.
pub(super) fn batch_row(language: Language, total: u64, failed: u64, open: u64) -> String {
    match language {
        En => format!("{failed} of {total} failed, {open} open"),
        Zh => format!("共 {total} 个，失败 {failed} 个，未完成 {open} 个"),
    }
}

pub(super) fn and_more(language: Language, n: usize) -> String {
    match language {
        En => format!("and {n} more"),
        Zh => format!("另有 {n} 个"),
    }
}

/// Of a list of names that was cut.
pub(super) fn and_others(language: Language, named: &str, others: usize) -> String {
    match (language, others) {
        (_, 0) => named.to_owned(),
        (En, others) => format!("{named} and {others} others"),
        (Zh, others) => format!("{named} 等，另有 {others} 个"),
    }
}

/// What a digest counts together because it has no more room.
pub(super) fn others(language: Language, n: usize) -> String {
    match language {
        En => format!("others ({n})"),
        Zh => format!("其他（{n} 种）"),
    }
}

pub(super) fn for_support(language: Language, request_id: &str) -> String {
    match language {
        En => format!("{request_id} (for the registry's support)"),
        Zh => format!("{request_id}（供阿里云工单使用）"),
    }
}

pub(super) fn issue_with_success(language: Language) -> &'static str {
    match language {
        En => "The registry calls this task SUCCESS and reports an issue all the same.",
        Zh => "镜像服务称此任务为 SUCCESS，但同时报告了问题。",
    }
}

pub(super) fn flapping(language: Language) -> &'static str {
    match language {
        En => "This begins and ends over and over: until it is stable, it is told less often.",
        Zh => "此告警反复出现和恢复：稳定之前会减少通知。",
    }
}

pub(super) fn no_repository(language: Language) -> &'static str {
    match language {
        En => "no repository",
        Zh => "无镜像仓库",
    }
}

/// A line of a digest: `FIRING … (task rst-1, since …)`
pub(super) fn digest_line(
    language: Language,
    fires: bool,
    headline: &str,
    task: Option<&str>,
    since: Timestamp,
) -> String {
    let (status, since) = (status(language, fires), second(since));
    match (language, task) {
        (En, Some(task)) => {
            format!(
                "{} {headline} (task {task}, since {since})",
                status.to_uppercase()
            )
        }
        (En, None) => format!("{} {headline} (since {since})", status.to_uppercase()),
        (Zh, Some(task)) => format!("【{status}】{headline}（任务 {task}，自 {since}）"),
        (Zh, None) => format!("【{status}】{headline}（自 {since}）"),
    }
}

/// Before the command that shows all about a delivery.
pub(super) fn footer(language: Language, receiver: &str) -> String {
    match language {
        En => format!("Syncbell, for {receiver}. All about this alert:"),
        Zh => format!("Syncbell，发给 {receiver}。此告警的全部信息："),
    }
}
