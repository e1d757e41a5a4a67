//! Each way in, and the words of each refusal.

use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use syncbell_testkit::Authority;
use syncbell_testkit::kafka::acl::{Operation, Resource};
use syncbell_testkit::kafka::listener::{Listener, Sasl, unsecured_token};
use syncbell_testkit::kafka::{self, KafkaCluster};

use super::*;

const NAME: &str = "syncbell";
const PASSWORD: &str = "sesame";

/// One broker with every way in, and what a client of it needs on disk.
struct Secured {
    cluster: KafkaCluster,
    folder: tempfile::TempDir,
}

const WAYS: [Sasl; 4] = [
    Sasl::Plain,
    Sasl::ScramSha256,
    Sasl::ScramSha512,
    Sasl::OauthBearer,
];

impl Secured {
    async fn start(acls: bool) -> Option<Secured> {
        let mut options = kafka::KafkaOptions::brokers(1)
            .user(NAME, PASSWORD)
            .listener(Listener::tls())
            .listener(Listener::mutual_tls());
        for sasl in WAYS {
            options = options.listener(Listener::tls().with(sasl));
        }
        if acls {
            options = options.acls();
        }
        let cluster = KafkaCluster::start(options).await?;
        let folder = tempfile::tempdir().expect("a folder");
        cluster
            .authority()
            .issue_client("client")
            .write(folder.path())
            .expect("certificate and key are written");
        Some(Secured { cluster, folder })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn trusting(authority: &Authority) -> KafkaTls {
        KafkaTls {
            ca_file: Some(authority.ca_pem_path()),
            ..KafkaTls::default()
        }
    }

    fn options(&self, listener: Listener) -> KafkaOptions {
        let mut options = KafkaOptions::new([self.cluster.bootstrap_of(listener)]);
        options.topic_prefix = kafka::unique_prefix("secured");
        options.tls = Some(Self::trusting(self.cluster.authority()));
        options
    }

    fn logging_in(&self, sasl: Sasl, password: &str) -> KafkaOptions {
        let login = KafkaLogin {
            username: NAME.to_owned(),
            password: password.into(),
        };
        let mut options = self.options(Listener::tls().with(sasl));
        options.sasl = Some(match sasl {
            Sasl::Plain => KafkaSasl::Plain(login),
            Sasl::ScramSha256 => KafkaSasl::ScramSha256(login),
            Sasl::ScramSha512 => KafkaSasl::ScramSha512(login),
            Sasl::OauthBearer => KafkaSasl::OauthBearer {
                token_file: self.file("token"),
            },
        });
        options
    }
}

fn write_token(file: &Path, lifetime: SignedDuration) {
    let token = unsecured_token(NAME, jiff::Timestamp::now(), lifetime);
    std::fs::write(file, token).expect("a token is written");
}

/// What is appended comes back.
async fn works(options: KafkaOptions) {
    let bus = Bus::kafka(options).expect("usable options");
    bus.publisher()
        .ready()
        .await
        .expect("the broker lets us in");
    append(&bus, 0..5).await;
    let mut subscriber = bus
        .subscribe(Stream::Changes, StartAt::Start)
        .await
        .unwrap();
    assert_eq!(take(&mut *subscriber, 5).await.len(), 5);
    bus.close().await;
}

/// The words of the refusal, once they have come; the secret is not among them.
async fn refused(options: KafkaOptions, words: &str) {
    let bus = Bus::kafka(options).expect("usable options");
    let publisher = bus.publisher();
    let mut said = String::new();
    let until_said = async {
        while !said.contains(words) {
            said = publisher
                .ready()
                .await
                .expect_err("it is refused")
                .to_string();
        }
    };
    let in_time = tokio::time::timeout(WAIT, until_said).await.is_ok();
    assert!(in_time, "no {words} in {said}");
    assert!(!said.contains(PASSWORD), "{said}");
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_works_and_each_refusal_has_its_own_words() {
    let Some(secured) = Secured::start(false).await else {
        return;
    };
    works(secured.options(Listener::tls())).await;
    let mut mutual = secured.options(Listener::mutual_tls());
    if let Some(tls) = &mut mutual.tls {
        tls.cert_file = Some(secured.file("cert.pem"));
        tls.key_file = Some(secured.file("key.pem"));
    }
    works(mutual).await;
    for sasl in [Sasl::Plain, Sasl::ScramSha256, Sasl::ScramSha512] {
        works(secured.logging_in(sasl, PASSWORD)).await;
        refused(secured.logging_in(sasl, "guessed"), "bus.kafka.sasl").await;
    }
    refused(
        secured.options(Listener::mutual_tls()),
        "bus.kafka.tls.cert_file",
    )
    .await;
    let mut distrusted = secured.options(Listener::tls());
    let stranger = Authority::new();
    distrusted.tls = Some(Secured::trusting(&stranger));
    refused(distrusted, "bus.kafka.tls.ca_file").await;
    let mut clear = secured.options(Listener::tls());
    clear.tls = None;
    refused(clear, "bus.kafka.tls").await;
}

/// Topics are made by hand: the admin client cannot log in with a token. The file is read again when
/// its token has run out.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_read_again_from_its_file_at_each_refresh() {
    let Some(secured) = Secured::start(false).await else {
        return;
    };
    let options = secured.logging_in(Sasl::OauthBearer, PASSWORD);
    let token_file = secured.file("token");
    std::fs::write(&token_file, "no token").unwrap();
    refused(options.clone(), "could not ask for the topic").await;
    write_token(&token_file, SignedDuration::from_secs(20));
    refused(options.clone(), "create them").await;
    let admin = secured.cluster.admin();
    for stream in Stream::ALL {
        let topic = kafka::Topic::new(topics::name(&options, stream)).partitions(2);
        admin.create_topic(&topic).await;
    }
    let bus = Bus::kafka(options).unwrap();
    append(&bus, 0..5).await;
    let mut subscriber = bus
        .subscribe(Stream::Changes, StartAt::Start)
        .await
        .unwrap();
    take(&mut *subscriber, 5).await;
    // The next one comes before the first has run out (librdkafka asks after 80 % of its life).
    write_token(&token_file, SignedDuration::from_hours(1));
    tokio::time::sleep(Duration::from_secs(25)).await;
    append(&bus, 5..10).await;
    take(&mut *subscriber, 5).await;
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_named() {
    let Some(secured) = Secured::start(true).await else {
        return;
    };
    let options = secured.logging_in(Sasl::ScramSha512, PASSWORD);
    refused(options.clone(), "an ACL is missing").await;
    let admin = secured.cluster.admin();
    let principal = format!("User:{NAME}");
    let prefix = options.topic_prefix.clone();
    // What deploy/README.md lists.
    for operation in [
        Operation::Create,
        Operation::Describe,
        Operation::DescribeConfigs,
        Operation::Read,
        Operation::Write,
    ] {
        admin
            .allow(&principal, operation, Resource::Topic, &prefix)
            .await;
    }
    admin
        .allow(&principal, Operation::Read, Resource::Group, &prefix)
        .await;
    works(options).await;
}
