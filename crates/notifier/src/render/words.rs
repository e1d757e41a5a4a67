//! The fixed words of messages, in each language.

use serde::Serialize;
use syncbell_config::Language;

/// Labels and sentences that stand in every message of a kind; templates see them as `words`.
#[derive(Debug, Serialize)]
pub(super) struct Words {
    pub(super) task: &'static str,
    pub(super) ended_by: &'static str,
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) to_region: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: &'static str,
    pub(super) since: &'static str,
    pub(super) lasted: &'static str,
    pub(super) count: &'static str,
    pub(super) rule: &'static str,
    pub(super) incident: &'static str,
    pub(super) instance: &'static str,
    pub(super) sync_rule: &'static str,
    pub(super) repository: &'static str,
    pub(super) started: &'static str,
    pub(super) batch: &'static str,
    pub(super) progress: &'static str,
    pub(super) layers: &'static str,
    pub(super) request: &'static str,
    pub(super) receiver: &'static str,
    pub(super) meanwhile: &'static str,
    pub(super) to_do: &'static str,
    pub(super) not_known: &'static str,
    /// Between a label and its value.
    pub(super) colon: &'static str,
    /// Before the list of what happened earlier on a route.
    pub(super) before: &'static str,
    pub(super) nothing_before: &'static str,
    /// Before the items of a digest.
    pub(super) all_of_them: &'static str,
    pub(super) the_gravest: &'static str,
}

/// The words of `language`.
pub(super) fn of(language: Language) -> &'static Words {
    match language {
        Language::En => &EN,
        Language::Zh => &ZH,
    }
}

const EN: Words = Words {
    task: "Task",
    ended_by: "Ended by",
    from: "From",
    to: "To",
    to_region: "To region",
    reason: "Reason",
    message: "Message",
    since: "Since",
    lasted: "Lasted",
    count: "Count",
    rule: "Rule",
    incident: "Incident",
    instance: "Instance",
    sync_rule: "Sync rule",
    repository: "Repository",
    started: "Started",
    batch: "Batch",
    progress: "Progress",
    layers: "Layers",
    request: "Request",
    receiver: "Receiver",
    meanwhile: "Meanwhile",
    to_do: "To do",
    not_known: "not known",
    colon: ": ",
    before: "Before on this route, newest first:",
    nothing_before: "Before on this route: nothing that Syncbell has seen.",
    all_of_them: "All of them:",
    the_gravest: "The gravest:",
};

const ZH: Words = Words {
    task: "任务",
    ended_by: "由此结束",
    from: "源",
    to: "目标",
    to_region: "目标地域",
    reason: "原因",
    message: "消息",
    since: "开始时间",
    lasted: "持续时间",
    count: "次数",
    rule: "规则",
    incident: "事件",
    instance: "实例",
    sync_rule: "同步规则",
    repository: "镜像仓库",
    started: "触发方式",
    batch: "批次",
    progress: "进度",
    layers: "失败的层",
    request: "请求 ID",
    receiver: "接收者",
    meanwhile: "在此期间",
    to_do: "建议操作",
    not_known: "未知",
    colon: "：",
    before: "此同步链路之前的记录（由新到旧）：",
    nothing_before: "此同步链路之前没有 Syncbell 见过的记录。",
    all_of_them: "全部：",
    the_gravest: "最严重的：",
};
