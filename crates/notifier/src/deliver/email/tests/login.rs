//! Passwords and certificates.

use std::path::PathBuf;

use syncbell_config::SmtpTls;

use super::fixture::with_password;
use super::*;

fn ca_file(pem: &str) -> (tempfile::NamedTempFile, Option<PathBuf>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let path = file.path().to_owned();
    (file, Some(path))
}

#[tokio::test]
async fn a_password_in_a_file_is_the_one_that_stands_there_now() {
    let server = serve(Script {
        offers: &["AUTH PLAIN"],
        patience: 1,
        ..Script::default()
    })
    .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut email = config(&server);
    email.smtp.username = Some("me".into());
    email.smtp.password = Some(syncbell_config::LiveSecret::of_file("first", file.path()));
    let channel = EmailChannel::try_new(&email).unwrap();
    assert_eq!(send(&channel).await.name(), "delivered");
    std::fs::write(file.path(), "second\n").unwrap();
    channel.server.look_again();
    assert_eq!(send(&channel).await.name(), "delivered");
    let commands = server.log.commands.lock().unwrap().clone();
    let given: Vec<&String> = commands
        .iter()
        .filter(|said| said.starts_with("AUTH"))
        .collect();
    // NUL, user, NUL, password.
    let [first, second] = ["AUTH PLAIN AG1lAGZpcnN0", "AUTH PLAIN AG1lAHNlY29uZA=="];
    assert_eq!(given, [first, second]);
}

#[tokio::test]
async fn the_password_goes_through_tls_only() {
    let offers = [
        &["STARTTLS", "AUTH PLAIN LOGIN"][..],
        &["AUTH PLAIN LOGIN"][..],
    ];
    let modes = [
        (SmtpTls::Starttls, offers[0], false),
        (SmtpTls::Implicit, offers[1], true),
    ];
    for (tls, offers, implicit) in modes {
        let (pem, acceptor) = certificate("localhost");
        let script = Script {
            offers,
            tls: Some(acceptor),
            implicit,
            ..Script::default()
        };
        let server = serve(script).await;
        let mut email = with_password(config(&server));
        email.smtp.tls = tls;
        // Not to be trusted yet: the lane stops, and nothing was said to that server.
        let outcome = send(&EmailChannel::try_new(&email).unwrap()).await;
        assert_eq!(outcome.name(), "permanent_target", "{tls:?}: {outcome:?}");
        assert!(outcome.note().contains("certificate"), "{outcome:?}");
        let said = server.log.commands.lock().unwrap().join(" ");
        assert!(!said.contains("AUTH"), "{said}");

        let (_file, path) = ca_file(&pem);
        email.smtp.ca_file = path;
        let outcome = send(&EmailChannel::try_new(&email).unwrap()).await;
        assert_eq!(outcome.name(), "delivered", "{tls:?}: {outcome:?}");
        let said = server.log.commands.lock().unwrap().join(" ");
        assert!(said.contains("AUTH PLAIN"), "{said}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let (pem, acceptor) = certificate("other.example.com");
    let script = Script {
        tls: Some(acceptor),
        implicit: true,
        ..Script::default()
    };
    let server = serve(script).await;
    let (_file, path) = ca_file(&pem);
    let mut email = config(&server);
    email.smtp.tls = SmtpTls::Implicit;
    email.smtp.ca_file = path;
    let outcome = send(&EmailChannel::try_new(&email).unwrap()).await;
    assert_eq!(outcome.name(), "permanent_target", "{outcome:?}");
}

#[tokio::test]
async fn a_server_without_starttls_gets_neither_password_nor_mail() {
    let server = serve(Script {
        offers: &["AUTH PLAIN"],
        ..Script::default()
    })
    .await;
    let mut email = with_password(config(&server));
    email.smtp.tls = SmtpTls::Starttls;
    let outcome = send(&EmailChannel::try_new(&email).unwrap()).await;
    assert_eq!(outcome.name(), "permanent_target");
    assert!(outcome.note().contains("STARTTLS"), "{outcome:?}");
    let said = server.log.commands.lock().unwrap().join(" ");
    assert!(!said.contains("AUTH") && !said.contains("MAIL"), "{said}");
}

#[tokio::test]
async fn a_refused_password_stops_the_lane_and_a_busy_server_does_not() {
    let cases = [
        (
            &["AUTH PLAIN"][..],
            Act::Say("535 5.7.8 bad credentials"),
            "permanent_target",
        ),
        (
            &["AUTH PLAIN"][..],
            Act::Say("454 4.7.0 later"),
            "transient",
        ),
        (
            &["AUTH CRAM-MD5"][..],
            Act::Say("235 ok"),
            "permanent_target",
        ),
    ];
    for (offers, auth, expected) in cases {
        let server = serve(Script {
            offers,
            auth,
            ..Script::default()
        })
        .await;
        let email = with_password(config(&server));
        let outcome = send(&EmailChannel::try_new(&email).unwrap()).await;
        assert_eq!(outcome.name(), expected, "{auth:?}: {outcome:?}");
        assert!(!outcome.note().contains("hunter2"));
    }
}
