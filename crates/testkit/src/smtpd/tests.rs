use lettre::message::Message;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use super::*;

const LONG: Duration = Duration::from_secs(20);

type Client = AsyncSmtpTransport<Tokio1Executor>;

fn client(smtpd: &Smtpd, implicit: bool, mechanism: Mechanism, password: &str) -> Client {
    let pem = fs::read(smtpd.ca_pem_path()).unwrap();
    let parameters = TlsParameters::builder("localhost".to_owned())
        .certificate_store(CertificateStore::None)
        .add_root_certificate(Certificate::from_pem(&pem).unwrap())
        .build_rustls()
        .unwrap();
    let (address, tls) = if implicit {
        (smtpd.smtps_addr(), Tls::Wrapper(parameters))
    } else {
        (smtpd.starttls_addr(), Tls::Required(parameters))
    };
    Client::builder_dangerous("127.0.0.1")
        .port(address.port())
        .timeout(Some(LONG))
        .tls(tls)
        .credentials(Credentials::new("syncbell".to_owned(), password.to_owned()))
        .authentication(vec![mechanism])
        .build()
}

fn message(to: &str, id: &str) -> Message {
    Message::builder()
        .from("syncbell@example.com".parse().unwrap())
        .to(to.parse().unwrap())
        .message_id(Some(id.to_owned()))
        .subject("a subject")
        .body("one\r\n.two".to_owned())
        .unwrap()
}

#[tokio::test]
async fn it_takes_mail_over_both_kinds_of_tls_with_both_mechanisms() {
    let smtpd = Smtpd::start(SmtpdOptions::default()).await;
    let mut n = 0;
    for implicit in [false, true] {
        for mechanism in [Mechanism::Plain, Mechanism::Login] {
            n += 1;
            let client = client(&smtpd, implicit, mechanism, "sesame");
            let message = message("oncall@example.test", &format!("<{n}@example.com>"));
            client.send(message).await.unwrap();
        }
    }
    let mails = smtpd.wait_for(n, LONG).await;
    let mut ids: Vec<String> = mails.iter().map(Mail::message_id).collect();
    ids.sort();
    assert_eq!(
        ids,
        [
            "<1@example.com>",
            "<2@example.com>",
            "<3@example.com>",
            "<4@example.com>"
        ]
    );
    for mail in &mails {
        assert_eq!(mail.mail_from, "syncbell@example.com");
        assert_eq!(mail.rcpt_to, ["oncall@example.test"]);
        assert_eq!(mail.authenticated_as.as_deref(), Some("syncbell"));
        assert!(
            mail.tls && mail.text().ends_with("\r\n\r\none\r\n.two\r\n"),
            "{}",
            mail.text()
        );
    }
}

#[tokio::test]
async fn it_refuses_strangers_and_unknown_mailboxes_beside_another_server() {
    let other = Smtpd::start(SmtpdOptions::default()).await;
    let smtpd = Smtpd::start(SmtpdOptions {
        mailboxes: vec!["only".to_owned()],
        ..SmtpdOptions::default()
    })
    .await;
    let known = client(&smtpd, false, Mechanism::Plain, "sesame");
    let unknown = known
        .send(message("oncall@example.test", "<1@x>"))
        .await
        .unwrap_err();
    assert_eq!(
        unknown.status().map(|code| code.to_string()).as_deref(),
        Some("550")
    );
    let stranger = client(&smtpd, true, Mechanism::Login, "wrong");
    let refused = stranger
        .send(message("only@example.test", "<2@x>"))
        .await
        .unwrap_err();
    assert_eq!(
        refused.status().map(|code| code.to_string()).as_deref(),
        Some("535")
    );
    known
        .send(message("only@example.test", "<3@x>"))
        .await
        .unwrap();
    assert_eq!(smtpd.wait_for(1, LONG).await[0].message_id(), "<3@x>");
    assert!(
        smtpd.log().contains("no such mailbox here"),
        "{}",
        smtpd.log()
    );
    assert!(other.mails().is_empty());
}

#[tokio::test]
async fn nothing_of_it_is_left_when_it_is_dropped() {
    let smtpd = Smtpd::start(SmtpdOptions::default()).await;
    let (folder, address) = (smtpd.folder.path().to_owned(), smtpd.smtps_addr());
    assert!(folder.exists());
    drop(smtpd);
    assert!(!folder.exists());
    assert!(std::net::TcpStream::connect(address).is_err());
}
