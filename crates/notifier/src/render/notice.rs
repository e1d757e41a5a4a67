//! What a person does about it: of conditions that the facts alone do not explain. Pure.

use syncbell_config::Language;
use syncbell_event::AlertItem;

use super::{RECEIVER_FAILING, notice_zh};

/// What did not run, of `silent`.
pub(super) fn of(language: Language, item: &AlertItem) -> Option<String> {
    let rule = item.sync_rule_id.as_ref().map(|id| match language {
        Language::En => format!("sync rule {id}"),
        Language::Zh => format!("同步规则 {id}"),
    });
    rule.or_else(|| item.repo.clone())
}

/// What is not known while it lasts, and what to do.
pub(super) fn advice(language: Language, item: &AlertItem) -> Option<(&'static str, &'static str)> {
    match language {
        Language::En => english(item),
        Language::Zh => notice_zh::advice(item),
    }
}

fn english(item: &AlertItem) -> Option<(&'static str, &'static str)> {
    match item.rule.as_str() {
        "blind" => Some((BLIND, blind(&item.reason))),
        "silent" => Some((
            "Images that should have been copied may be missing at their target; no task failed, none ran.",
            "See whether the sync rule is enabled and still matches, and whether images are pushed. Where \
             nothing is pushed for a good reason, raise rules.silent.within.",
        )),
        "stuck" => Some((
            "The image is not at its target; the registry still calls the task open.",
            "Look at the task in the registry's console; cancel it and start it again, or ask the vendor's \
             support with the task's id.",
        )),
        "vanished" => Some((
            "Whether the image reached its target is not known: the registry forgot the task before its end.",
            "See whether the tag is at the target; if it is not, start the synchronization again.",
        )),
        "unknown_status" => Some((
            "Whether the task goes on or failed is not known: Syncbell knows no such status.",
            "Look at the task in the registry's console, and report the status to Syncbell's maintainers.",
        )),
        RECEIVER_FAILING => Some((
            "What is told to this receiver waits and is tried again for 24 hours, then goes to the dead letters. You \
             are told this as the fallback.",
            "See `syncbell deliveries list` for the errors, and repair or replace the receiver; `syncbell \
             dead-letters replay` sends again what was given up.",
        )),
        _ => None,
    }
}

const BLIND: &str = "Failures on this instance are not seen. Nothing is lost: what happened meanwhile is told \
                     when it is seen again, as far as the registry still lists it.";

/// By the class of the failure; what is not known here is told with its message alone.
fn blind(reason: &str) -> &'static str {
    match reason {
        "denied" => {
            "Grant cr:GetRepositorySync on the instance to the access key's user, and see whether a policy \
             or an IP allow list changed. Syncbell tries again by itself."
        }
        "credentials" => {
            "See whether the access key was rotated, disabled or deleted, and that the poller's machine \
             gives it (environment, file or role)."
        }
        "throttled" => {
            "Something spends the account's request quota: raise poll_every, or find the other client. It \
             ends by itself when the registry answers again."
        }
        "unavailable" => {
            "See whether the endpoint can be reached from the poller's machine (network, proxy, DNS), and \
             the vendor's status page. Syncbell tries again by itself."
        }
        "clock" => {
            "Set the clock of the poller's machine (NTP): signatures are refused when it is off."
        }
        "malformed" | "rejected" => {
            "The registry answers, but not as expected: see the poller's log with its request ids, and \
             whether `endpoint` and `region` are right."
        }
        "unstable" => {
            "The list moves faster than it can be read: narrow `filters`, or raise poll_every. It \
             ends with the first stable sweep."
        }
        "gone" => "See whether the instance still exists, under this id and in this region.",
        "disk_full" => "Free space under data_dir on the poller's machine; it goes on by itself.",
        "silent_poller" => {
            "See whether the poller runs, on its machine: /health/ready, its log, and whether it reaches \
             the event log. Start it again; it goes on where it stood."
        }
        "never_heard" => {
            "See whether a poller runs with this instance in its configuration, and whether its first \
             sweep ends: /health/ready and its log."
        }
        "log_lost" => {
            "See who cut or replaced the event log (retention, topic deleted, disk). The poller was asked \
             how everything stands; this ends when it has answered."
        }
        "ledger_lost" => {
            "See what happened to the notifier's data_dir; what was set aside is for support. It goes on by \
             itself, and ends when the poller has answered how everything stands."
        }
        _ => "See the message above and the poller's log.",
    }
}
