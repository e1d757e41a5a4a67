//! Who asks, and on which way, as users write it.

use std::time::Duration;

use super::*;

const PEM: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";

/// `SMALLEST` with `keys` beside the instance's id, in a folder that has the files.
fn read_with(keys: &str, part: Part) -> Result<Config, Problems> {
    let text = with(keys);
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("smtp", "hunter2"),
        ("token", "a.b.c"),
        ("empty", "\n"),
        ("ca.pem", PEM),
        ("aliyun.json", "{}"),
    ] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    parse_part(
        &text,
        "syncbell.yaml",
        folder.path(),
        part,
        &|name| match name {
            "OPS_WEBHOOK_SECRET" => Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
            "KEY_SECRET" => Some("sesame-of-a-variable".to_owned()),
            "PROXY" => Some("http://ann:sesame@proxy:3128".to_owned()),
            _ => None,
        },
    )
}

fn with(keys: &str) -> String {
    SMALLEST.replacen("cn-shanghai\n", &format!("cn-shanghai\n{keys}\n"), 1)
}

fn instance(keys: &str) -> Instance {
    match read_with(keys, Part::All) {
        Ok(config) => config.instances[0].clone(),
        Err(problems) => panic!("{problems}"),
    }
}

fn credentials(kinds: &str) -> Credentials {
    instance(&format!("    credentials: {{{kinds}}}")).credentials
}

/// `line:column message` of each problem.
fn told(keys: &str) -> Vec<String> {
    let problems = read_with(keys, Part::All).unwrap_err().0;
    let lines = problems
        .iter()
        .map(|p| format!("{}:{} {}", p.line, p.column, p.message));
    lines.collect()
}

const ROLE: &str = "acs:ram::12:role/a";

#[test]
fn each_kind_is_read() {
    assert_eq!(credentials("default: {}"), Credentials::default());
    assert_eq!(instance("").credentials, Credentials::default());
    let key = credentials("access_key: {id: LTAI, secret: {env: KEY_SECRET}}").from;
    let CredentialsFrom::AccessKey(key) = key else {
        panic!("{key:?}")
    };
    assert_eq!((key.id.as_str(), key.security_token), ("LTAI", None));
    assert_eq!(key.secret.expose(), "sesame-of-a-variable");
    let profile = credentials("profile: {name: shop}").from;
    let shop = CredentialsFrom::Profile {
        name: "shop".to_owned(),
        file: None,
    };
    assert_eq!(profile, shop);
    let oidc = credentials(
        "oidc: {role_arn: 'acs:ram::12:role/a', provider_arn: 'acs:ram::12:oidc-provider/b', \
         token_file: token}",
    );
    let CredentialsFrom::Oidc(oidc) = oidc.from else {
        panic!("{oidc:?}")
    };
    assert_eq!((oidc.role_arn.as_str(), oidc.session_name), (ROLE, None));
    assert!(oidc.token_file.is_absolute(), "{:?}", oidc.token_file);
    let ecs = credentials("ecs_role: {}").from;
    assert_eq!(ecs, CredentialsFrom::EcsRole(None));
    let uri = credentials("uri: {url: 'http://127.0.0.1:1/x?token=sesame'}");
    assert!(!format!("{uri:?}").contains("sesame"), "{uri:?}");
    let CredentialsFrom::Uri(url) = uri.from else {
        panic!("no uri")
    };
    assert_eq!(url.expose().query(), Some("token=sesame"));
    let role = credentials(
        "ecs_role: {name: node}, assume_role: {arn: 'acs:ram::12:role/a', duration: 30m, \
         external_id: x, policy: '{}'}",
    );
    assert_eq!(role.from, CredentialsFrom::EcsRole(Some("node".to_owned())));
    let role = role.assume_role.unwrap();
    assert_eq!((role.arn.as_str(), role.session_name), (ROLE, None));
    assert_eq!(role.duration, Some(Duration::from_mins(30)));
    assert_eq!(role.policy.as_deref(), Some("{}"));
    assert_eq!(role.external_id.as_deref(), Some("x"));
}

#[test]
fn equal_credentials_are_equal_and_show_no_secret() {
    let key = |secret: &str| {
        credentials(&format!(
            "access_key: {{id: LTAI, secret: '{secret}', security_token: sesame}}"
        ))
    };
    assert_eq!(key("sesame-1"), key("sesame-1"));
    assert_ne!(key("sesame-1"), key("sesame-2"));
    let both = std::collections::HashSet::from([key("sesame-1"), key("sesame-1")]);
    assert_eq!(both.len(), 1);
    assert!(!format!("{both:?}").contains("sesame"), "{both:?}");
}

#[test]
fn mistakes_are_named_at_their_place() {
    let oidc = "provider_arn: 'acs:ram::1:oidc-provider/p', token_file";
    let cases = [
        (
            "{}".to_owned(),
            "4:18 `credentials` needs one of: default, access_key, profile, oidc, ecs_role, uri",
        ),
        (
            "{default: {}, ecs_role: {}}".to_owned(),
            "4:18 `credentials` has default and ecs_role: expected exactly one kind",
        ),
        (
            format!("{{assume_role: {{arn: '{ROLE}'}}}}"),
            "4:18 whose credentials assume the role? Add `default: {}` or another kind",
        ),
        (
            "{acess_key: {}}".to_owned(),
            "4:19 unknown key `acess_key`, did you mean `access_key`?",
        ),
        (
            "{access_key: {id: x}}".to_owned(),
            "4:31 the key `secret` is missing here",
        ),
        (
            "{access_key: {id: {env: NOPE}, secret: {env: KEY_SECRET}}}".to_owned(),
            "4:36 `id`: the environment variable NOPE is not set",
        ),
        (
            "{access_key: {id: ' ', secret: {env: KEY_SECRET}}}".to_owned(),
            "4:36 `id`: is blank",
        ),
        (
            "{profile: {}}".to_owned(),
            "4:28 the key `name` is missing here",
        ),
        (
            format!("{{oidc: {{role_arn: a, {oidc}: token}}}}"),
            "4:36 `role_arn`: expected `acs:ram::ACCOUNT:role/NAME`",
        ),
        (
            format!("{{oidc: {{role_arn: '{ROLE}', {oidc}: empty}}}}"),
            "4:114 `token_file` is empty: expected a token",
        ),
        (
            "{uri: {url: 'file:///x'}}".to_owned(),
            "4:30 `url`: expected an http:// or https:// URL",
        ),
        (
            format!("{{default: {{}}, assume_role: {{arn: '{ROLE}', duration: 5m}}}}"),
            "4:83 `duration`: expected whole seconds, at least `15m`",
        ),
        (
            format!("{{default: {{}}, assume_role: {{arn: '{ROLE}', policy: '[]'}}}}"),
            "4:81 `policy`: expected a RAM policy: a JSON object, in quotes",
        ),
        (
            "{ecs_role: {name: a/b}}".to_owned(),
            "4:36 `name`: expected 2 to 64 letters, digits or any of `-_.@=`",
        ),
    ];
    for (kinds, expected) in cases {
        assert_eq!(
            told(&format!("    credentials: {kinds}")),
            [expected],
            "{kinds}"
        );
    }
}

#[test]
fn a_secret_in_the_file_is_a_warning_and_is_not_shown() {
    let config = read_with(
        "    credentials: {access_key: {id: LTAI, secret: sesame}}\n    \
         proxy: 'http://ann:sesame@proxy:3128'",
        Part::All,
    );
    let config = config.unwrap();
    let told: Vec<String> = config.warnings.iter().map(|w| w.render(false)).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("`secret` stands in the file"), "{told:?}");
    assert!(told[1].contains("password of `proxy`"), "{told:?}");
    let all = format!("{told:?} {config:?}");
    assert!(!all.contains("sesame"), "{all}");
}

#[test]
fn the_network_gives_the_endpoint() {
    let of = |keys: &str| instance(keys).endpoint.to_string();
    assert_eq!(
        of("    network: public"),
        "https://cr.cn-shanghai.aliyuncs.com/"
    );
    assert_eq!(
        of("    network: vpc"),
        "https://cr-vpc.cn-shanghai.aliyuncs.com/"
    );
    let both = "    network: vpc\n    endpoint: http://gateway:8080";
    assert_eq!(of(both), "http://gateway:8080/");
    let warnings = read_with(both, Part::All).unwrap().warnings;
    assert_eq!(warnings[0].place(), "syncbell.yaml:4:14", "{warnings:?}");
    assert_eq!(
        told("    network: vcp"),
        ["4:14 `network`: unknown value `vcp`, did you mean `vpc`?"]
    );
}

#[test]
fn the_way_out_is_checked() {
    let way = instance("    proxy: { env: PROXY }\n    ca_file: ca.pem").way_out;
    let proxy = way.proxy.unwrap();
    assert_eq!(proxy.expose().password(), Some("sesame"));
    assert_eq!(&*way.ca.unwrap().pem, PEM);
    for (keys, expected) in [
        (
            "proxy: 'socks5://h'",
            "4:12 `proxy`: expected an http:// or https:// URL",
        ),
        (
            "proxy: 'ann:sesame@h:1'",
            "4:12 `proxy`: expected an http:// or https:// URL",
        ),
        (
            "proxy: { env: NOPE }",
            "4:12 `proxy`: the environment variable NOPE is not set",
        ),
        (
            "ca_file: token",
            "4:14 `ca_file`: expected certificates as PEM",
        ),
        ("ca_file: none.pem", "4:14 `ca_file`: cannot read"),
    ] {
        let told = told(&format!("    {keys}"));
        assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
        assert!(!told[0].contains("sesame"), "{told:?}");
    }
}

#[test]
fn who_does_not_ask_needs_no_credentials_and_gets_none() {
    let keys = "    credentials: {access_key: {id: LTAI, secret: {env: NOPE}}}\n    \
                proxy: {env: PROXY}\n    ca_file: none.pem";
    for part in [Part::All, Part::Poller] {
        let told = read_with(keys, part).unwrap_err().0;
        assert_eq!(told.len(), 2, "{part:?}: {told:?}");
    }
    for part in [Part::Notifier, Part::Bus] {
        let config = read_with(keys, part).unwrap();
        let told = &config.warnings;
        assert_eq!(told.len(), 2, "{part:?}: {told:?}");
        let said = "(not needed by this service)";
        assert!(told.iter().all(|w| w.message.ends_with(said)), "{told:?}");
        assert_eq!(config.instances.len(), 1);
        assert_eq!(config.instances[0].way_out, WayOut::default());
    }
}

#[test]
fn discoveries_of_one_region_are_kept_apart() {
    let keys = "  - discover: {regions: [cn-shanghai]}\n  \
                - discover: {regions: [cn-shanghai], match: ['name=a']}\n  \
                - discover: {regions: [cn-shanghai]}\n    \
                credentials: {default: {}, assume_role: {arn: 'acs:ram::12:role/a'}}";
    let config = read_with(keys, Part::All).unwrap();
    let ids: Vec<&str> = config
        .discoveries
        .iter()
        .map(|one| one.like.id.as_str())
        .collect();
    let expected = [
        "instances-of-cn-shanghai",
        "instances-of-cn-shanghai-2",
        "instances-of-cn-shanghai-12-role-a",
    ];
    assert_eq!(ids, expected);
    let role = config.discoveries[2].like.credentials.assume_role.as_ref();
    assert_eq!(role.unwrap().arn, ROLE);
}

#[test]
fn every_documented_kind_works() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/syncbell.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("aliyun.json", "{}"),
        ("oidc-token", "a.b.c"),
        ("ca.pem", PEM),
    ] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    std::fs::create_dir(folder.path().join("templates")).unwrap();
    let env = |name: &str| Some(format!("https://example.com/the-value-of-{name}"));
    for kind in ["access_key", "profile", "oidc", "ecs_role", "uri"] {
        let commented = format!("      # {kind}: ");
        assert!(text.contains(&commented), "{kind}");
        let text = text
            .replace("      default: {}\n", "")
            .replace(&commented, &format!("      {kind}: "))
            .replace("    network: vpc\n", "")
            .replace("    # endpoint: ", "    endpoint: ")
            .replacen("    # ca_file: ", "    ca_file: ", 1);
        let config = parse(&text, "config/syncbell.yaml", folder.path(), &env);
        let config = config.unwrap_or_else(|problems| panic!("{kind}: {problems}"));
        let instance = &config.instances[0];
        assert_ne!(
            instance.credentials.from,
            CredentialsFrom::Default,
            "{kind}"
        );
        assert!(instance.credentials.assume_role.is_some(), "{kind}");
        assert!(instance.way_out.ca.is_some() && instance.way_out.proxy.is_some());
    }
}
