//! Every provider against its fake: one suite. What is said of one provider alone stands in its own file.

mod forms;
mod sizes;
mod templates;

use std::sync::LazyLock;

use syncbell_config::{At, Http, Language};
use syncbell_event::Severity;
use syncbell_testkit::{CHAT_TOKEN, ChatOptions, ChatProvider, ChatReply, ChatServer};
use tokio::net::TcpListener;

use super::*;
use crate::render::samples;
use crate::render::tests::renderer;

const SECRET: &str = "SEC0123456789abcdef0123456789abcdef";
const KEYWORD: &str = "syncbell-keyword";

/// A message that begins something.
pub(in crate::deliver) fn message(title: &str, text: &str) -> ChatMessage {
    ChatMessage {
        title: title.to_owned(),
        text: text.to_owned(),
        fires: true,
        mentions: true,
        severity: Severity::Error,
        failures: Vec::new(),
    }
}

/// What signs with this secret.
pub(in crate::deliver) fn signs(secret: &str) -> Signing {
    signing(&LiveSecret::fixed(secret)).unwrap()
}

/// An answer of this status.
pub(in crate::deliver) fn said(status: u16, body: &str) -> Said<'_> {
    static NONE: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
    Said {
        status,
        headers: &NONE,
        pause: None,
        body,
        json: serde_json::from_str(body).ok(),
    }
}

/// The configuration of a robot with all that its provider knows.
fn config(provider: ChatProvider, url: &str) -> Chat {
    let secret = Some(LiveSecret::fixed(SECRET));
    let kind = match provider {
        ChatProvider::Dingtalk => ChatKind::Dingtalk { secret },
        ChatProvider::Feishu => ChatKind::Feishu { secret },
        ChatProvider::Wecom => ChatKind::Wecom,
        ChatProvider::Slack => ChatKind::Slack,
    };
    Chat {
        url: LiveSecret::fixed(url),
        http: Http::default(),
        rates: vec![Rate {
            count: 1,
            per: Duration::from_secs(1),
        }],
        at: At::default(),
        keyword: provider.signs().then(|| KEYWORD.to_owned()),
        kind,
    }
}

async fn robot(provider: ChatProvider) -> ChatServer {
    ChatServer::start(ChatOptions {
        secret: Some(SECRET.to_owned()),
        keyword: provider.signs().then(|| KEYWORD.to_owned()),
        ..ChatOptions::of(provider)
    })
    .await
}

fn sample(name: &str) -> Delivery {
    let mut all = samples::all().into_iter();
    all.find(|(known, _)| *known == name).unwrap().1
}

/// One attempt at a sample, in this language.
async fn tell(channel: &ChatChannel, sampled: &str, language: Language) -> Outcome {
    let now = Timestamp::now();
    let message = channel.message(&renderer(language), &sample(sampled), now);
    assert_eq!(message.failures, []);
    channel.send(&message, now).await.outcome
}

/// One attempt at a message, which is told no secret in its note.
async fn send(chat: &Chat) -> Outcome {
    let channel = ChatChannel::try_new(chat).unwrap();
    let outcome = tell(&channel, "failed", Language::En).await;
    for secret in [CHAT_TOKEN, SECRET, "sign="] {
        assert!(!outcome.note().contains(secret), "{outcome:?}");
    }
    let printed = format!("{chat:?}");
    assert!(
        !printed.contains(CHAT_TOKEN) && !printed.contains(SECRET),
        "{printed}"
    );
    outcome
}

/// One attempt that is answered with `reply`.
async fn answered(provider: ChatProvider, reply: ChatReply) -> Outcome {
    let server = robot(provider).await;
    server.answer_always(Some(reply));
    send(&config(provider, server.url())).await
}

#[tokio::test]
async fn what_begins_and_what_ends_arrives_in_both_languages() {
    for provider in ChatProvider::ALL {
        let server = ChatServer::start(ChatOptions {
            secret: Some(SECRET.to_owned()),
            keyword: provider.signs().then(|| KEYWORD.to_owned()),
            is_limited: false,
            ..ChatOptions::of(provider)
        })
        .await;
        let channel = ChatChannel::try_new(&config(provider, server.url())).unwrap();
        assert_eq!(channel.name(), provider.name());
        let told = [
            ("failed", Language::En, ["FIRING", "did not reach", "rst-1"]),
            ("failed", Language::Zh, ["告警", "未能同步到", "rst-1"]),
            (
                "resolved",
                Language::En,
                ["RESOLVED", "Lasted", "12 minutes"],
            ),
            ("resolved", Language::Zh, ["恢复", "持续时间", "12 分钟"]),
            (
                "a digest",
                Language::En,
                ["34 alerts", "The gravest", "rst-0"],
            ),
            ("a digest", Language::Zh, ["34 条告警", "最严重的", "rst-0"]),
        ];
        for (number, (sampled, language, said)) in told.into_iter().enumerate() {
            let outcome = tell(&channel, sampled, language).await;
            assert_eq!(outcome.name(), "delivered", "{provider:?}: {outcome:?}");
            let messages = server.messages();
            assert_eq!(messages.len(), number + 1);
            let text = messages[number].text();
            let plain = text.replace(crate::render::ZERO_WIDTH_SPACE, "");
            for said in said {
                assert!(plain.contains(said), "{provider:?}: {said} in {plain}");
            }
            if sampled != "a digest" {
                let incident = &sample(sampled).entries[0].item.incident;
                assert!(plain.contains(incident.as_str()), "{provider:?}: {plain}");
            }
            let content_type = &messages[number].headers["content-type"];
            assert_eq!(content_type, "application/json; charset=utf-8");
        }
        // All providers but Slack show a resolve in another colour; which one, their own tests say.
        let bodies: Vec<String> = server
            .messages()
            .iter()
            .map(|one| String::from_utf8_lossy(&one.raw).into_owned())
            .collect();
        let colours: &[&str] = match provider {
            ChatProvider::Dingtalk => &[],
            ChatProvider::Feishu => &["\"red\"", "\"green\""],
            ChatProvider::Wecom => &["\\\"warning\\\"", "\\\"info\\\""],
            ChatProvider::Slack => &["\"#D00000\"", "\"#2EB67D\""],
        };
        if let [begins, ends] = colours {
            assert!(bodies[0].contains(begins) && bodies[2].contains(ends));
        }
    }
}

#[tokio::test]
async fn a_signature_that_is_refused_stops_the_lane_and_a_wrong_clock_is_named() {
    for provider in ChatProvider::ALL.into_iter().filter(|one| one.signs()) {
        let server = robot(provider).await;
        let mut chat = config(provider, server.url());
        let wrong = Some(LiveSecret::fixed("another"));
        chat.kind = match provider {
            ChatProvider::Dingtalk => ChatKind::Dingtalk { secret: wrong },
            _ => ChatKind::Feishu { secret: wrong },
        };
        let outcome = send(&chat).await;
        assert_eq!(outcome.name(), "permanent_target", "{outcome:?}");
        assert!(!outcome.note().contains("clock"), "{outcome:?}");

        let late = ChatServer::start(ChatOptions {
            secret: Some(SECRET.to_owned()),
            clock_ahead: SignedDuration::from_hours(2),
            ..ChatOptions::of(provider)
        })
        .await;
        let outcome = send(&config(provider, late.url())).await;
        assert_eq!(outcome.name(), "permanent_target", "{outcome:?}");
        assert!(late.messages().is_empty());
        let channel = ChatChannel::try_new(&config(provider, late.url())).unwrap();
        let now = Timestamp::now() - SignedDuration::from_mins(121);
        let message = channel.message(&renderer(Language::En), &sample("failed"), now);
        let outcome = channel.send(&message, now).await.outcome;
        let note = outcome.note();
        assert!(
            note.contains("our clock is 2 hours") && note.contains("behind the server's"),
            "{note}"
        );
    }
}

#[tokio::test]
async fn a_robot_that_asks_for_another_word_or_is_gone_stops_the_lane() {
    for provider in ChatProvider::ALL {
        let server = robot(provider).await;
        let url = server.url().replace(CHAT_TOKEN, "an0therT0KEN");
        let outcome = send(&config(provider, &url)).await;
        assert_eq!(outcome.name(), "permanent_target", "{outcome:?}");
        assert!(!outcome.note().contains("an0ther"), "{outcome:?}");
        if provider.signs() {
            let mut chat = config(provider, server.url());
            chat.keyword = None;
            let outcome = send(&chat).await;
            assert_eq!(outcome.name(), "permanent_target", "{outcome:?}");
        }
        assert!(server.messages().is_empty());
    }
}

#[tokio::test]
async fn one_too_many_pauses_the_target_for_as_long_as_it_asks() {
    for provider in ChatProvider::ALL {
        let server = robot(provider).await;
        let channel = ChatChannel::try_new(&config(provider, server.url())).unwrap();
        let mut outcome = tell(&channel, "failed", Language::En).await;
        let mut n = 1;
        while outcome.name() == "delivered" && n < 25 {
            outcome = tell(&channel, "failed", Language::En).await;
            n += 1;
        }
        let Outcome::RetryAfter { after, .. } = outcome else {
            panic!("{provider:?}, the {n}th: {outcome:?}");
        };
        let seconds = match provider {
            ChatProvider::Dingtalk | ChatProvider::Wecom => 60,
            ChatProvider::Feishu | ChatProvider::Slack => 1,
        };
        assert_eq!(after, Duration::from_secs(seconds), "{provider:?}");
    }
}

/// A delivery with ten entries, each with a task of its own.
fn several() -> Delivery {
    let one = sample("failed").entries[0].clone();
    let mut several = sample("failed");
    several.entries = vec![one; 10];
    for (number, entry) in several.entries.iter_mut().enumerate() {
        if let Some(task) = &mut entry.item.task {
            task.task_id = format!("rst-number-{number}").into();
        }
    }
    several
}

#[tokio::test]
async fn what_is_too_large_for_a_robot_is_told_in_half_the_size_and_whole_items_go_first() {
    for provider in ChatProvider::ALL {
        let refusing = |limit_bytes| ChatOptions {
            secret: Some(SECRET.to_owned()),
            keyword: provider.signs().then(|| KEYWORD.to_owned()),
            limit_bytes: Some(limit_bytes),
            is_limited: false,
            ..ChatOptions::of(provider)
        };
        let (renderer, now) = (renderer(Language::En), Timestamp::now());
        let mut delivery = several();
        // What it is before it is found too large.
        let channel =
            ChatChannel::try_new(&config(provider, "https://chat.example.com/x")).unwrap();
        let size = |delivery: &Delivery| {
            let message = channel.message(&renderer, delivery, now);
            let url = channel.url.known();
            channel.provider.request(&message, &url, now).body.len()
        };
        let usual = size(&delivery);
        let server = ChatServer::start(refusing(usual - 1)).await;
        let channel = ChatChannel::try_new(&config(provider, server.url())).unwrap();
        let told = |delivery: &Delivery| {
            let message = channel.message(&renderer, delivery, now);
            assert_eq!(message.failures, []);
            let channel = &channel;
            async move { channel.send(&message, now).await.outcome }
        };
        let refused = told(&delivery).await;
        assert_eq!(refused.name(), "too_large", "{provider:?}: {refused:?}");
        delivery.smaller = true;
        let taken = told(&delivery).await;
        assert_eq!(taken.name(), "delivered", "{provider:?}: {taken:?}");
        let messages = server.messages();
        assert!(messages[0].raw.len() <= usual / 2, "{provider:?}");
        let text = messages[0].text();
        let (_, shown) = messages[0].shown.clone().unwrap();
        assert_eq!(provider.markup_problem(&shown), None, "{shown}");
        assert!(text.contains("rst-number-0"), "{provider:?}: {text}");
        assert!(text.contains(" more"), "{provider:?}: {text}");

        // One item cannot be halved: all that can be left out is, and it is still told what it is about.
        let mut one = sample("failed");
        let usual = size(&one);
        one.smaller = true;
        let least = size(&one);
        assert!(least < usual, "{provider:?}: {least} of {usual}");
        let message = channel.message(&renderer, &one, now);
        assert!(message.text.contains("rst-1"), "{}", message.text);
    }
}

/// A delivery through the whole channel, by way of a configuration with `chat`.
async fn through(chat: Chat) -> Outcome {
    let receiver = syncbell_config::Receiver {
        name: "ops".to_owned(),
        language: Language::En,
        kind: syncbell_config::ReceiverKind::Chat(Box::new(chat)),
    };
    let (templates, console) = (
        syncbell_config::Templates::default(),
        syncbell_config::Console::default(),
    );
    let renderers = crate::render::Renderers::try_new(&templates, &console).unwrap();
    let metrics = crate::metrics::NotifierMetrics::new(&syncbell_service::Metrics::new());
    let channel = crate::deliver::Channel::try_new(&receiver, &renderers, metrics).unwrap();
    let answered = channel.send(&sample("failed"), Timestamp::now()).await;
    assert_eq!(answered.status, Some(200));
    answered.outcome
}

#[tokio::test]
async fn whom_a_message_with_colours_cannot_mention_a_second_one_does() {
    let server = robot(ChatProvider::Wecom).await;
    let mut chat = config(ChatProvider::Wecom, server.url());
    (chat.at.mobiles, chat.at.all) = (vec!["13800001111".to_owned()], true);
    assert_eq!(through(chat.clone()).await.name(), "delivered");
    let [told, mentioned] = &server.messages()[..] else {
        panic!("{:?}", server.messages());
    };
    assert!(told.text().contains("rst-1"), "{}", told.text());
    assert!(
        mentioned.text().ends_with("\n@all 13800001111"),
        "{}",
        mentioned.text()
    );
    // What was told stays told.
    let busy = ChatReply::json(200, r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#);
    let taken = ChatReply::json(200, r#"{"errcode":0,"errmsg":"ok"}"#);
    server.answer_next(1, &taken);
    server.answer_next(1, &busy);
    let outcome = through(chat).await;
    assert_eq!(outcome.name(), "delivered");
    assert!(
        outcome.note().contains("nobody was mentioned"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn http_200_alone_is_not_success() {
    for provider in ChatProvider::ALL {
        let bodies = [
            "",
            "{}",
            "[]",
            "null",
            "<html>",
            "OK, sure",
            "{\"errcode\":\"0\"}",
            "{\"ok\":true}",
            "{\"errcode\":987654}",
            "{\"code\":987654,\"StatusCode\":0}",
        ];
        for body in bodies {
            let outcome = answered(provider, ChatReply::text(200, body)).await;
            assert_eq!(
                outcome.name(),
                "unknown",
                "{provider:?} {body}: {outcome:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_status_that_is_no_success_is_none_whatever_the_body_says() {
    let cases = [
        (500, "transient"),
        (502, "transient"),
        (503, "transient"),
        (401, "permanent_target"),
        (404, "permanent_target"),
        (413, "too_large"),
    ];
    for provider in ChatProvider::ALL {
        for (status, expected) in cases {
            for body in ["ok", "{\"errcode\":0,\"code\":0}", ""] {
                let outcome = answered(provider, ChatReply::text(status, body)).await;
                assert_eq!(outcome.name(), expected, "{provider:?} {status} {body}");
            }
        }
        let busy = ChatReply::text(429, "busy").with_header("retry-after", "7");
        let after = Duration::from_secs(7);
        let outcome = answered(provider, busy).await;
        assert!(
            matches!(outcome, Outcome::RetryAfter { after: asked, .. } if asked == after),
            "{provider:?}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for provider in ChatProvider::ALL {
        let elsewhere = robot(provider).await;
        let outcome = answered(provider, ChatReply::redirect(elsewhere.url())).await;
        assert_eq!(outcome.name(), "permanent_target", "{outcome:?}");
        assert!(elsewhere.requests().is_empty());
    }
}

#[tokio::test]
async fn an_attempt_ends_at_its_deadline_whatever_the_robot_does() {
    for provider in ChatProvider::ALL {
        for reply in [ChatReply::silence(), ChatReply::drip()] {
            let server = robot(provider).await;
            server.answer_always(Some(reply));
            let mut chat = config(provider, server.url());
            chat.http.timeout = Duration::from_millis(1_500);
            let outcome = tokio::time::timeout(Duration::from_mins(1), send(&chat));
            let outcome = outcome.await.expect("it ends by itself");
            let doubt = matches!(
                outcome,
                Outcome::Transient {
                    maybe_delivered: true,
                    ..
                }
            );
            assert!(doubt, "{provider:?}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn an_endless_answer_is_read_to_its_bound_only_and_says_nothing() {
    for provider in ChatProvider::ALL {
        let server = robot(provider).await;
        server.answer_always(Some(ChatReply::endless()));
        let outcome = send(&config(provider, server.url())).await;
        assert_eq!(outcome.name(), "unknown", "{outcome:?}");
        assert!(outcome.note().len() < 300);
        // What lies in the buffers of the system, and not what the robot has.
        let streamed = server.n_streamed();
        assert!(streamed < 64 * 1024 * 1024, "{streamed} bytes");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_leaves_a_doubt_and_no_robot_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = listener.local_addr().unwrap();
    drop(listener);
    for provider in ChatProvider::ALL {
        let outcome = answered(provider, ChatReply::reset()).await;
        let doubt = |outcome: &Outcome, expected| matches!(outcome, Outcome::Transient { maybe_delivered, .. } if *maybe_delivered == expected);
        assert!(doubt(&outcome, true), "{provider:?}: {outcome:?}");
        let gone = send(&config(provider, &format!("http://{free}/{CHAT_TOKEN}"))).await;
        assert!(doubt(&gone, false), "{provider:?}: {gone:?}");
        let metadata = format!("http://169.254.169.254/{CHAT_TOKEN}");
        let refused = ChatChannel::try_new(&config(provider, &metadata)).unwrap();
        let refused = tell(&refused, "failed", Language::En).await;
        assert_eq!(refused.name(), "permanent_target");
    }
}

#[tokio::test]
async fn a_note_repeats_nothing_of_the_url() {
    for provider in ChatProvider::ALL {
        let echo = format!("{{\"errcode\":310000,\"code\":19001,\"errmsg\":\"no {CHAT_TOKEN}\"}}");
        let outcome = answered(provider, ChatReply::json(404, &echo)).await;
        assert_eq!(outcome.name(), "permanent_target");
        assert!(outcome.note().contains("[url]"), "{outcome:?}");
    }
}
