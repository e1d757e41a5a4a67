//! The webhook's keys: who we are, how to get there, and where requests may go.

use super::*;

const HEAD: &str = "instances: [{id: cri-a, region: cn-shanghai}]\nroute: {receivers: [ops]}\n";

/// A file whose only receiver is a webhook with `keys`, and `rest` behind it.
fn parsed(keys: &str, rest: &str) -> Result<Webhook, Vec<String>> {
    let text = format!("{HEAD}receivers:\n  - name: ops\n    webhook: {{{keys}}}\n{rest}");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("url", "https://hooks.example.com/T0KEN\n");
    write("cert.pem", "-----BEGIN CERTIFICATE-----\n");
    write("key.pem", "-----BEGIN PRIVATE KEY-----\n");
    write("body.json", "{\"text\": {{ title }}}");
    write("locked.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
    let env = |name: &str| match name {
        "URL" => Some("https://hooks.example.com/T0KEN".to_owned()),
        "METADATA" => Some("http://100.100.100.200/T0KEN".to_owned()),
        "USER" => Some("https://me:T0KEN@hooks.example.com/".to_owned()),
        "OLD" => Some("the old one, long enough".to_owned()),
        "LINES" => Some("one\ntwo T0KEN".to_owned()),
        _ => None,
    };
    let read = parse(&text, "x", folder.path(), &env);
    let told = |problems: &[Problem]| -> Vec<String> {
        let errors = problems.iter().filter(|p| p.level == Level::Error);
        errors
            .map(|p| format!("{}:{} {}", p.line, p.column, p.message))
            .collect()
    };
    match read {
        Ok(mut config) => match config.receivers.remove(0).kind {
            ReceiverKind::Webhook(webhook) => Ok(*webhook),
            ReceiverKind::Email(_) | ReceiverKind::Chat(_) => panic!("no webhook"),
        },
        Err(problems) => {
            assert!(!problems.render(false).contains("T0KEN"));
            Err(told(&problems.0))
        }
    }
}

#[test]
fn a_url_may_stand_elsewhere_and_is_never_shown() {
    for keys in [
        "url: {env: URL}",
        "url: {file: url}",
        "url: https://hooks.example.com/T0KEN",
    ] {
        let webhook = parsed(keys, "").unwrap();
        assert_eq!(
            webhook.url.text().expose(),
            "https://hooks.example.com/T0KEN"
        );
        assert_eq!(webhook.url.file().is_some(), keys.contains("file"));
        assert!(!format!("{webhook:?}").contains("T0KEN"));
    }
    let cases = [
        ("url: {env: NO}", "NO is not set"),
        ("url: {env: USER}", "must not hold a user name or password"),
        (
            "url: 'https://me:x@h/'",
            "must not hold a user name or password",
        ),
        ("url: 'ftp://h/'", "expected an http:// or https:// URL"),
        ("secret: {env: OLD}", "the key `url` is missing here"),
    ];
    for (keys, expected) in cases {
        let told = parsed(keys, "").unwrap_err();
        assert!(told.len() == 1 && told[0].contains(expected), "{told:?}");
    }
}

#[test]
fn an_address_where_nothing_is_sent_is_told_with_the_line_to_add() {
    let told = parsed("url: 'http://0xa9fea9fe/latest'", "").unwrap_err();
    let expected = "5:20 `url`: nothing is sent to 169.254.169.254: a link-local address or a metadata service; \
                    to permit it, add `allow_networks: [169.254.169.254/32]`";
    assert_eq!(told, [expected]);
    assert_eq!(parsed("url: {env: METADATA}", "").unwrap_err().len(), 1);
    let permitted = "allow_networks: [169.254.169.254, 10.1.2.3/16]\n";
    let webhook = parsed("url: 'http://169.254.169.254/'", permitted).unwrap();
    let networks = ["169.254.169.254/32", "10.1.0.0/16"].map(|text| text.parse().unwrap());
    assert_eq!(webhook.http.egress.allow_networks, networks);

    let strict = "egress: strict\nallow_networks: [10.1.0.0/16]\n";
    assert!(
        parsed("url: 'http://10.1.2.3/'", strict)
            .unwrap()
            .http
            .egress
            .strict
    );
    let told = parsed("url: 'http://127.0.0.1:9000/'", strict).unwrap_err();
    assert!(
        told[0].ends_with("add 127.0.0.1/32 to `allow_networks`"),
        "{told:?}"
    );
    let told = parsed(
        "url: 'http://h/'",
        "egress: strickt\nallow_networks: [10.0.0.0/33]\n",
    );
    let told = told.unwrap_err();
    assert!(told[0].contains("did you mean `strict`"), "{told:?}");
    assert!(
        told[1].starts_with("7:18 `allow_networks`: expected"),
        "{told:?}"
    );
    let told = parsed(
        "url: 'http://h/'",
        "heartbeat: {url: 'http://169.254.1.1/'}\n",
    );
    assert!(told.unwrap_err()[0].contains("169.254.1.1/32"));
}

#[test]
fn secrets_are_one_or_a_list_each_with_its_place() {
    let two = parsed(
        "url: 'http://h/', secret: [{env: OLD}, 'the new one, long enough']",
        "",
    );
    let two = two.unwrap();
    let texts: Vec<&str> = two
        .secrets
        .iter()
        .map(|one| one.text().expose().as_str())
        .collect();
    assert_eq!(
        texts,
        ["the old one, long enough", "the new one, long enough"]
    );
    let cases = [
        ("secret: []", "expected 1 to 8"),
        (
            "secret: [{env: OLD}, short]",
            "5:54 `secret`: expected `whsec_`",
        ),
        (
            "secret: [{env: OLD}, {env: NO}]",
            "5:54 `secret`: the environment",
        ),
        ("secret: [{env: OLD}, 12]", "must stand in quotes"),
        ("secret: {bad: OLD}", "expected `{env: NAME}`"),
        ("secret: 12", "must stand in quotes"),
    ];
    for (secret, expected) in cases {
        let told = parsed(&format!("url: 'http://h/', {secret}"), "").unwrap_err();
        assert!(
            told.len() == 1 && told[0].contains(expected),
            "{secret}: {told:?}"
        );
    }
}

#[test]
fn headers_and_authorization_are_taken() {
    let keys = "url: 'http://h/', headers: {X-Team: core, X-Api-Key: {env: OLD}, User-Agent: me}, \
                basic: {username: me, password: {env: OLD}}";
    let webhook = parsed(keys, "").unwrap();
    let names: Vec<&str> = webhook
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["x-team", "x-api-key", "user-agent"]);
    assert!(matches!(
        webhook.authorization,
        Some(Authorization::Basic { .. })
    ));
    let webhook = parsed("url: 'http://h/', bearer: {env: OLD}", "").unwrap();
    assert!(matches!(
        webhook.authorization,
        Some(Authorization::Bearer(_))
    ));
}

#[test]
fn what_is_reserved_and_what_cannot_be_a_header_is_refused() {
    let cases = [
        ("headers: {Host: a}", "`host` is set already"),
        (
            "headers: {Content-Length: '1'}",
            "`content-length` is set already",
        ),
        (
            "headers: {CONTENT-TYPE: a}",
            "`content-type` is set already",
        ),
        (
            "headers: {Connection: close}",
            "`connection` is set already",
        ),
        (
            "headers: {transfer-encoding: chunked}",
            "`transfer-encoding` is set already",
        ),
        ("headers: {Webhook-Id: a}", "`webhook-id` is set already"),
        ("headers: {webhook-new: a}", "`webhook-new` is set already"),
        (
            "headers: {proxy-authorization: a}",
            "`proxy-authorization` is set already",
        ),
        ("headers: {'a b': c}", "expected the name of a header"),
        ("headers: {A: b, a: c}", "`a` stands here twice"),
        (
            "headers: {A: {env: LINES}}",
            "`a`: it cannot stand in a header",
        ),
        (
            "headers: {A: \"b\\r\\nc: d\"}",
            "`a`: it cannot stand in a header",
        ),
        (
            "bearer: {env: LINES}",
            "`bearer`: it cannot stand in a header",
        ),
        (
            "bearer: {env: OLD}, headers: {Authorization: a}",
            "`authorization` is set already",
        ),
        ("basic: {username: 'a:b', password: {env: OLD}}", "a colon"),
        ("basic: {username: a}", "the key `password` is missing"),
        (
            "basic: {username: a, password: {env: OLD}}, bearer: {env: OLD}",
            "one `Authorization`",
        ),
    ];
    for (given, expected) in cases {
        let told = parsed(&format!("url: 'http://h/', {given}"), "").unwrap_err();
        assert!(
            told.iter().any(|one| one.contains(expected)),
            "{given}: {told:?}"
        );
    }
}

#[test]
fn the_way_there_is_checked() {
    let keys = "url: 'http://h/', proxy: 'http://p:3128', \
                client_certificate: {cert_file: cert.pem, key_file: key.pem}";
    let webhook = parsed(keys, "").unwrap();
    assert_eq!(
        webhook.http.proxy.unwrap().expose().as_str(),
        "http://p:3128/"
    );
    let files = webhook.http.client_certificate.unwrap();
    assert!(files.cert_file.ends_with("cert.pem") && files.key_file.ends_with("key.pem"));
    let cases = [
        (
            "proxy: 'socks5://p:1'",
            "`proxy`: expected an http:// or https:// URL",
        ),
        (
            "client_certificate: {cert_file: cert.pem}",
            "`key_file` is missing",
        ),
        (
            "client_certificate: {cert_file: no.pem, key_file: key.pem}",
            "`cert_file`: cannot read",
        ),
        (
            "client_certificate: {cert_file: url, key_file: key.pem}",
            "expected a certificate as PEM",
        ),
        (
            "client_certificate: {cert_file: cert.pem, key_file: url}",
            "expected a private key as PEM",
        ),
        (
            "client_certificate: {cert_file: cert.pem, key_file: locked.pem}",
            "is encrypted",
        ),
    ];
    for (given, expected) in cases {
        let told = parsed(&format!("url: 'http://h/', {given}"), "").unwrap_err();
        assert!(
            told.iter().any(|one| one.contains(expected)),
            "{given}: {told:?}"
        );
    }
}

#[test]
fn a_body_may_come_from_a_template_and_be_said_to_be_anything() {
    let keys = "url: 'http://h/', template: body.json, content_type: 'application/vnd.ops+json; charset=utf-8'";
    let webhook = parsed(keys, "").unwrap();
    let template = webhook.template.unwrap();
    assert_eq!(template.text, "{\"text\": {{ title }}}");
    assert!(template.path.ends_with("body.json"));
    let kind = webhook.content_type.unwrap();
    assert_eq!(kind, "application/vnd.ops+json; charset=utf-8");
    let cases = [
        ("template: no.json", "`template`: cannot read"),
        ("content_type: json", "expected such as `application/json`"),
        ("content_type: \"text/plain\\r\\na: b\"", "expected such as"),
    ];
    for (given, expected) in cases {
        let told = parsed(&format!("url: 'http://h/', {given}"), "").unwrap_err();
        assert!(told[0].contains(expected), "{given}: {told:?}");
    }
}
