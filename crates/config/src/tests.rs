//! What users write, and what they are told.

mod chats;
mod discovery;
mod inhibit;
mod credentials;
mod kafka;
mod routes;
mod rules;
mod templates;
mod watchdog;
mod webhook;

use super::*;

const SMALLEST: &str = "\
instances:
  - id: cri-kmsiwlxxdcva0001
    region: cn-shanghai
receivers:
  - name: ops
    webhook:
      url: https://hooks.example.com/syncbell
      secret: { env: OPS_WEBHOOK_SECRET }
  - name: mail
    email:
      from: syncbell@example.com
      to: [oncall@example.com]
      smtp: { host: smtp.example.com, port: 587, tls: starttls, username: syncbell, password: { file: smtp } }
route:
  receivers: [ops, mail]
";

fn read(text: &str) -> Result<Config, Problems> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("smtp"), "hunter2-from-a-file\n").unwrap();
    parse(text, "syncbell.yaml", folder.path(), &|name| {
        (name == "OPS_WEBHOOK_SECRET").then(|| "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned())
    })
}

/// `line:column message` of every problem of `SMALLEST` with `from` replaced by `to`.
fn told(from: &str, to: &str) -> Vec<String> {
    let text = SMALLEST.replacen(from, to, 1);
    assert_ne!(text, SMALLEST, "nothing to replace: {from}");
    let problems = read(&text).unwrap_err();
    problems
        .0
        .iter()
        .map(|p| format!("{}:{} {}", p.line, p.column, p.message))
        .collect()
}

#[test]
fn the_smallest_file_of_the_design_works() {
    let config = read(SMALLEST).unwrap();
    assert_eq!(
        config.instances[0].endpoint.as_str(),
        "https://cr.cn-shanghai.aliyuncs.com/"
    );
    assert_eq!(config.instances[0].poll_every.as_secs(), 15);
    assert_eq!(config.route.receivers, ["ops", "mail"]);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let ReceiverKind::Email(email) = &config.receivers[1].kind else {
        panic!("not mail")
    };
    assert_eq!(
        email.smtp.password.as_ref().unwrap().text().expose(),
        "hunter2-from-a-file"
    );
    let ReceiverKind::Webhook(webhook) = &config.receivers[0].kind else {
        panic!("no webhook")
    };
    let key = signing_key(webhook.secrets[0].text().expose()).unwrap();
    assert_eq!(key.expose().len(), 24);
    let printed = format!("{config:?}");
    assert!(
        !printed.contains("hunter2") && !printed.contains("MfKQ"),
        "{printed}"
    );
}

/// The names of all keys in a schema.
fn keys_of(schema: &serde_json::Value, keys: &mut Vec<String>) {
    match schema {
        serde_json::Value::Object(members) => {
            for (name, member) in members {
                if let (true, Some(properties)) = (name == "properties", member.as_object()) {
                    keys.extend(properties.keys().cloned());
                    // One by one: a key may be named `properties` too.
                    properties.values().for_each(|schema| keys_of(schema, keys));
                } else {
                    keys_of(member, keys);
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| keys_of(item, keys)),
        _ => {}
    }
}

#[test]
fn the_schema_file_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/syncbell.schema.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("SYNCBELL_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        kept, text,
        "run the test with SYNCBELL_BLESS=1 and review the change"
    );
}

#[test]
fn the_documented_file_works_and_names_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/syncbell.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let folder = path.parent().unwrap();
    let env = |name: &str| Some(format!("https://example.com/the-value-of-{name}"));
    if let Err(problems) = parse(&text, "config/syncbell.yaml", folder, &env) {
        panic!("{problems}");
    }
    let mut keys = Vec::new();
    keys_of(&schema(), &mut keys);
    assert!(keys.len() > 40, "the schema is not walked: {keys:?}");
    for key in keys {
        assert!(
            text.contains(&format!("{key}:")),
            "config/syncbell.yaml does not name {key}"
        );
    }
    for label in check::LABELS {
        assert!(
            text.contains(label),
            "config/syncbell.yaml does not name the label {label}"
        );
    }
}

#[test]
fn mistakes_are_named_at_their_place() {
    let cases = [
        (
            "region: cn",
            "regoin: cn",
            "3:5 unknown key `regoin`, did you mean `region`?",
        ),
        (
            "[ops, mail]",
            "[osp, mail]",
            "15:15 no receiver is named `osp`, did you mean `ops`?",
        ),
        (
            "tls: starttls",
            "tls: startls",
            "13:55 `tls`: unknown value `startls`, did you mean `starttls`?",
        ),
        (
            "https://hooks",
            "ftp://hooks",
            "7:12 `url`: expected an http:// or https:// URL",
        ),
        (
            "{ env: OPS_WEBHOOK_SECRET }",
            "{ env: NOPE }",
            "8:15 `secret`: the environment variable NOPE is not set",
        ),
        (
            "region: cn-shanghai",
            "region: Shanghai!",
            "3:13 `region`: expected a region id such as `cn-shanghai`",
        ),
        (
            "oncall@example.com",
            "oncall",
            "12:12 expected a mail address such as `oncall@example.com`",
        ),
        (
            "route:\n",
            "bus: { kafka: { brokers: [a] } }\nroute:\n",
            "14:27 `brokers`: expected `HOST:PORT`: the port is missing",
        ),
        (
            "  receivers: [ops, mail]",
            "  receivers: []",
            "15:14 `receivers` is empty: nobody is told",
        ),
        (
            "  receivers: [ops, mail]",
            "  receivers: [ops]\n  group_by: [instnace]",
            "16:14 unknown label `instnace`, did you mean `instance`?",
        ),
        (
            "  receivers: [ops, mail]",
            "  receivers: [ops]\n  match: ['rule']",
            "16:11 expected `label=value`, `!=`, `=~` or `!~`",
        ),
    ];
    for (from, to, expected) in cases {
        assert_eq!(told(from, to), [expected], "{to}");
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let text = SMALLEST
        .replace(
            "region: cn-shanghai",
            "region: cn-shanghai\n    poll_every: 10",
        )
        .replace("oncall@example.com", "oncall")
        .replace("[ops, mail]", "[pager]");
    let problems = read(&text).unwrap_err();
    assert_eq!(problems.0.len(), 3, "{problems}");
}

#[test]
fn a_problem_shows_its_line_and_never_a_secret() {
    let text = SMALLEST
        .replace("{ env: OPS_WEBHOOK_SECRET }", "open-sesame-open-sesame")
        .replace("password: { file: smtp }", "password: hunter2")
        .replace("tls: starttls", "tls: none");
    let shown = read(&text).unwrap_err().to_string();
    assert!(shown.contains("syncbell.yaml:13:"), "{shown}");
    assert!(
        shown.contains("a password is not sent in the clear"),
        "{shown}"
    );
    assert!(
        !shown.contains("hunter2") && !shown.contains("sesame"),
        "{shown}"
    );
}

#[test]
fn syntax_errors_and_doubled_keys_have_a_place() {
    let doubled = told("route:\n", "route:\n  receivers: [ops]\n");
    assert!(doubled[0].contains("stands here twice"), "{doubled:?}");
    let broken = told("route:\n", "route: [\n");
    assert!(!broken[0].starts_with("0:"), "{broken:?}");
    assert!(read("").unwrap_err().to_string().contains("is empty"));
    let missing = load(Path::new("/nonexistent/syncbell.yaml"), &|_| None).unwrap_err();
    assert!(missing.to_string().contains("cannot be read"), "{missing}");
}

#[test]
fn what_is_unwise_is_a_warning_with_a_place() {
    let text = SMALLEST.replace("      secret: { env: OPS_WEBHOOK_SECRET }\n", "");
    let config = read(&text).unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].message.contains("without a `secret`"));
    assert_ne!(config.warnings[0].line, 0);
}

#[test]
fn a_route_that_would_tell_nobody_is_refused() {
    let route = "  receivers: [ops, mail]";
    let cases = [
        (
            route,
            "match: ['rule=faild']",
            "unknown rule `faild`, did you mean `failed`?",
        ),
        (
            route,
            "match: ['severity=eror']",
            "unknown severity `eror`, did you mean `error`?",
        ),
        (
            route,
            "match: ['from.repo=~web-(a|b']",
            "`web-(a|b` is no regular expression: unclosed group",
        ),
        (route, "group_by: ['...', rule]", "it stands alone"),
        (route, "repeat_interval: 0s", "expected more than `0s`"),
    ];
    for (from, add, expected) in cases {
        let told = told(from, &format!("{from}\n  {add}"));
        assert!(
            told.len() == 1 && told[0].contains(expected),
            "{add}: {told:?}"
        );
    }
}

#[test]
fn a_value_that_would_fail_at_the_first_delivery_is_refused() {
    let cases = [
        ("port: 587", "port: 0", "from 1 to 65535"),
        ("port: 587", "port: many", "from 1 to 65535"),
        (
            "port: 587",
            "hello: \"x\\r\\nRSET\"",
            "`hello`: expected a host name",
        ),
        (
            "host: smtp.example.com",
            "host: 'smtp://a'",
            "`host`: expected a host name",
        ),
        (
            "oncall@example.com",
            "'a b@example..com'",
            "expected a mail address",
        ),
        (
            "[oncall@example.com]",
            "oncall@example.com",
            "expected a list",
        ),
        ("cn-shanghai", "'-'", "expected a region id"),
        (
            "cn-shanghai",
            "cn-shanghai\n    endpoint: 'http://a/#b'",
            "without path and query",
        ),
        ("{ file: smtp }", "12345678", "must stand in quotes"),
        (
            "{ file: smtp }",
            "{ file: /dev/zero }",
            "larger than 64 KiB",
        ),
        (
            "{ env: OPS_WEBHOOK_SECRET }",
            "{ env: whsec_abc }",
            "variable named here is not set",
        ),
    ];
    for (from, to, expected) in cases {
        let told = told(from, to);
        assert!(
            told.len() == 1 && told[0].contains(expected),
            "{to}: {told:?}"
        );
    }
}

#[test]
fn two_kinds_and_kinds_of_later_versions_are_named() {
    let two = told(
        "  - name: mail\n",
        "    teams:\n      x: 1\n  - name: mail\n",
    );
    assert_eq!(
        two,
        [
            "9:5 `teams` is not available in this version",
            "5:5 `ops` has teams and webhook: expected exactly one kind",
        ]
    );
}

#[test]
fn a_problem_is_shown_with_file_line_column_and_what_was_expected() {
    let text = SMALLEST.replace("[ops, mail]", "[ops, mial]");
    let shown = read(&text).unwrap_err().render(false);
    assert_eq!(
        shown,
        "error: no receiver is named `mial`, did you mean `mail`?
  --> syncbell.yaml:15:20
   |
15 |   receivers: [ops, mial]
   |                    ^^^^"
    );
}

#[test]
fn many_problems_in_a_large_file_cost_little_and_are_cut_short() {
    let instances: Vec<String> = (0..20_000)
        .map(|number| {
            format!(
                "  - {{id: cri-{number}, region: Bad, poll_every: x}}
"
            )
        })
        .collect();
    let text = format!(
        "instances:
{}",
        instances.concat()
    );
    // With a copy of the file in each problem these would be 40 GB.
    let problems = read(&text).unwrap_err();
    assert_eq!(problems.0.len(), 20_000 + 2, "{}", problems.0[0].message);
    let shown = problems.to_string();
    assert!(
        shown.ends_with("and 19952 more") && shown.len() < 20_000,
        "{shown}"
    );
}

#[test]
fn a_folder_list_of_systemd_gives_its_first() {
    let text = SMALLEST.replace("{ file: smtp }", "{ env: P }");
    let env = |name: &str| {
        let value = if name == "STATE_DIRECTORY" {
            "/var/lib/a:/var/lib/b"
        } else {
            "0123456789abcdef"
        };
        Some(value.to_owned())
    };
    let config = parse(&text, "syncbell.yaml", Path::new("."), &env).unwrap();
    assert_eq!(config.data_dir, Path::new("/var/lib/a"));
}

#[test]
fn the_small_file_works_without_a_warning() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/small.yaml");
    let config = load(&path, &|_| Some("0123456789abcdef".to_owned())).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn what_only_another_service_needs_may_be_missing_here() {
    let text = SMALLEST.replace("secret: {", "ca_file: missing.pem\n      secret: {");
    let read = |text: &str, part: Part| parse_part(text, "x", Path::new("."), part, &|_| None);
    for part in [Part::All, Part::Notifier] {
        let told = read(&text, part).unwrap_err().0;
        assert_eq!(told.len(), 3, "{part:?}: {told:?}");
    }
    for part in [Part::Poller, Part::Bus] {
        let config = read(&text, part).unwrap();
        assert_eq!(config.warnings.len(), 3, "{:?}", config.warnings);
        assert!(
            config
                .warnings
                .iter()
                .all(|w| w.message.ends_with("(not needed by this service)"))
        );
        assert!(config.receivers.is_empty() && config.route.receivers.is_empty());
        assert_eq!(config.instances.len(), 1);
        // The text itself is one for all.
        let wrong = text.replace("[ops, mail]", "[pager]");
        assert!(
            read(&wrong, part)
                .unwrap_err()
                .to_string()
                .contains("no receiver is named")
        );
    }
    let bus =
        "bus: {kafka: {brokers: [a:1], tls: {}, sasl: {plain: {username: x, password: {env: P}}}}}";
    for part in [Part::All, Part::Poller, Part::Notifier, Part::Bus] {
        let told = read(&format!("{text}{bus}\n"), part).unwrap_err();
        assert!(
            told.to_string().contains("variable P is not set"),
            "{part:?}: {told}"
        );
    }
}

#[test]
fn what_is_over_is_kept_for_as_long_as_it_says_but_not_too_short() {
    let default = read(SMALLEST).unwrap().retention;
    let day = |n: u32| std::time::Duration::from_hours(24) * n;
    assert_eq!((default.incidents, default.tasks), (day(30), day(90)));
    let text = format!("{SMALLEST}retention: {{incidents: 1h, dead_letters: 14d}}\n");
    let kept = read(&text).unwrap().retention;
    assert_eq!(kept.incidents.as_secs(), 3_600);
    assert_eq!((kept.dead_letters, kept.deliveries), (day(14), day(30)));
    let to = "retention: {deliveries: 23h, dead_letters: 1h, tasks: 6d, incidents: 0s}\nroute:";
    let told = told("route:", to);
    for (key, what) in [
        ("deliveries", "at least `24h`"),
        ("dead_letters", "at least `24h`"),
        ("tasks", "at least `168h`"),
        ("incidents", "more than `0s`"),
    ] {
        let names = |one: &&String| one.contains(&format!("`{key}`")) && one.contains(what);
        assert!(told.iter().any(|one| names(&one)), "{key}: {told:?}");
    }
}

/// Whoever asks what would be told needs no secret for it.
#[test]
fn the_rules_can_be_read_where_no_secret_is() {
    let folder = tempfile::tempdir().unwrap();
    let parsed = |part| parse_part(SMALLEST, "syncbell.yaml", folder.path(), part, &|_| None);
    assert!(parsed(Part::Notifier).is_err());
    let config = parsed(Part::Rules).unwrap();
    let names: Vec<&str> = config
        .receivers
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(names, ["ops", "mail"]);
    assert_eq!(config.route.receivers, ["ops", "mail"]);
}
