//! [`notice`](super::notice) in Chinese. Pure.

use syncbell_event::AlertItem;

use super::RECEIVER_FAILING;

/// What is not known while it lasts, and what to do.
pub(super) fn advice(item: &AlertItem) -> Option<(&'static str, &'static str)> {
    match item.rule.as_str() {
        "blind" => Some((
            "看不到此实例上的失败。不会丢失：在镜像服务仍列出的范围内，恢复后会补发期间发生的一切。",
            blind(&item.reason),
        )),
        "silent" => Some((
            "应当复制的镜像可能不在目标端；没有任务失败，也没有任务运行。",
            "检查同步规则是否启用且仍然匹配、是否有镜像推送。如果确实无需推送，请调大 rules.silent.within。",
        )),
        "stuck" => Some((
            "镜像还没有到达目标端；镜像服务仍称任务未完成。",
            "在镜像服务控制台查看该任务；取消后重新发起，或携带任务 ID 提交工单。",
        )),
        "vanished" => Some((
            "不清楚镜像是否到达目标端：任务结束前镜像服务就不再列出它。",
            "检查目标端是否有该版本；如果没有，请重新发起同步。",
        )),
        "unknown_status" => Some((
            "不清楚任务是在继续还是已失败：Syncbell 不认识此状态。",
            "在镜像服务控制台查看该任务，并把此状态告知 Syncbell 的维护者。",
        )),
        RECEIVER_FAILING => Some((
            "发给此接收者的消息会等待并重试 24 小时，之后进入死信。您作为后备接收者收到此消息。",
            "用 `syncbell deliveries list` 查看错误，修复或更换该接收者；用 `syncbell dead-letters replay` 重发已放弃的消息。",
        )),
        _ => None,
    }
}

fn blind(reason: &str) -> &'static str {
    match reason {
        "denied" => {
            "为访问密钥所属用户授予该实例的 cr:GetRepositorySync，并检查策略或 IP 白名单是否有变动。Syncbell 会自动重试。"
        }
        "credentials" => {
            "检查访问密钥是否已轮换、禁用或删除，以及轮询进程所在机器是否提供了密钥（环境变量、文件或角色）。"
        }
        "throttled" => {
            "账号的请求配额被耗尽：调大 poll_every，或找出其他调用方。镜像服务恢复应答后自动结束。"
        }
        "unavailable" => {
            "检查轮询进程所在机器能否访问该地址（网络、代理、DNS），以及阿里云的服务状态页。Syncbell 会自动重试。"
        }
        "clock" => "校准轮询进程所在机器的时钟（NTP）：时钟不准时签名会被拒绝。",
        "malformed" | "rejected" => {
            "镜像服务的应答不符合预期：查看轮询进程日志中的请求 ID，并检查 `endpoint` 和 `region` 是否正确。"
        }
        "unstable" => {
            "列表变化太快，无法读完：收窄 `filters` 或调大 poll_every。第一次稳定的全量读取后结束。"
        }
        "gone" => "检查此 ID 的实例在该地域是否仍然存在。",
        "disk_full" => "释放轮询进程所在机器 data_dir 的磁盘空间；之后自动继续。",
        "silent_poller" => {
            "检查轮询进程是否在其机器上运行：/health/ready、日志，以及能否访问事件日志。重新启动后从原处继续。"
        }
        "never_heard" => {
            "检查是否有轮询进程配置了此实例，以及其首次读取能否完成：/health/ready 和日志。"
        }
        "log_lost" => {
            "查明谁截断或替换了事件日志（保留时间、主题被删、磁盘）。已请求轮询进程重报现状，应答后结束。"
        }
        "ledger_lost" => {
            "查明通知进程的 data_dir 出了什么问题；另存的文件可供排查。之后自动继续，轮询进程重报现状后结束。"
        }
        _ => "查看上面的消息和轮询进程的日志。",
    }
}
