//! What users write, and what they are told.

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
        email.smtp.password.as_ref().unwrap().expose(),
        "hunter2-from-a-file"
    );
    let ReceiverKind::Webhook(webhook) = &config.receivers[0].kind else {
        panic!("no webhook")
    };
    assert_eq!(webhook.key.as_ref().unwrap().expose().len(), 24);
    let printed = format!("{config:?}");
    assert!(
        !printed.contains("hunter2") && !printed.contains("MfKQ"),
        "{printed}"
    );
}

#[test]
fn the_documented_file_works_and_names_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/syncbell.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let env = |name: &str| Some(format!("the-value-of-{name}"));
    if let Err(problems) = parse(&text, "config/syncbell.yaml", folder.path(), &env) {
        panic!("{problems}");
    }
    let keys = "data_dir instances id region endpoint poll_every sweep_every filters namespace \
        repo tag bus embedded receivers name webhook url secret timeout ca_file email from to smtp \
        host port tls username password hello route match group_by group_wait group_interval \
        repeat_interval rules failed issue canceled enabled expire_after baseline alert admin \
        listen notifier_listen";
    for key in keys.split_whitespace() {
        assert!(
            text.contains(&format!("{key}:")),
            "config/syncbell.yaml does not name {key}"
        );
    }
    for label in check::labels() {
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
            "14:15 `kafka` is not available in this version",
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
