mod network;
mod identity;
mod template;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{self, StatusCode, Uri};
use syncbell_config::LiveSecret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use url::Url;

use super::*;
use crate::outcome::Outcome;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// What came in.
struct Seen {
    headers: http::HeaderMap,
    body: Bytes,
    peer: SocketAddr,
}

#[derive(Clone, Default)]
struct Receiver {
    seen: Arc<Mutex<Vec<Seen>>>,
    tasks: TaskTracker,
}

impl Receiver {
    /// Answers each request with `answer`.
    async fn start(
        &self,
        answer: impl Fn() -> http::Response<Body> + Clone + Send + Sync + 'static,
    ) -> SocketAddr {
        let seen = self.seen.clone();
        let app = Router::new().fallback(
            move |ConnectInfo(peer): ConnectInfo<SocketAddr>,
                  headers: http::HeaderMap,
                  body: Bytes| {
                seen.lock().unwrap().push(Seen {
                    headers,
                    body,
                    peer,
                });
                std::future::ready(answer())
            },
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        self.tasks
            .spawn(async move { axum::serve(listener, service).await });
        address
    }

    /// Reads the whole head of one request a connection, then does with it what `then` does.
    async fn start_raw<F: Future<Output = ()> + Send + 'static>(
        &self,
        then: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = self.tasks.clone();
        self.tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                    let mut buffer = [0; 1024];
                    match stream.read(&mut buffer).await {
                        Ok(0) | Err(_) => break,
                        Ok(n) => head.extend_from_slice(&buffer[..n]),
                    }
                }
                tasks.spawn(then(stream));
            }
        });
        address
    }

    fn n_seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

fn config(url: &str) -> Webhook {
    let mut webhook = Webhook::new(&Url::parse(url).unwrap());
    webhook.secrets = vec![LiveSecret::fixed(SECRET)];
    webhook
}

fn answering(status: u16, headers: &[(&str, &str)], body: &str) -> http::Response<Body> {
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::from(body.to_owned())).unwrap()
}

async fn send(webhook: &Webhook) -> Outcome {
    attempt(&WebhookChannel::try_new(webhook).unwrap()).await
}

async fn attempt(channel: &WebhookChannel) -> Outcome {
    channel
        .send(&id(), None, event(b"{}"), Timestamp::now())
        .await
        .outcome
}

fn event(body: &[u8]) -> Payload {
    Payload {
        bytes: body.to_vec(),
        content_type: HeaderValue::from_static(syncbell_event::CONTENT_TYPE),
    }
}

fn id() -> DeliveryId {
    DeliveryId("00112233445566778899aabbccddeeff".into())
}

#[tokio::test]
async fn an_attempt_is_one_signed_post_that_the_standard_s_own_library_accepts() {
    let receiver = Receiver::default();
    let address = receiver
        .start(|| answering(202, &[("set-cookie", "a=b")], ""))
        .await;
    let channel = WebhookChannel::try_new(&config(&format!("http://{address}/hook?x=1"))).unwrap();
    let body = r#"{"text":"磁盘"}"#;
    let now = Timestamp::now();
    for _ in 0..2 {
        let trace = TraceParent::new(0xabc, 0xdef);
        let answered = channel
            .send(&id(), Some(trace), event(body.as_bytes()), now)
            .await;
        assert_eq!(answered.status, Some(202));
        assert_eq!(
            answered.outcome,
            Outcome::Delivered {
                note: "HTTP 202 Accepted".into()
            }
        );
    }
    let seen = receiver.seen.lock().unwrap();
    let oracle = standardwebhooks::Webhook::from_bytes(SECRET.as_bytes().to_vec()).unwrap();
    for seen in seen.iter() {
        assert_eq!(seen.body, body.as_bytes());
        oracle.verify(&seen.body, &seen.headers).unwrap();
        let header = |name: &str| seen.headers[name].to_str().unwrap();
        assert_eq!(header("webhook-id"), id().0);
        let trace = "00-00000000000000000000000000000abc-0000000000000def-01";
        assert_eq!(header("traceparent"), trace);
        assert_eq!(header("webhook-timestamp"), now.as_second().to_string());
        assert_eq!(
            header("content-type"),
            "application/cloudevents+json; charset=utf-8"
        );
        assert_eq!(header("content-length"), body.len().to_string());
        assert!(header("user-agent").starts_with("syncbell/"));
        assert!(!seen.headers.contains_key("cookie"));
    }
    assert_eq!(seen[0].peer, seen[1].peer, "the connection was not kept");
}

#[tokio::test]
async fn without_a_key_there_is_no_signature_but_id_and_timestamp() {
    let receiver = Receiver::default();
    let address = receiver.start(|| answering(200, &[], "ok")).await;
    let mut webhook = config(&format!("http://localhost:{}/", address.port()));
    webhook.secrets.clear();
    assert_eq!(send(&webhook).await.name(), "delivered");
    let seen = receiver.seen.lock().unwrap();
    assert!(!seen[0].headers.contains_key("webhook-signature"));
    assert!(seen[0].headers.contains_key("webhook-id"));
    assert!(seen[0].headers.contains_key("webhook-timestamp"));
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_stops_the_lane() {
    let (target, receiver) = (Receiver::default(), Receiver::default());
    let elsewhere = target.start(|| answering(200, &[], "")).await;
    let location = format!("http://{elsewhere}/");
    let address = receiver
        .start(move || answering(301, &[("location", &location)], "moved"))
        .await;
    let outcome = send(&config(&format!("http://{address}/"))).await;
    let note = "HTTP 301 Moved Permanently: moved".to_owned();
    assert_eq!(outcome, Outcome::PermanentTarget { note });
    assert_eq!((receiver.n_seen(), target.n_seen()), (1, 0));
}

#[tokio::test]
async fn a_pause_is_as_long_as_the_receiver_asks() {
    const DATE: &str = "Wed, 21 Oct 2026 07:28:00 GMT";
    type Headers = &'static [(&'static str, &'static str)];
    let cases: [(u16, Headers, Option<u64>); 6] = [
        (429, &[("retry-after", "7")], Some(7_000)),
        (503, &[("retry-after", "0.35")], Some(350)),
        (
            429,
            &[
                ("retry-after", DATE),
                ("date", "Wed, 21 Oct 2026 07:27:00 GMT"),
            ],
            Some(60_000),
        ),
        (429, &[("retry-after", "99999")], Some(3_600_000)),
        (429, &[], None),
        (500, &[("retry-after", "7")], None),
    ];
    for (status, headers, expected) in cases {
        let receiver = Receiver::default();
        let address = receiver
            .start(move || answering(status, headers, "busy"))
            .await;
        match (send(&config(&format!("http://{address}/"))).await, expected) {
            (Outcome::RetryAfter { after, .. }, Some(expected)) => {
                assert_eq!(after, Duration::from_millis(expected), "{headers:?}");
            }
            (
                Outcome::Transient {
                    maybe_delivered: false,
                    ..
                },
                None,
            ) => {}
            (other, _) => panic!("{status} {headers:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn notes_explain_and_hold_neither_url_nor_key() {
    let receiver = Receiver::default();
    let echo =
        "Cannot POST /T0K3N/secret%20path?sig=S1GN4TUR3 or /T0K3N/secret path\r\nsecond line";
    let address = receiver.start(move || answering(404, &[], echo)).await;
    let path = "T0K3N/secret%20path?sig=S1GN4TUR3";
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let answered = send(&config(&format!("http://{address}/{path}"))).await;
    assert!(
        answered
            .note()
            .starts_with("HTTP 404 Not Found: Cannot POST /[url]"),
        "{answered:?}"
    );
    assert!(!answered.note().contains("second"));
    let refused = send(&config(&format!("http://{free}/{path}"))).await;
    assert!(
        matches!(
            refused,
            Outcome::Transient {
                maybe_delivered: false,
                ..
            }
        ),
        "{refused:?}"
    );
    assert!(refused.note().contains("refused"), "{refused:?}");
    for note in [answered.note(), refused.note()] {
        for secret in [
            "T0K3N",
            "secret path",
            "secret%20path",
            "S1GN4TUR3",
            "0123456789abcdef",
        ] {
            assert!(!note.contains(secret), "{note}");
        }
    }
}

#[tokio::test]
async fn a_silent_receiver_is_given_up_at_the_deadline() {
    let receiver = Receiver::default();
    let address = receiver
        .start_raw(|stream| async move {
            std::future::pending::<()>().await;
            drop(stream);
        })
        .await;
    let mut webhook = config(&format!("http://{address}/"));
    webhook.http.timeout = Duration::from_secs(1);
    let outcome = send(&webhook).await;
    let note = "no answer within 1s".to_owned();
    assert_eq!(
        outcome,
        Outcome::Transient {
            note,
            maybe_delivered: true
        }
    );
}

#[tokio::test]
async fn the_deadline_covers_the_answer_s_body() {
    for (status, expected) in [("200 OK", "delivered"), ("500 No", "transient")] {
        let receiver = Receiver::default();
        let address = receiver
            .start_raw(move |mut stream| async move {
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: 1000\r\n\r\nx");
                stream.write_all(head.as_bytes()).await.unwrap();
                std::future::pending::<()>().await;
            })
            .await;
        let mut webhook = config(&format!("http://{address}/"));
        webhook.http.timeout = Duration::from_secs(1);
        assert_eq!(send(&webhook).await.name(), expected);
    }
}

#[tokio::test]
async fn an_endless_answer_is_read_to_its_bound_only() {
    let receiver = Receiver::default();
    let address = receiver
        .start_raw(|mut stream| async move {
            let head = b"HTTP/1.1 400 Bad\r\ncontent-length: 9999999999\r\n\r\n";
            stream.write_all(head).await.unwrap();
            while stream.write_all(&[b'x'; 8192]).await.is_ok() {}
        })
        .await;
    let outcome = send(&config(&format!("http://{address}/"))).await;
    assert_eq!(outcome.name(), "permanent_message");
    assert!(outcome.note().len() < 300);
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_leaves_a_doubt() {
    let receiver = Receiver::default();
    let address = receiver
        .start_raw(|stream| async move { drop(stream) })
        .await;
    let outcome = send(&config(&format!("http://{address}/"))).await;
    assert!(
        matches!(
            outcome,
            Outcome::Transient {
                maybe_delivered: true,
                ..
            }
        ),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_metadata_address_is_refused_without_a_connection() {
    for url in [
        "http://169.254.169.254/latest",
        "https://[fe80::1]/",
        "http://100.100.100.200/",
    ] {
        let outcome = send(&config(url)).await;
        assert_eq!(outcome.name(), "permanent_target", "{url}");
        assert!(outcome.note().contains("metadata"));
    }
}

#[tokio::test]
async fn its_own_certificates_are_trusted_and_others_are_not() {
    let (pem, acceptor) = crate::deliver::email::tests::certificate("localhost");
    let receiver = Receiver::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    receiver.tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut buffer = [0; 4096];
            let _read = stream.read(&mut buffer).await.unwrap();
            let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let mut webhook = config(&format!("https://localhost:{port}/hook"));
    let outcome = send(&webhook).await;
    assert!(
        matches!(
            outcome,
            Outcome::Transient {
                maybe_delivered: false,
                ..
            }
        ),
        "{outcome:?}"
    );
    assert!(outcome.note().contains("certificate"), "{outcome:?}");
    webhook.http.ca_file = Some(file.path().to_owned());
    let outcome = send(&webhook).await;
    assert_eq!(outcome.name(), "delivered", "{outcome:?}");

    std::fs::write(file.path(), "no certificate in here").unwrap();
    let error = WebhookChannel::try_new(&webhook).err().unwrap();
    assert!(
        error.to_string().contains("holds no certificate"),
        "{error}"
    );
    webhook.http.ca_file = Some("/nowhere/ca.pem".into());
    let error = WebhookChannel::try_new(&webhook).err().unwrap();
    assert!(matches!(error, SetupError::CaFile { .. }));
}

#[tokio::test]
async fn a_path_that_is_asked_for_is_the_configured_one() {
    let asked = Arc::new(Mutex::new(None));
    let keep = asked.clone();
    let app = Router::new().fallback(move |uri: Uri| {
        *keep.lock().unwrap() = Some(uri.to_string());
        std::future::ready(StatusCode::NO_CONTENT)
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = TaskTracker::new();
    tasks.spawn(async move { axum::serve(listener, app).await });
    let webhook = config(&format!("http://{address}/a%2Fb/?q=%20x&y"));
    assert_eq!(send(&webhook).await.name(), "delivered");
    assert_eq!(asked.lock().unwrap().as_deref(), Some("/a%2Fb/?q=%20x&y"));
}
