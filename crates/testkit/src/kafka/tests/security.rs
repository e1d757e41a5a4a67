//! Each listener lets in whom it should, and nobody else: asked by Kafka's own tool.

use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpStream;

use super::super::wire::{Answer, Request};
use super::super::*;
use crate::Authority;

const NAME: &str = "syncbell";
const PASSWORD: &str = "sesame";

/// A client's settings for a listener.
struct Client<'a> {
    cluster: &'a KafkaCluster,
    listener: Listener,
    settings: Vec<String>,
}

impl<'a> Client<'a> {
    fn of(cluster: &'a KafkaCluster, listener: Listener) -> Self {
        let settings = vec![format!("security.protocol={}", listener.protocol())];
        Self {
            cluster,
            listener,
            settings,
        }
    }

    fn set(mut self, setting: String) -> Self {
        self.settings.push(setting);
        self
    }

    fn trusting(self, authority: &Authority) -> Self {
        let pem = in_one_line(&authority.ca_pem());
        self.set("ssl.truststore.type=PEM".to_owned())
            .set(format!("ssl.truststore.certificates={pem}"))
    }

    fn known_as(self, name: &str) -> Self {
        let identity = self.cluster.authority().issue_client(name);
        let (cert, key) = (identity.cert_pem(), identity.key_pem());
        self.set("ssl.keystore.type=PEM".to_owned())
            .set(format!(
                "ssl.keystore.certificate.chain={}",
                in_one_line(&cert)
            ))
            .set(format!("ssl.keystore.key={}", in_one_line(&key)))
    }

    fn logging_in(self, sasl: Sasl, password: &str) -> Self {
        let module = match sasl {
            Sasl::Plain => "plain.PlainLoginModule",
            _ => "scram.ScramLoginModule",
        };
        let jaas = format!(
            "sasl.jaas.config=org.apache.kafka.common.security.{module} required \
             username=\"{NAME}\" password=\"{password}\";"
        );
        self.set(format!("sasl.mechanism={}", sasl.mechanism()))
            .set(jaas)
    }

    /// What the tool says to a question that everybody may ask.
    async fn ask(self, words: &[&str]) -> Result<String, String> {
        let file = self
            .cluster
            .folder()
            .join("1")
            .join(unique_prefix("client"));
        let settings = [
            "request.timeout.ms=5000",
            "default.api.timeout.ms=10000",
            "",
        ];
        let text = settings.join("\n") + &self.settings.join("\n");
        std::fs::write(&file, text).unwrap();
        let bootstrap = self.cluster.bootstrap_of(self.listener);
        let file = file.display().to_string();
        let first = [
            "org.apache.kafka.tools.TopicCommand",
            "--bootstrap-server",
            &bootstrap,
        ];
        let second = ["--command-config", &file];
        let all = [&first[..], &second[..], words].concat();
        self.cluster.run(&all).await
    }

    async fn lists(self) -> Result<String, String> {
        self.ask(&["--list"]).await
    }
}

/// As a properties file keeps a text of several lines.
fn in_one_line(pem: &str) -> String {
    pem.trim().replace('\n', "\\n")
}

/// Logs in as RFC 7628 says; what the broker says where it refuses.
async fn authenticate_by_token(
    cluster: &KafkaCluster,
    listener: Listener,
    token: &str,
) -> Result<(), String> {
    let address = cluster.bootstrap_of(listener);
    let mut stream = TcpStream::connect(address).await.unwrap();
    // SaslHandshake
    let handshake = Request::new(17, 1).text("OAUTHBEARER");
    let body = handshake.exchange_on(&mut stream).await.unwrap();
    assert_eq!(Answer(&body).i16().unwrap(), 0);
    // SaslAuthenticate
    let said = format!("n,,\x01auth=Bearer {token}\x01\x01");
    let authenticate = Request::new(36, 0).bytes(said.as_bytes());
    let body = authenticate.exchange_on(&mut stream).await.unwrap();
    let error = Answer(&body).i16().unwrap();
    let challenge = String::from_utf8_lossy(&body);
    let is_in = error == 0 && !challenge.contains("invalid_token");
    is_in.then_some(()).ok_or_else(|| challenge.into_owned())
}

#[tokio::test]
async fn each_listener_lets_in_whom_it_should() {
    let clear = Listener::clear();
    let (plain, bearer) = (clear.with(Sasl::Plain), clear.with(Sasl::OauthBearer));
    let scram = clear.with(Sasl::ScramSha256);
    let tls_scram = Listener::tls().with(Sasl::ScramSha512);
    let options = [Listener::tls(), plain, bearer, scram, tls_scram]
        .into_iter()
        .fold(KafkaOptions::default(), KafkaOptions::listener)
        .user(NAME, PASSWORD);
    let Some(cluster) = KafkaCluster::start(options).await else {
        return;
    };
    cluster.admin().create_topic(&Topic::new("seen")).await;
    let client = |listener| Client::of(&cluster, listener);
    let authority = cluster.authority();
    let scram = |password| client(scram).logging_in(Sasl::ScramSha256, password);
    let tls_scram = |password| {
        let client = client(tls_scram).trusting(authority);
        client.logging_in(Sasl::ScramSha512, password)
    };
    let plain = |password| client(plain).logging_in(Sasl::Plain, password);
    let good = [
        client(Listener::tls()).trusting(authority),
        plain(PASSWORD),
        scram(PASSWORD),
        tls_scram(PASSWORD),
    ];
    for client in good {
        let what = format!("{:?}", client.listener);
        let said = client.lists().await;
        assert!(
            said.as_ref().is_ok_and(|said| said.contains("seen")),
            "{what}: {said:?}"
        );
    }
    let refused = [
        (
            client(Listener::tls()).trusting(&Authority::new()),
            "SSL handshake failed",
        ),
        (plain("wrong"), "Invalid username or password"),
        (tls_scram("wrong"), "invalid credentials"),
    ];
    for (client, words) in refused {
        let what = format!("{:?}", client.listener);
        let said = client.lists().await.unwrap_err();
        assert!(said.contains(words), "{what}: {said}");
    }

    let now = Timestamp::now();
    let token = |age: i64| {
        let (issued_at, lifetime) = (
            now - SignedDuration::from_secs(age),
            SignedDuration::from_mins(5),
        );
        unsecured_token(NAME, issued_at, lifetime)
    };
    authenticate_by_token(&cluster, bearer, &token(0))
        .await
        .unwrap();
    let refused = authenticate_by_token(&cluster, bearer, &token(3_600)).await;
    assert!(refused.unwrap_err().contains("invalid_token"));
}

#[tokio::test]
async fn a_certificate_names_a_client_that_may_do_what_it_was_allowed() {
    let listener = Listener::mutual_tls();
    let options = KafkaOptions::default().listener(listener).acls();
    let Some(cluster) = KafkaCluster::start(options).await else {
        return;
    };
    let admin = cluster.admin();
    for name in ["mine-changes", "others"] {
        admin.create_topic(&Topic::new(name)).await;
    }
    let client = || Client::of(&cluster, listener).trusting(cluster.authority());
    let nobody = client().lists().await.unwrap_err();
    assert!(nobody.contains("SSL"), "{nobody}");
    let seen = client().known_as(NAME).lists().await.unwrap();
    assert!(!seen.contains("mine-changes"), "{seen}");

    let principal = format!("User:CN={NAME}");
    let create = ["--create", "--topic", "mine-too"];
    let refused = client().known_as(NAME).ask(&create).await.unwrap_err();
    assert!(refused.contains("Authorization"), "{refused}");
    for operation in [Operation::Describe, Operation::Create] {
        admin
            .allow(&principal, operation, Resource::Topic, "mine-")
            .await;
    }
    client().known_as(NAME).ask(&create).await.unwrap();
    let seen = client().known_as(NAME).lists().await.unwrap();
    let seen: Vec<&str> = seen
        .lines()
        .filter(|line| line.starts_with("mine"))
        .collect();
    assert_eq!(seen, ["mine-changes", "mine-too"]);
}
