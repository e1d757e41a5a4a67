//! Robots of chats, as users write them.

use std::time::Duration;

use super::*;

/// `SMALLEST` with a receiver more, of these lines.
fn with(lines: &str) -> Result<Config, Problems> {
    let text = SMALLEST.replacen("route:", &format!("  - name: chat\n{lines}route:"), 1);
    parse(&text, "syncbell.yaml", Path::new("."), &|name| match name {
        "OPS_WEBHOOK_SECRET" => Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
        "CHAT_URL" => Some("https://chat.example.com/T0KEN".to_owned()),
        "CHAT_SECRET" => Some("SECabc".to_owned()),
        "BAD_URL" => Some("chat.example.com/T0KEN".to_owned()),
        _ => None,
    })
}

fn smtp(text: &str) -> String {
    text.replace(", username: syncbell, password: { file: smtp }", "")
}

fn chat(kind: &str, keys: &str) -> Chat {
    let lines = format!("    {kind}: {{ url: {{ env: CHAT_URL }}{keys} }}\n");
    let text = SMALLEST.replacen("route:", &format!("  - name: chat\n{lines}route:"), 1);
    let env = |name: &str| match name {
        "OPS_WEBHOOK_SECRET" => Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
        "CHAT_URL" => Some("https://chat.example.com/T0KEN".to_owned()),
        "CHAT_SECRET" => Some("SECabc".to_owned()),
        _ => None,
    };
    let config = parse(&smtp(&text), "syncbell.yaml", Path::new("."), &env).unwrap();
    assert_eq!(config.warnings.len(), 0, "{:?}", config.warnings);
    match config.receivers[2].kind.clone() {
        ReceiverKind::Chat(chat) => *chat,
        other => panic!("{other:?}"),
    }
}

fn said(lines: &str) -> Vec<String> {
    let problems = with(lines).unwrap_err().0;
    let chat = problems.iter().filter(|problem| problem.line >= 14);
    chat.map(|problem| problem.message.clone()).collect()
}

#[test]
fn each_has_the_vendor_s_limits_unless_it_has_its_own() {
    let (second, minute) = (Duration::from_secs(1), Duration::from_mins(1));
    let rate = |count, per| Rate { count, per };
    let defaults = [
        ("dingtalk", vec![rate(18, minute)]),
        ("feishu", vec![rate(100, minute), rate(5, second)]),
        ("wecom", vec![rate(18, minute)]),
        ("slack", vec![rate(1, second)]),
    ];
    for (kind, rates) in defaults {
        let by_default = chat(kind, "");
        assert_eq!(by_default.rates, rates, "{kind}");
        assert_eq!(
            by_default.url.text().expose(),
            "https://chat.example.com/T0KEN"
        );
        assert_eq!((by_default.at, by_default.keyword), (At::default(), None));
        assert_eq!(by_default.http.timeout, Duration::from_secs(10));
        let own = chat(kind, ", rate: [3/m, 40/h], timeout: 5s");
        assert_eq!(own.rates, [rate(3, minute), rate(40, minute * 60)]);
        assert_eq!(own.http.timeout, Duration::from_secs(5));
    }
    let full = chat(
        "dingtalk",
        ", secret: { env: CHAT_SECRET }, keyword: sync, at: { mobiles: ['13800000000'], users: [u1], all: true }",
    );
    let at = At {
        mobiles: vec!["13800000000".into()],
        users: vec!["u1".into()],
        all: true,
    };
    assert_eq!(
        (full.at.clone(), full.keyword.as_deref()),
        (at, Some("sync"))
    );
    let printed = format!("{full:?}");
    assert!(
        !printed.contains("SECabc") && !printed.contains("T0KEN"),
        "{printed}"
    );
}

#[test]
fn mistakes_are_named_and_no_url_is_shown() {
    let cases = [
        ("    slack: {}\n", "the key `url` is missing here"),
        (
            "    slack: { url: { env: NO_URL } }\n",
            "`url`: the environment variable NO_URL is not set",
        ),
        (
            "    slack: { url: { env: BAD_URL } }\n",
            "`url`: expected an http:// or https:// URL: relative URL without a base",
        ),
        (
            "    slack: { url: { env: CHAT_URL }, rate: [1/d] }\n",
            "`rate`: expected messages in a time, such as `18/m` or `1/s`",
        ),
        (
            "    slack: { url: { env: CHAT_URL }, rate: [0/s] }\n",
            "`rate`: expected messages in a time, such as `18/m` or `1/s`",
        ),
        (
            "    slack: { url: { env: CHAT_URL }, rate: [] }\n",
            "`rate` is empty: expected such as `[18/m]`",
        ),
        (
            "    slack: { url: { env: CHAT_URL }, at: { users: ['<!here>'] } }\n",
            "`users`: expected an id of letters, digits, `_`, `-`, `.` and `@`",
        ),
        (
            "    dingtalk: { url: { env: CHAT_URL }, at: { mobiles: [zhang] } }\n",
            "`mobiles`: expected a mobile number of digits, in quotes",
        ),
        (
            "    dingtalk: { url: { env: CHAT_URL }, keyword: ' ' }\n",
            "`keyword`: expected one of the robot's keywords, at most 64 characters",
        ),
        (
            "    slack: { url: { env: CHAT_URL } }\n    wecom: { url: { env: CHAT_URL } }\n",
            "`chat` has wecom and slack: expected exactly one kind",
        ),
    ];
    for (lines, expected) in cases {
        let said = said(lines);
        assert_eq!(said, [expected], "{lines}");
    }
    let shown = with("    slack: { url: 'https://hooks.slack.com/services/LEAK', rat: 1 }\n");
    let shown = shown.unwrap_err().render(false);
    assert!(
        !shown.contains("LEAK") && shown.contains("`rat`"),
        "{shown}"
    );
}

#[test]
fn questions_without_secrets_know_the_receiver() {
    let text = "instances: [{ id: cri-1, region: cn-shanghai }]\n\
                receivers: [{ name: chat, slack: { url: { env: NO_URL } } }]\n\
                route: { receivers: [chat] }\n";
    let folder = Path::new(".");
    let config = parse_part(text, "syncbell.yaml", folder, Part::Rules, &|_| None).unwrap();
    assert_eq!(config.receivers.len(), 1);
    assert!(parse_part(text, "syncbell.yaml", folder, Part::Notifier, &|_| None).is_err());
}

#[test]
fn the_example_of_each_chat_works() {
    for kind in ["dingtalk", "feishu", "wecom", "slack"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../config/{kind}.yaml"));
        let env = |name: &str| Some(format!("https://chat.example.com/{name}"));
        let config = load(&path, &env).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        assert!(matches!(config.receivers[0].kind, ReceiverKind::Chat(_)));
    }
}
