use lettre::message::Message;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

const LONG: Duration = Duration::from_secs(20);

type Client = lettre::transport::smtp::AsyncSmtpTransportBuilder;

fn client(sink: &MailSink) -> Client {
    let pem = std::fs::read(sink.ca_pem_path()).unwrap();
    let parameters = TlsParameters::builder("localhost".to_owned())
        .certificate_store(CertificateStore::None)
        .add_root_certificate(Certificate::from_pem(&pem).unwrap())
        .build_rustls()
        .unwrap();
    let tls = match sink.state.options.tls {
        SinkTls::Plain => Tls::None,
        SinkTls::Starttls => Tls::Required(parameters),
        SinkTls::Implicit => Tls::Wrapper(parameters),
    };
    AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
        .port(sink.addr().port())
        .timeout(Some(LONG))
        .tls(tls)
}

async fn send(client: Client, to: &str, body: &str) -> Result<(), lettre::transport::smtp::Error> {
    let message = Message::builder()
        .from("syncbell@example.com".parse().unwrap())
        .to(to.parse().unwrap())
        .message_id(Some("<1@example.com>".to_owned()))
        .subject("a subject")
        .body(body.to_owned())
        .unwrap();
    client.build().send(message).await.map(drop)
}

fn login() -> (String, String) {
    ("syncbell".to_owned(), "sesame".to_owned())
}

fn credentials(password: &str) -> Credentials {
    Credentials::new("syncbell".to_owned(), password.to_owned())
}

#[tokio::test]
async fn a_plain_sink_takes_a_mail_as_it_was_sent() {
    let sink = MailSink::start(MailSinkOptions::default()).await;
    send(client(&sink), "ops@example.com", "one\r\n.two")
        .await
        .unwrap();
    let mails = sink.wait_for(1, LONG).await;
    assert_eq!(mails[0].mail_from, "syncbell@example.com");
    assert_eq!(mails[0].rcpt_to, ["ops@example.com"]);
    assert_eq!(mails[0].message_id(), "<1@example.com>");
    assert!(
        mails[0].text().ends_with("one\r\n.two\r\n"),
        "{}",
        mails[0].text()
    );
    assert!(mails[0].acknowledged && !mails[0].tls && mails[0].authenticated_as.is_none());
}

#[tokio::test]
async fn tls_and_both_mechanisms_are_proved_by_a_client_that_checks() {
    for tls in [SinkTls::Starttls, SinkTls::Implicit] {
        for mechanism in [Mechanism::Plain, Mechanism::Login] {
            let sink = MailSink::start(MailSinkOptions {
                tls,
                login: Some(login()),
            })
            .await;
            let with = |password| {
                client(&sink)
                    .credentials(credentials(password))
                    .authentication(vec![mechanism])
            };
            send(with("sesame"), "ops@example.com", "x").await.unwrap();
            let mail = sink.wait_for(1, LONG).await.remove(0);
            assert!(mail.tls, "{tls:?} {mechanism:?}");
            assert_eq!(mail.authenticated_as.as_deref(), Some("syncbell"));

            let wrong = send(with("wrong"), "ops@example.com", "x")
                .await
                .unwrap_err();
            assert!(wrong.is_permanent(), "{wrong:?}");
            let without = send(client(&sink), "ops@example.com", "x").await;
            assert!(without.unwrap_err().is_permanent());
            assert_eq!((sink.n_auth_refused(), sink.mails().len()), (1, 1));
        }
    }
}

#[tokio::test]
async fn without_tls_neither_a_password_nor_a_mail_is_taken() {
    let tls = SinkTls::Starttls;
    let sink = MailSink::start(MailSinkOptions {
        tls,
        login: Some(login()),
    })
    .await;
    let mut stream = TcpStream::connect(sink.addr()).await.unwrap();
    let dialogue = b"EHLO me\r\nAUTH PLAIN AHgAeQ==\r\nMAIL FROM:<a@b>\r\nQUIT\r\n";
    stream.write_all(dialogue).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    let codes: Vec<&str> = answers.lines().map(|line| &line[..4]).collect();
    assert_eq!(
        codes,
        [
            "220 ", "250-", "250-", "250-", "250 ", "538 ", "530 ", "221 "
        ]
    );
    assert!(
        !answers.contains("250-AUTH") && answers.contains("250 STARTTLS"),
        "{answers}"
    );

    let plain = MailSink::start(MailSinkOptions::default()).await;
    let insists = client(&sink).port(plain.addr().port());
    assert!(send(insists, "ops@example.com", "x").await.is_err());
    assert!(plain.mails().is_empty() && sink.mails().is_empty());
}

#[tokio::test]
async fn it_refuses_recipients_as_often_as_told() {
    let sink = MailSink::start(MailSinkOptions::default()).await;
    sink.refuse_recipient("Busy@example.com", 450, 1);
    sink.refuse_recipient("gone@example.com", 550, usize::MAX);
    let busy = send(client(&sink), "busy@example.com", "x")
        .await
        .unwrap_err();
    assert!(busy.is_transient());
    send(client(&sink), "busy@example.com", "x").await.unwrap();
    for _ in 0..2 {
        let gone = send(client(&sink), "gone@example.com", "x")
            .await
            .unwrap_err();
        assert!(gone.is_permanent());
    }
    assert_eq!((sink.n_recipients_refused(), sink.mails().len()), (3, 1));
}

#[tokio::test]
async fn it_is_busy_or_forgets_to_answer_on_request() {
    let sink = MailSink::start(MailSinkOptions::default()).await;
    sink.greet_with_421(1);
    assert!(send(client(&sink), "ops@example.com", "x").await.is_err());
    assert_eq!((sink.n_sessions(), sink.mails().len()), (1, 0));

    sink.drop_after_final_dot(1);
    assert!(send(client(&sink), "ops@example.com", "x").await.is_err());
    send(client(&sink), "ops@example.com", "x").await.unwrap();
    let acknowledged: Vec<bool> = sink.mails().iter().map(|mail| mail.acknowledged).collect();
    assert_eq!(acknowledged, [false, true]);
}
