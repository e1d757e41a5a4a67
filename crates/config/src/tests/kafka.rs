//! `bus.kafka`: what users write, and what they are told.

use super::*;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";
const LOCKED_KEY: &str =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n";

const REST: &str = "
instances: [{id: cri-a, region: cn-a}]
receivers: [{name: ops, webhook: {url: 'https://hooks.example.com/', secret: {env: HOOK}}}]
route: {receivers: [ops]}
";

/// A file whose first lines are `bus: {kafka: …}` with `kafka` indented below it.
fn read_kafka(kafka: &str) -> Result<Config, Problems> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("ca.pem", CERTIFICATE),
        ("client.pem", CERTIFICATE),
        ("client.key", KEY),
        ("locked.key", LOCKED_KEY),
        ("empty", ""),
        ("password", "from-a-file\n"),
        ("token", "eyJ.eyJ.x\n"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let lines = kafka.trim().lines().map(|line| format!("    {line}\n"));
    let text = format!("bus:\n  kafka:\n{}{REST}", lines.collect::<String>());
    parse(&text, "syncbell.yaml", folder.path(), &|name| match name {
        "HOOK" => Some("0123456789abcdef".to_owned()),
        "KAFKA_PASSWORD" => Some("from-the-environment".to_owned()),
        _ => None,
    })
}

fn kafka(text: &str) -> Kafka {
    match read_kafka(text)
        .unwrap_or_else(|problems| panic!("{problems}"))
        .bus
    {
        Bus::Kafka(kafka) => *kafka,
        Bus::Embedded => panic!("not Kafka"),
    }
}

/// `line:column message` of every problem, where line 1 is the first of `text`.
fn told(text: &str) -> Vec<String> {
    let problems = read_kafka(text).expect_err(text).0;
    let said = |problem: Problem| {
        format!(
            "{}:{} {}",
            problem.line - 2,
            problem.column - 4,
            problem.message
        )
    };
    problems
        .into_iter()
        .filter(|p| p.level == Level::Error)
        .map(said)
        .collect()
}

fn warned(text: &str) -> Vec<String> {
    let config = read_kafka(text).unwrap_or_else(|problems| panic!("{problems}"));
    config
        .warnings
        .into_iter()
        .map(|warning| warning.message)
        .collect()
}

#[test]
fn brokers_are_enough() {
    let kafka = kafka("brokers: [kafka-1:9092, '[::1]:9092', kafka-1:9092]");
    assert_eq!(kafka.brokers, ["kafka-1:9092", "[::1]:9092"]);
    assert_eq!(kafka.topic_prefix, "syncbell");
    assert_eq!((kafka.client_id, kafka.tls, kafka.sasl), (None, None, None));
    assert!(kafka.properties.is_empty());
    assert!(warned("brokers: [kafka-1:9092]").is_empty());
}

#[test]
fn everything_that_can_be_set_arrives_and_no_secret_is_printed() {
    let kafka = kafka(
        "brokers: [kafka-1:9093]
topic_prefix: team.syncbell-1_x
client_id: watcher
tls: {ca_file: ca.pem, cert_file: client.pem, key_file: locked.key, key_password: {file: password}}
sasl: {scram_sha_256: {username: me, password: {env: KAFKA_PASSWORD}}}
properties:
  socket.timeout.ms: 30000
  log.connection.close: true
  debug: broker,topic
  client.rack: ''
  ssl.keystore.password: {env: KAFKA_PASSWORD}
  ssl.engine.id: '010'",
    );
    assert_eq!(kafka.topic_prefix, "team.syncbell-1_x");
    assert_eq!(kafka.client_id.as_deref(), Some("watcher"));
    let tls = kafka.tls.clone().unwrap();
    assert!(tls.ca_file.unwrap().ends_with("ca.pem"));
    assert!(tls.cert_file.unwrap().ends_with("client.pem"));
    assert!(tls.key_file.unwrap().ends_with("locked.key"));
    assert_eq!(tls.key_password.unwrap().expose(), "from-a-file");
    let Some(KafkaSasl::ScramSha256(login)) = &kafka.sasl else {
        panic!("{:?}", kafka.sasl)
    };
    assert_eq!(login.username, "me");
    assert_eq!(login.password.expose(), "from-the-environment");
    let properties: Vec<(&str, &str)> = kafka
        .properties
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose().as_str()))
        .collect();
    assert_eq!(
        properties,
        [
            ("client.rack", ""),
            ("debug", "broker,topic"),
            ("log.connection.close", "true"),
            ("socket.timeout.ms", "30000"),
            ("ssl.engine.id", "010"),
            ("ssl.keystore.password", "from-the-environment"),
        ]
    );
    let printed = format!("{kafka:?}");
    assert!(!printed.contains("from-"), "{printed}");
}

#[test]
fn every_kind_of_sasl_is_read() {
    let sasl = |text: &str| {
        kafka(&format!("brokers: [a:1]\ntls: {{}}\nsasl: {text}"))
            .sasl
            .unwrap()
    };
    let login = "{username: me, password: {file: password}}";
    assert!(matches!(
        sasl(&format!("{{plain: {login}}}")),
        KafkaSasl::Plain(_)
    ));
    assert!(matches!(
        sasl(&format!("{{scram_sha_512: {login}}}")),
        KafkaSasl::ScramSha512(_)
    ));
    let KafkaSasl::OauthBearer { token_file } = sasl("{oauth_bearer: {token_file: token}}") else {
        panic!("not a token")
    };
    assert!(token_file.ends_with("token"));
}

/// Each text with the one thing that is told of it.
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let told: Vec<String> = told(text).iter().map(|said| without_folder(said)).collect();
        assert_eq!(told, [*expected], "{text}");
    }
}

#[test]
fn mistakes_about_brokers_are_named_at_their_place() {
    check(&[
        ("topic_prefix: x", "1:1 the key `brokers` is missing here"),
        (
            "brokers: []",
            "1:10 `brokers` is empty: expected at least one `HOST:PORT`",
        ),
        (
            "brokers: [a:1, b]",
            "1:16 `brokers`: expected `HOST:PORT`: the port is missing",
        ),
        (
            "brokers: ['::1:9092']",
            "1:11 `brokers`: expected `HOST:PORT`: an IPv6 address stands in brackets, `[::1]:9092`",
        ),
        (
            "brokers: [a:1]\ntopic_prefix: my topics",
            "2:15 `topic_prefix`: expected 1 to 200 of the characters `a-z`, `A-Z`, `0-9`, `.`, `_`, `-`",
        ),
        (
            "brokers: [a:1]\nclient_id: ''",
            "2:12 `client_id`: expected a text of 1 to 200 characters",
        ),
        (
            "brokers: [a:1]\nbrocers: [b:1]",
            "2:1 unknown key `brocers`, did you mean `brokers`?",
        ),
        (
            "brokers: [a:1]\nproperties: {socket.timeout.ms: [1]}",
            "2:14 expected a text, a number, `true` or `false`, `{env: NAME}` or `{file: PATH}`, found sequence",
        ),
    ]);
}

#[test]
fn mistakes_about_tls_are_named_at_their_place() {
    check(&[
        (
            "brokers: [a:1]\ntls:",
            "2:1 `tls` is empty: `{}` is TLS with the system's certificates",
        ),
        (
            "brokers: [a:1]\ntls: {ca_file: missing.pem}",
            "2:16 `ca_file`: cannot read FOLDER/missing.pem: No such file or directory (os error 2)",
        ),
        (
            "brokers: [a:1]\ntls: {ca_file: client.key}",
            "2:16 `ca_file`: expected certificates as PEM",
        ),
        (
            "brokers: [a:1]\ntls: {cert_file: client.pem}",
            "2:6 `cert_file` and `key_file` belong together",
        ),
        (
            "brokers: [a:1]\ntls: {cert_file: client.pem, key_file: client.pem}",
            "2:40 `key_file`: expected a private key as PEM",
        ),
        (
            "brokers: [a:1]\ntls: {cert_file: client.pem, key_file: locked.key}",
            "2:40 `key_file` is encrypted: the key `key_password` is missing",
        ),
        (
            "brokers: [a:1]\ntls: {key_password: {file: password}}",
            "2:21 `key_password` opens a `key_file`, and there is none",
        ),
    ]);
}

#[test]
fn mistakes_about_sasl_are_named_at_their_place() {
    check(&[
        (
            "brokers: [a:1]\nsasl: {}",
            "2:7 `sasl`: expected `plain`, `scram_sha_256`, `scram_sha_512` or `oauth_bearer`",
        ),
        (
            "brokers: [a:1]\nsasl:",
            "2:1 `sasl` is empty: expected `plain`, `scram_sha_256`, `scram_sha_512` or `oauth_bearer`",
        ),
        (
            "brokers: [a:1]\nsasl: {plian: {username: a}}",
            "2:8 unknown key `plian`, did you mean `plain`?",
        ),
        (
            "brokers: [a:1]\nsasl: {plain: {username: a}}",
            "2:15 the key `password` is missing here",
        ),
        (
            "brokers: [a:1]\nsasl: {plain: {username: a, password: {env: NOPE}}}",
            "2:39 `password`: the environment variable NOPE is not set",
        ),
        (
            "brokers: [a:1]\nsasl: {oauth_bearer: {token_file: empty}}",
            "2:35 `token_file` is empty: expected a token",
        ),
    ]);
    let login = "{username: a, password: {file: password}}";
    let two = told(&format!(
        "brokers: [a:1]\nsasl: {{plain: {login}, scram_sha_512: {login}}}"
    ));
    assert_eq!(
        two,
        ["2:7 `sasl` has plain and scram_sha_512: expected exactly one kind"]
    );
}

/// The test's own folder has another name each time.
fn without_folder(said: &str) -> String {
    let path = said.find(" /").zip(said.find("/missing.pem"));
    path.map_or(said.to_owned(), |(from, to)| {
        format!("{} FOLDER{}", &said[..from], &said[to..])
    })
}

#[test]
fn exactly_one_kind_of_bus() {
    let both = "bus: {embedded: {}, kafka: {brokers: [a:1]}}";
    let cases = [
        (
            both,
            "1:6 `bus` has embedded and kafka: expected exactly one kind",
        ),
        (
            "bus: {kafka: }",
            "1:6 `bus`: expected `{embedded: {}}` or `{kafka: {brokers: [HOST:PORT]}}`",
        ),
    ];
    for (bus, expected) in cases {
        let text = format!("{bus}\n{REST}");
        let problems = parse(&text, "x", Path::new("."), &|_| {
            Some("0123456789abcdef".to_owned())
        });
        let problem = &problems.unwrap_err().0[0];
        let said = format!("{}:{} {}", problem.line, problem.column, problem.message);
        assert_eq!(said, expected);
    }
}

#[test]
fn reserved_properties_are_refused_with_the_reason() {
    for (name, why) in RESERVED_KAFKA_PROPERTIES {
        let told = told(&format!("brokers: [a:1]\nproperties:\n  {name}: 1"));
        assert_eq!(told, [format!("3:3 `{name}` may not be set: {why}")]);
    }
    let told = told("brokers: [a:1]\nproperties: {acks: 1}").remove(0);
    assert!(
        told.contains("nothing lost, nothing out of order"),
        "{told}"
    );
}

#[test]
fn what_travels_in_the_clear_is_a_warning_unless_it_stays_on_this_machine() {
    let login = "{username: me, password: {file: password}}";
    let kinds = [
        (
            format!("plain: {login}"),
            "the password travels in the clear",
        ),
        (format!("scram_sha_512: {login}"), "guess at the password"),
        (
            "oauth_bearer: {token_file: token}".to_owned(),
            "the token travels in the clear",
        ),
    ];
    for (kind, words) in kinds {
        let sasl = format!("sasl: {{{kind}}}");
        let warnings = warned(&format!("brokers: [localhost:9092, kafka:9092]\n{sasl}"));
        assert!(
            warnings.len() == 1 && warnings[0].contains(words),
            "{warnings:?}"
        );
        let local = "brokers: [localhost:9092, 127.0.0.1:9092, '[::1]:9092']";
        assert!(warned(&format!("{local}\n{sasl}")).is_empty());
        assert!(warned(&format!("brokers: [kafka:9092]\ntls: {{}}\n{sasl}")).is_empty());
    }
}

#[test]
fn a_secret_in_the_file_is_a_warning_and_is_shown_nowhere() {
    let text = "brokers: [a:1]
tls: {cert_file: client.pem, key_file: client.key, key_password: LEAK}
sasl: {plain: {username: me, password: LEAK}}
properties: {ssl.keystore.password: LEAK, ssl.key.pem: LEAK, sasl.oauthbearer.client.secret: LEAK}";
    let config = read_kafka(text).unwrap();
    let warnings: Vec<String> = config.warnings.iter().map(|w| w.render(false)).collect();
    assert_eq!(warnings.len(), 5, "{warnings:?}");
    assert!(!warnings.concat().contains("LEAK"), "{warnings:?}");
    assert!(!format!("{config:?}").contains("LEAK"));

    // The secret itself where its file's name belongs.
    for slip in [
        "tls: {key_file: LEAK, cert_file: client.pem}",
        "sasl: {oauth_bearer: {token_file: LEAK}}",
    ] {
        let shown = read_kafka(&format!("brokers: [a:1]\n{slip}"))
            .unwrap_err()
            .to_string();
        assert!(
            shown.contains("cannot read the file") && !shown.contains("LEAK"),
            "{shown}"
        );
    }
}

#[test]
fn properties_of_what_is_switched_off_are_a_warning() {
    let warnings =
        warned("brokers: [a:1]\nproperties: {ssl.ca.location: /x, sasl.kerberos.principal: y}");
    assert_eq!(
        warnings,
        [
            "`ssl.ca.location` does nothing without the key `tls`",
            "`sasl.kerberos.principal` does nothing without the key `sasl`",
        ]
    );
}

#[test]
fn the_kafka_example_works_without_a_warning() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/kafka.yaml");
    let config = load(&path, &|_| Some("0123456789abcdef".to_owned())).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let Bus::Kafka(kafka) = config.bus else {
        panic!("not Kafka")
    };
    assert_eq!(kafka.brokers.len(), 3);
    assert!(matches!(kafka.sasl, Some(KafkaSasl::ScramSha512(_))));
}

#[test]
fn the_keys_that_the_documented_file_leaves_out_work_too() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/syncbell.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let block: Vec<&str> = text
        .lines()
        .skip_while(|line| *line != "  # kafka:")
        .skip(1)
        .map_while(|line| line.strip_prefix("  #   "))
        .map(|line| {
            if line.contains("/run/secrets/") {
                ""
            } else {
                line
            }
        })
        .collect();
    assert!(block.len() > 20, "{block:?}");
    let text = block
        .join("\n")
        .replace("client.key\n", "locked.key\n")
        .replace("KAFKA_KEY_PASSWORD", "KAFKA_PASSWORD");
    let kafka = kafka(&text);
    assert_eq!(kafka.properties.len(), 1);
}
