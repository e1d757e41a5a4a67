mod fixture;
mod login;
mod server;

use mail_parser::{HeaderValue, Message, MessageParser, MimeHeaders as _};

use super::*;

pub(in crate::deliver) use fixture::delivery;
use fixture::{at, config, texts};
pub(in crate::deliver) use server::certificate;
use server::{Act, Script, serve};

async fn send(channel: &EmailChannel) -> Outcome {
    channel
        .send(
            "oncall@example.com",
            &delivery(&["feedc0de"]),
            texts(),
            at(),
        )
        .await
        .outcome
}

async fn outcome(script: Script) -> Outcome {
    let server = serve(script).await;
    send(&EmailChannel::try_new(&config(&server)).unwrap()).await
}

fn parsed(mail: &str) -> Message<'_> {
    MessageParser::default().parse(mail.as_bytes()).unwrap()
}

fn header<'a>(mail: &'a Message<'_>, name: &str) -> &'a str {
    match mail.header(name.to_owned()) {
        Some(HeaderValue::Text(text)) => text,
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_written() {
    let server = serve(Script::default()).await;
    let channel = EmailChannel::try_new(&config(&server)).unwrap();
    let sent = send(&channel).await;
    assert_eq!(
        sent,
        Outcome::Delivered {
            note: "SMTP 250 2.0.0 queued as 17".into()
        }
    );
    let commands = server.log.commands.lock().unwrap().clone();
    assert_eq!(
        commands,
        [
            "EHLO alerts.example.com",
            "MAIL FROM:<syncbell@alerts.example.com>",
            "RCPT TO:<oncall@example.com>",
            "DATA"
        ]
    );
    let mails = server.log.mails.lock().unwrap().clone();
    assert!(mails[0].is_ascii() && mails[0].split("\r\n").all(|line| line.len() <= 998));
    let mail = parsed(&mails[0]);
    assert_eq!(
        mail.message_id(),
        Some("00112233445566778899aabbccddeeff@alerts.example.com")
    );
    assert_eq!(
        mail.subject(),
        Some("[FIRING] 磁盘 Bcc: victim@example.com")
    );
    assert!(mail.bcc().is_none());
    let root = "incident-feedc0de@alerts.example.com";
    assert_eq!(mail.references().as_text(), Some(root));
    assert_eq!(mail.in_reply_to().as_text(), Some(root));
    assert_eq!(mail.date().unwrap().to_timestamp(), at().as_second());
    assert_eq!(
        mail.from().unwrap().first().unwrap().name(),
        Some("Syncbell")
    );
    let to = mail.to().unwrap().first().unwrap();
    assert_eq!(to.address(), Some("oncall@example.com"));
    assert_eq!(header(&mail, "Auto-Submitted"), "auto-generated");
    assert_eq!(header(&mail, "X-Auto-Response-Suppress"), "All");
    assert_eq!(header(&mail, "X-Alert-Key"), "feedc0de");
    assert_eq!(header(&mail, "X-Alert-Status"), "firing");
    assert_eq!(header(&mail, "X-Alert-Severity"), "error");
    let list = "Syncbell <failed.syncbell.alerts.example.com>";
    assert!(
        mails[0].contains(&format!("\r\nList-Id: {list}\r\n")),
        "{}",
        mails[0]
    );
    assert!(mail.header("X-Priority").is_none());
    // Text first, HTML last: the last is preferred.
    let kind = mail.content_type().unwrap();
    assert_eq!(
        (kind.ctype(), kind.subtype()),
        ("multipart", Some("alternative"))
    );
    let kinds: Vec<_> = mail.parts[1..]
        .iter()
        .map(mail_parser::MessagePart::is_text_html)
        .collect();
    assert_eq!(kinds, [false, true]);
    let text = mail.body_text(0).unwrap().replace("\r\n", "\n");
    assert_eq!(text, texts().text.replace("\r\n", "\n"));
    assert_eq!(
        mail.body_html(0).unwrap().trim_end(),
        texts().html.trim_end()
    );
}

#[tokio::test]
async fn a_retry_is_the_same_mail_and_several_incidents_thread_by_their_group() {
    let server = serve(Script::default()).await;
    let channel = EmailChannel::try_new(&config(&server)).unwrap();
    let delivery = delivery(&["feedc0de", "c0ffee"]);
    for minute in [0, 5] {
        let now = at() + jiff::SignedDuration::from_mins(minute);
        let sent = channel
            .send("oncall@example.com", &delivery, texts(), now)
            .await;
        assert_eq!(sent.status, Some(250));
        assert_eq!(sent.outcome.name(), "delivered");
    }
    let mails = server.log.mails.lock().unwrap().clone();
    let (first, second) = (parsed(&mails[0]), parsed(&mails[1]));
    assert_eq!(first.message_id(), second.message_id());
    let root = format!("group-{}@alerts.example.com", group_key(&delivery));
    assert_eq!(first.references().as_text(), Some(root.as_str()));
    assert_eq!(first.in_reply_to().as_text(), Some(root.as_str()));
    assert_eq!(header(&first, "X-Alert-Key"), group_key(&delivery));
    assert_eq!(
        *server.log.connections.lock().unwrap(),
        1,
        "the connection was not kept"
    );
}

fn group_key(delivery: &Delivery) -> String {
    crate::group::digest(&delivery.group)
}

#[tokio::test]
async fn only_what_is_critical_and_goes_on_is_urgent_and_lists_are_by_rule() {
    use syncbell_event::{AlertStatus, Severity};
    let cases = [
        (Severity::Critical, AlertStatus::Firing, true),
        (Severity::Critical, AlertStatus::Resolved, false),
        (Severity::Error, AlertStatus::Firing, false),
    ];
    for (severity, status, urgent) in cases {
        let server = serve(Script::default()).await;
        let channel = EmailChannel::try_new(&config(&server)).unwrap();
        let mut delivery = delivery(&["feedc0de", "c0ffee"]);
        for entry in &mut delivery.entries {
            (entry.item.severity, entry.item.status) = (severity, status);
        }
        delivery.entries[1].item.rule = "own\r\nBcc: <x@example.com>".into();
        let sent = channel
            .send("oncall@example.com", &delivery, texts(), at())
            .await;
        assert_eq!(sent.outcome.name(), "delivered");
        let mails = server.log.mails.lock().unwrap().clone();
        for name in ["X-Priority: 1", "Importance: high", "Priority: urgent"] {
            let line = format!("\r\n{name}\r\n");
            assert_eq!(mails[0].contains(&line), urgent, "{severity:?} {status:?}");
        }
        let list = "\r\nList-Id: Syncbell <alerts.syncbell.alerts.example.com>\r\n";
        assert!(mails[0].contains(list), "{}", mails[0]);
    }
}

#[tokio::test]
async fn what_is_lost_before_the_text_is_tried_once_more_on_a_fresh_connection() {
    let [greeting, mail, rcpt, end]: [Point; 4] = [
        |s| &mut s.greeting,
        |s| &mut s.mail,
        |s| &mut s.rcpt,
        |s| &mut s.end,
    ];
    let cases = [
        (greeting, Act::Say("421 busy"), 2),
        (greeting, Act::HangUp, 2),
        (mail, Act::HangUp, 2),
        (rcpt, Act::Say("421 closing"), 2),
        (rcpt, Act::Say("452 4.5.3 too many recipients"), 2),
        (rcpt, Act::Say("452 4.3.1 no space"), 1),
        (rcpt, Act::Say("451 4.3.0 later"), 1),
        (end, Act::HangUp, 1),
        (end, Act::Say("421 closing"), 1),
    ];
    for (point, act, connections) in cases {
        let mut script = Script::default();
        *point(&mut script) = act;
        let server = serve(script).await;
        let channel = EmailChannel::try_new(&config(&server)).unwrap();
        assert_eq!(send(&channel).await.name(), "transient", "{act:?}");
        assert_eq!(
            *server.log.connections.lock().unwrap(),
            connections,
            "{act:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_has_had_enough_of_a_connection_gets_the_mail_on_another_one() {
    let server = serve(Script {
        recipients: 2,
        ..Script::default()
    })
    .await;
    let channel = EmailChannel::try_new(&config(&server)).unwrap();
    for _ in 0..5 {
        assert_eq!(send(&channel).await.name(), "delivered");
    }
    assert_eq!(server.log.mails.lock().unwrap().len(), 5);
    assert_eq!(*server.log.connections.lock().unwrap(), 3);
}

#[tokio::test]
async fn a_greylisted_address_waits_five_minutes() {
    let outcome = outcome(Script {
        rcpt: Act::Say("451 4.7.1 greylisted"),
        ..Script::default()
    })
    .await;
    let Outcome::RetryAfter { after, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert!(after >= Duration::from_mins(5));
}

/// A point of the conversation.
type Point = fn(&mut Script) -> &mut Act;

#[tokio::test]
async fn each_refusal_has_its_outcome() {
    let [greeting, mail, rcpt, data, end]: [Point; 5] = [
        |s| &mut s.greeting,
        |s| &mut s.mail,
        |s| &mut s.rcpt,
        |s| &mut s.data,
        |s| &mut s.end,
    ];
    let cases = [
        (greeting, Act::Say("421 busy"), "transient"),
        (greeting, Act::HangUp, "transient"),
        (mail, Act::Say("550 5.7.1 who are you"), "permanent_target"),
        (mail, Act::Say("552 5.3.4 too large"), "permanent_message"),
        (rcpt, Act::Say("450 4.7.1 greylisted"), "retry_after"),
        (rcpt, Act::Say("550 5.1.1 no such user"), "permanent_target"),
        (data, Act::Say("554 no"), "permanent_message"),
        (data, Act::HangUp, "transient"),
        (end, Act::Say("554 5.6.0 spam"), "permanent_message"),
        (end, Act::Say("451 4.3.0 later"), "transient"),
    ];
    for (point, act, expected) in cases {
        let mut script = Script::default();
        *point(&mut script) = act;
        let outcome = outcome(script).await;
        assert_eq!(outcome.name(), expected, "{act:?}: {outcome:?}");
        let unsure = matches!(
            outcome,
            Outcome::Transient {
                maybe_delivered: true,
                ..
            }
        );
        assert!(!unsure, "{act:?}: {outcome:?}");
        if let Act::Say(said) = act {
            assert!(outcome.note().starts_with("SMTP ") && outcome.note().ends_with(said));
        }
    }
}

#[tokio::test]
async fn a_connection_lost_after_the_final_dot_leaves_a_doubt() {
    let lost = outcome(Script {
        end: Act::HangUp,
        ..Script::default()
    })
    .await;
    assert!(
        matches!(
            lost,
            Outcome::Transient {
                maybe_delivered: true,
                ..
            }
        ),
        "{lost:?}"
    );
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_at_the_deadline() {
    let cases = [
        (
            Script {
                greeting: Act::Hang,
                ..Script::default()
            },
            false,
        ),
        (
            Script {
                rcpt: Act::Hang,
                ..Script::default()
            },
            false,
        ),
        (
            Script {
                end: Act::Hang,
                ..Script::default()
            },
            true,
        ),
    ];
    for (script, doubt) in cases {
        let server = serve(script).await;
        let mut email = config(&server);
        email.smtp.timeout = Duration::from_secs(1);
        let outcome = send(&EmailChannel::try_new(&email).unwrap()).await;
        let Outcome::Transient {
            note,
            maybe_delivered,
        } = outcome
        else {
            panic!("{outcome:?}")
        };
        assert_eq!(maybe_delivered, doubt, "{note}");
        assert!(note.contains("not done within 1s"), "{note}");
    }
}

/// Nobody waits for the end of a line that has none, and nobody keeps what it has so far.
#[tokio::test]
async fn an_answer_without_an_end_is_read_to_its_bound_only() {
    for (greets, rcpt) in [(false, Act::Say("250 ok")), (true, Act::Endless)] {
        let server = serve(Script {
            greeting: if greets {
                Act::Say("220 mx")
            } else {
                Act::Endless
            },
            rcpt,
            ..Script::default()
        })
        .await;
        let outcome = send(&EmailChannel::try_new(&config(&server)).unwrap()).await;
        assert_eq!(outcome.name(), "transient", "{outcome:?}");
        assert!(outcome.note().contains("says too much"), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_went_stale_is_replaced_at_once() {
    let server = serve(Script {
        patience: 1,
        ..Script::default()
    })
    .await;
    let channel = EmailChannel::try_new(&config(&server)).unwrap();
    for _ in 0..3 {
        assert_eq!(send(&channel).await.name(), "delivered");
    }
    assert_eq!(*server.log.connections.lock().unwrap(), 3);
    assert_eq!(server.log.mails.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_refused_address_does_not_cost_the_connection() {
    let server = serve(Script {
        rcpt: Act::Say("550 5.1.1 no"),
        ..Script::default()
    })
    .await;
    let channel = EmailChannel::try_new(&config(&server)).unwrap();
    for _ in 0..2 {
        assert_eq!(send(&channel).await.name(), "permanent_target");
    }
    assert_eq!(*server.log.connections.lock().unwrap(), 1);
    assert!(
        server
            .log
            .commands
            .lock()
            .unwrap()
            .contains(&"RSET".to_owned())
    );
}

#[tokio::test]
async fn shutdown_says_goodbye_and_sends_no_more() {
    let server = serve(Script::default()).await;
    let channel = EmailChannel::try_new(&config(&server)).unwrap();
    assert_eq!(send(&channel).await.name(), "delivered");
    channel.shutdown().await;
    assert_eq!(server.log.commands.lock().unwrap().last().unwrap(), "QUIT");
    let late = send(&channel).await;
    assert!(
        matches!(
            late,
            Outcome::Transient {
                maybe_delivered: false,
                ..
            }
        ),
        "{late:?}"
    );
}

#[tokio::test]
async fn a_receiver_has_two_conversations_at_most() {
    let server = serve(Script::default()).await;
    let channel = EmailChannel::try_new(&config(&server)).unwrap();
    let all = futures_util::future::join_all((0..12).map(|_| send(&channel))).await;
    assert!(
        all.iter().all(|outcome| outcome.name() == "delivered"),
        "{all:?}"
    );
    assert!(*server.log.connections.lock().unwrap() <= 2);
    assert_eq!(server.log.mails.lock().unwrap().len(), 12);
}

#[tokio::test]
async fn what_cannot_be_an_address_is_named() {
    let server = serve(Script::default()).await;
    let channel = EmailChannel::try_new(&config(&server)).unwrap();
    let outcome = channel
        .send("no address", &delivery(&["a"]), texts(), at())
        .await;
    assert_eq!(outcome.status, None);
    assert_eq!(outcome.outcome.name(), "permanent_target");
    let abroad = channel
        .send("用户@example.com", &delivery(&["a"]), texts(), at())
        .await
        .outcome;
    assert_eq!(abroad.name(), "permanent_target");
    assert!(abroad.note().contains("beyond ASCII"), "{abroad:?}");
    let mut email = config(&server);
    email.from = "nobody".into();
    assert!(
        EmailChannel::try_new(&email)
            .err()
            .unwrap()
            .to_string()
            .contains("nobody")
    );
    email.from = "a@example.com".into();
    email.smtp.hello = Some("two words".into());
    assert!(
        EmailChannel::try_new(&email)
            .err()
            .unwrap()
            .to_string()
            .contains("EHLO")
    );
}
