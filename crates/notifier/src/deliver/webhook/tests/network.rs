//! The way there: which addresses are connected to, proxies, TLS, and answers that misbehave.

use std::collections::VecDeque;
use std::net::IpAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use syncbell_config::{ClientCertificate, Egress, Secret};
use syncbell_testkit::Authority;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::aws_lc_rs};

use super::*;

/// Answers each look-up with the next of these.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    answers: VecDeque<Vec<IpAddr>>,
    asked: Vec<String>,
}

impl Names {
    fn of(answers: &[&[&str]]) -> Self {
        let parse = |text: &&str| text.parse().unwrap();
        let answers = answers
            .iter()
            .map(|answer| answer.iter().map(parse).collect());
        let answers = answers.collect();
        Self(Arc::new(Mutex::new(Known {
            answers,
            asked: Vec::new(),
        })))
    }

    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let mut known = self.0.lock().unwrap();
        known.asked.push(name.as_str().to_owned());
        let answer = known.answers.pop_front().unwrap_or_default();
        Box::pin(async move {
            let addresses = answer
                .into_iter()
                .map(|address| SocketAddr::new(address, 0));
            let addresses: Addrs = Box::new(addresses);
            Ok(addresses)
        })
    }
}

fn channel(webhook: &Webhook, names: &Names) -> WebhookChannel {
    let url = http_url(webhook.url.text().expose()).unwrap();
    let endpoint = Endpoint::try_new_by(&url, &webhook.http, Arc::new(names.clone())).unwrap();
    WebhookChannel::with(endpoint, &url, webhook).unwrap()
}

fn strict(networks: &[&str]) -> Egress {
    let networks = networks.iter().map(|network| network.parse().unwrap());
    Egress {
        strict: true,
        allow_networks: networks.collect(),
    }
}

fn is_surely_not_delivered(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Transient {
            maybe_delivered: false,
            ..
        }
    )
}

#[tokio::test]
async fn a_name_that_flips_to_a_refused_address_between_look_ups_is_not_followed() {
    let (permitted, forbidden) = (Receiver::default(), Receiver::default());
    // Closed after each answer: each attempt looks the name up.
    let close: &[(&str, &str)] = &[("connection", "close")];
    let address = permitted.start(move || answering(204, close, "")).await;
    // The same port on another address of this machine.
    let trap = TcpListener::bind(("127.0.0.2", address.port()))
        .await
        .unwrap();
    let n_trapped = forbidden
        .tasks
        .spawn(async move { trap.accept().await.is_ok() });
    let names = Names::of(&[
        &["127.0.0.1"],
        &["127.0.0.2"],
        &["169.254.169.254"],
        &["127.0.0.2", "127.0.0.1"],
    ]);
    let mut webhook = config(&format!("http://hooks.example.com:{}/", address.port()));
    webhook.http.egress = strict(&["127.0.0.1/32"]);
    let channel = channel(&webhook, &names);
    assert_eq!(attempt(&channel).await.name(), "delivered");
    for refused in ["127.0.0.2", "169.254.169.254"] {
        let outcome = attempt(&channel).await;
        assert!(is_surely_not_delivered(&outcome), "{outcome:?}");
        let line = format!("add {refused}/32 to `allow_networks`");
        assert!(outcome.note().ends_with(&line), "{outcome:?}");
        assert!(
            outcome
                .note()
                .starts_with(&format!("the name stands for {refused}"))
        );
    }
    // Of several, those that are permitted are used.
    assert_eq!(attempt(&channel).await.name(), "delivered");
    assert_eq!(permitted.n_seen(), 2);
    assert!(
        !n_trapped.is_finished(),
        "the refused address was connected to"
    );
    assert_eq!(
        names.asked(),
        ["hooks.example.com"; 4],
        "one look-up a connection"
    );
}

#[tokio::test]
async fn strict_refuses_this_machine_by_address_and_by_name_until_it_is_permitted() {
    let receiver = Receiver::default();
    let address = receiver.start(|| answering(204, &[], "")).await;
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "localhost"] {
        let mut webhook = config(&format!("http://{host}:{}/", address.port()));
        webhook.http.egress = strict(&[]);
        let outcome = send(&webhook).await;
        let expected = if host == "localhost" {
            "transient"
        } else {
            "permanent_target"
        };
        assert_eq!(outcome.name(), expected, "{host}: {outcome:?}");
        assert!(
            outcome.note().contains("add `allow_networks: ["),
            "{outcome:?}"
        );
        assert_eq!(receiver.n_seen(), 0);
    }
    let mut webhook = config(&format!("http://localhost:{}/", address.port()));
    webhook.http.egress = strict(&["127.0.0.0/8", "::1/128"]);
    assert_eq!(send(&webhook).await.name(), "delivered");
}

#[tokio::test]
async fn a_proxy_is_asked_and_not_the_name_and_its_password_stays_hidden() {
    let proxy = Receiver::default();
    let address = proxy.start(|| answering(204, &[], "")).await;
    let names = Names::of(&[&["127.0.0.1"], &["127.0.0.1"]]);
    let mut webhook = config("http://hooks.example.com/T0K3N-of-mine");
    let through = format!("http://me:pr0xy-pass@proxy.example.com:{}", address.port());
    webhook.http.proxy = Some(Secret::new(through.parse().unwrap()));
    // What is refused by name is the proxy's to refuse; its own address is the operator's choice.
    webhook.http.egress = strict(&[]);
    assert_eq!(
        attempt(&channel(&webhook, &names)).await.name(),
        "delivered"
    );
    assert_eq!(names.asked(), ["proxy.example.com"]);
    {
        let seen = proxy.seen.lock().unwrap();
        assert_eq!(seen[0].headers["host"], "hooks.example.com");
        let credentials = STANDARD.encode("me:pr0xy-pass");
        let given = seen[0].headers["proxy-authorization"].to_str().unwrap();
        assert_eq!(given, format!("Basic {credentials}"));
    }
    // An address in the URL itself is checked all the same.
    webhook.url = LiveSecret::fixed("http://169.254.169.254/");
    let outcome = attempt(&channel(&webhook, &names)).await;
    assert_eq!(outcome.name(), "permanent_target");
    assert_eq!(proxy.n_seen(), 1);
}

#[tokio::test]
async fn a_proxy_that_refuses_us_stops_the_lane_and_one_that_is_not_there_does_not() {
    let proxy = Receiver::default();
    let address = proxy.start(|| answering(407, &[], "me:pr0xy-pass")).await;
    let mut webhook = config("http://hooks.example.com/");
    let through = |port: u16| {
        format!("http://me:pr0xy-pass@127.0.0.1:{port}")
            .parse()
            .unwrap()
    };
    webhook.http.proxy = Some(Secret::new(through(address.port())));
    let refused = send(&webhook).await;
    assert_eq!(refused.name(), "permanent_target");
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    for url in ["http://hooks.example.com/", "https://hooks.example.com/"] {
        webhook.url = LiveSecret::fixed(url);
        webhook.http.proxy = Some(Secret::new(through(port)));
        let gone = send(&webhook).await;
        assert!(is_surely_not_delivered(&gone), "{gone:?}");
        assert!(
            !format!("{gone:?}{refused:?}").contains("pr0xy"),
            "{gone:?}"
        );
    }
}

/// Serves TLS and answers 204 to whatever comes.
async fn serve_tls(tasks: &TaskTracker, config: Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(config);
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut buffer = [0; 4096];
            if matches!(stream.read(&mut buffer).await, Ok(n) if n > 0) {
                let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                stream.write_all(answer).await.unwrap();
                stream.shutdown().await.ok();
            }
        }
    });
    port
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_accepted() {
    let (authority, receiver) = (Authority::new(), Receiver::default());
    let other = authority.issue(&["other.example.com"]).server_config();
    let port = serve_tls(&receiver.tasks, other).await;
    let right = authority.issue(&["localhost"]).server_config();
    let right = serve_tls(&receiver.tasks, right).await;
    let mut webhook = config(&format!("https://localhost:{port}/"));
    webhook.http.ca_file = Some(authority.ca_pem_path());
    let outcome = send(&webhook).await;
    assert!(is_surely_not_delivered(&outcome), "{outcome:?}");
    assert!(outcome.note().contains("certificate"), "{outcome:?}");
    webhook.url = LiveSecret::fixed(format!("https://localhost:{right}/"));
    assert_eq!(send(&webhook).await.name(), "delivered");
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_certificate_gets_ours() {
    let (authority, receiver) = (Authority::new(), Receiver::default());
    let server = authority.issue(&["localhost"]);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let roots = Arc::new(roots);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
    let server_config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(server.cert_pem().as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(server.key_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    let port = serve_tls(&receiver.tasks, Arc::new(server_config)).await;
    let mut webhook = config(&format!("https://localhost:{port}/"));
    webhook.http.ca_file = Some(authority.ca_pem_path());
    assert_eq!(send(&webhook).await.name(), "transient");

    let folder = tempfile::tempdir().unwrap();
    authority
        .issue_client("syncbell")
        .write(folder.path())
        .unwrap();
    let (cert_file, key_file) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    webhook.http.client_certificate = Some(ClientCertificate {
        cert_file: cert_file.clone(),
        key_file: key_file.clone(),
    });
    let outcome = send(&webhook).await;
    assert_eq!(outcome.name(), "delivered", "{outcome:?}");
    std::fs::write(&key_file, "-----BEGIN PRIVATE KEY-----\nnone\n").unwrap();
    let error = WebhookChannel::try_new(&webhook).err().unwrap();
    assert!(
        error.to_string().contains("are no certificate and its key"),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_that_drips_ends_with_the_deadline() {
    let drip = |head: &'static str| {
        move |mut stream: TcpStream| async move {
            stream.write_all(head.as_bytes()).await.unwrap();
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
    let no = "HTTP/1.1 500 No\r\ncontent-length: 1000000\r\n\r\n";
    let cases = [
        (ok, "delivered", "HTTP 200 OK: x"),
        (no, "transient", "HTTP 500"),
        (
            "HTTP/1.1 200 OK\r\nx-drip: ",
            "transient",
            "no answer within 1s",
        ),
    ];
    for (head, expected, note) in cases {
        let receiver = Receiver::default();
        let address = receiver.start_raw(drip(head)).await;
        let mut webhook = config(&format!("http://{address}/"));
        webhook.http.timeout = Duration::from_secs(1);
        let outcome = send(&webhook).await;
        assert_eq!(outcome.name(), expected, "{outcome:?}");
        assert!(outcome.note().starts_with(note), "{outcome:?}");
        let in_the_midst = !note.starts_with("no answer");
        assert_eq!(
            outcome.note().ends_with("(the answer did not end)"),
            in_the_midst
        );
    }
}

/// Line after line, each of them whole.
#[tokio::test]
async fn headers_without_an_end_are_read_to_their_bound_only() {
    let receiver = Receiver::default();
    let address = receiver
        .start_raw(|mut stream| async move {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
            while stream.write_all(b"x-more: of them\r\n").await.is_ok() {}
        })
        .await;
    let outcome = send(&config(&format!("http://{address}/"))).await;
    assert_eq!(outcome.name(), "transient", "{outcome:?}");
    assert!(outcome.note().contains("too large"), "{outcome:?}");
}

/// Takes connections, and says nothing, or begins a TLS record and drips the rest of it.
async fn serve_no_handshake(tasks: &TaskTracker, drips: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut more = drips && stream.write_all(&[22, 3, 3, 0x40, 0]).await.is_ok();
            while more {
                tokio::time::sleep(Duration::from_millis(100)).await;
                more = stream.write_all(&[0]).await.is_ok();
            }
            open.push(stream);
        }
    });
    port
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_given_up_and_nothing_was_sent() {
    let tasks = TaskTracker::new();
    let silent = serve_no_handshake(&tasks, false).await;
    let dripping = serve_no_handshake(&tasks, true).await;
    let attempt = async |port: u16| send(&config(&format!("https://127.0.0.1:{port}/"))).await;
    let (silent, dripping) = tokio::join!(attempt(silent), attempt(dripping));
    for outcome in [silent, dripping] {
        assert!(is_surely_not_delivered(&outcome), "{outcome:?}");
        assert!(outcome.note().contains("timed out"), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_redirect_to_a_metadata_address_is_not_followed() {
    let receiver = Receiver::default();
    for status in [301, 302, 303, 307, 308] {
        let location = ("location", "http://169.254.169.254/latest/meta-data/");
        let address = receiver
            .start(move || answering(status, &[location], ""))
            .await;
        let outcome = send(&config(&format!("http://{address}/"))).await;
        assert_eq!(outcome.name(), "permanent_target", "{status}: {outcome:?}");
        assert!(
            outcome.note().starts_with(&format!("HTTP {status}")),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn of_ten_megabytes_the_first_64_kib_are_read() {
    let receiver = Receiver::default();
    let body = "x".repeat(10 * 1024 * 1024);
    let address = receiver.start(move || answering(200, &[], &body)).await;
    let url: Url = format!("http://{address}/").parse().unwrap();
    let endpoint = Endpoint::try_new(&url, &config(url.as_str()).http).unwrap();
    let answer = endpoint.post(&url, |request| request.body("{}")).await;
    let answer = answer.ok().unwrap();
    assert_eq!(answer.end, End::TooLong);
    assert_eq!(answer.body.len(), 64 * 1024);
    assert_eq!(send(&config(url.as_str())).await.name(), "delivered");
}

#[tokio::test]
async fn a_reset_in_the_midst_of_the_answer_does_not_change_what_its_status_said() {
    for (status, expected) in [("200 OK", "delivered"), ("503 Busy", "transient")] {
        let receiver = Receiver::default();
        let address = receiver
            .start_raw(move |mut stream| async move {
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: 1000\r\n\r\nsome");
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
                stream.set_zero_linger().unwrap();
            })
            .await;
        let outcome = send(&config(&format!("http://{address}/"))).await;
        assert_eq!(outcome.name(), expected, "{outcome:?}");
        assert!(
            outcome.note().ends_with("(the answer did not end)"),
            "{outcome:?}"
        );
    }
}
