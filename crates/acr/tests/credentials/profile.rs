//! Profiles of the vendor's command line.

use std::time::Duration;

use serde_json::{Value, json};
use wiremock::{MockServer, Request, ResponseTemplate};

use crate::cloud::{Machine, fails, form, from_sts, issued, key, query, requests, serve};

const CONFIG: &str = ".aliyun/config.json";

fn write(machine: &Machine, current: &str, profiles: &[Value]) {
    let config = json!({"current": current, "profiles": profiles});
    machine.file(CONFIG, &config.to_string());
}

fn ak(name: &str) -> Value {
    json!({
        "name": name, "mode": "AK", "access_key_id": name, "access_key_secret": format!("hush-{name}"),
        "region_id": "cn-shanghai",
    })
}

/// What the one profile gives.
async fn one(machine: Machine, profile: Value) -> Result<String, String> {
    write(&machine, "x", &[profile]);
    let provider = machine.surroundings.profile(None, None);
    key(&*provider.expect("it has a home")).await
}

/// Names what it gives after who asks, and the role.
async fn sts() -> MockServer {
    serve(|request: &Request| {
        let by = query(request)
            .remove("AccessKeyId")
            .unwrap_or_else(|| form(request)["OIDCToken"].replace("hush", "token"));
        from_sts(&format!("{by}>{}", form(request)["RoleArn"]))
    })
    .await
}

#[tokio::test]
async fn the_profile_is_the_named_one_or_the_current_or_default() {
    let machine = Machine::new(&[("ALIBABA_CLOUD_PROFILE", "b")]);
    write(&machine, "a", &[ak("a"), ak("b"), ak("c")]);
    let by_variable = machine.surroundings.profile(None, None).unwrap();
    assert_eq!(key(&*by_variable).await.as_deref(), Ok("b"));
    let named = machine.surroundings.profile(None, Some("c".to_owned()));
    assert_eq!(key(&*named.unwrap()).await.as_deref(), Ok("c"));

    let machine = Machine::new(&[]);
    write(&machine, "a", &[ak("a"), ak("default")]);
    let current = machine.surroundings.profile(None, None).unwrap();
    assert_eq!(key(&*current).await.as_deref(), Ok("a"));
    write(&machine, "", &[ak("a"), ak("default")]);
    let default = machine.surroundings.profile(None, None).unwrap();
    assert_eq!(key(&*default).await.as_deref(), Ok("default"));
}

#[tokio::test]
async fn the_file_may_be_elsewhere() {
    let elsewhere = Machine::new(&[]);
    write(&elsewhere, "", &[ak("default")]);
    let file = elsewhere.home.path().join(CONFIG);
    let machine = Machine::new(&[("ALIBABA_CLOUD_CONFIG_FILE", file.to_str().unwrap())]);
    let by_variable = machine.surroundings.profile(None, None).unwrap();
    assert_eq!(key(&*by_variable).await.as_deref(), Ok("default"));
    let machine = Machine::new(&[]);
    let named = machine.surroundings.profile(Some(file), None).unwrap();
    assert_eq!(key(&*named).await.as_deref(), Ok("default"));
}

#[tokio::test]
async fn a_token_is_sent_in_the_mode_that_has_one() {
    let token = json!({
        "name": "x", "mode": "StsToken", "access_key_id": "temporary",
        "access_key_secret": "hush", "sts_token": "hush-token",
    });
    let mut of_a_key = token.clone();
    of_a_key["mode"] = json!("AK");
    for (profile, has_token) in [(token, true), (of_a_key, false)] {
        let machine = Machine::new(&[]);
        write(&machine, "x", &[profile]);
        let provider = machine.surroundings.profile(None, None).unwrap();
        let given = provider.credentials().await.unwrap();
        assert_eq!(given.security_token.is_some(), has_token);
    }
}

#[tokio::test]
async fn a_role_is_assumed_as_the_profile_says() {
    let sts = sts().await;
    let machine = Machine::new(&[]).sts(&sts);
    let profile = json!({
        "name": "x", "mode": "RamRoleArn", "access_key_id": "base", "access_key_secret": "hush",
        "ram_role_arn": "arn", "ram_session_name": "night", "expired_seconds": 900,
        "policy": "{}", "external_id": "ex",
    });
    assert_eq!(one(machine, profile).await.as_deref(), Ok("base>arn"));
    let form = form(&requests(&sts).await[0]);
    for (name, value) in [
        ("RoleSessionName", "night"),
        ("DurationSeconds", "900"),
        ("Policy", "{}"),
        ("ExternalId", "ex"),
    ] {
        assert_eq!(form[name], value);
    }
    assert!(!form.contains_key("SecurityToken"));
}

#[tokio::test]
async fn a_token_becomes_a_role_under_either_name_of_the_session() {
    let sts = sts().await;
    for name in ["role_session_name", "ram_session_name"] {
        let machine = Machine::new(&[]).sts(&sts);
        let token = machine.file("token", "hush-1");
        let mut profile = json!({
            "name": "x", "mode": "OIDC", "oidc_provider_arn": "p", "oidc_token_file": token,
            "ram_role_arn": "arn",
        });
        profile[name] = json!("night");
        let given = one(machine, profile).await;
        assert_eq!(given.as_deref(), Ok("token-1>arn"));
    }
    for request in requests(&sts).await {
        assert_eq!(form(&request)["RoleSessionName"], "night");
    }
}

#[tokio::test]
async fn the_role_of_the_machine_and_a_uri_are_asked() {
    let server = serve(|request| {
        let last = request.url.path_segments().unwrap().next_back().unwrap();
        ResponseTemplate::new(200).set_body_json(issued(last, Duration::from_hours(1)))
    })
    .await;
    let machine = Machine::new(&[]).metadata(&server);
    let profile = json!({"name": "x", "mode": "EcsRamRole", "ram_role_name": "machine"});
    assert_eq!(one(machine, profile).await.as_deref(), Ok("machine"));
    let uri = format!("{}/local", server.uri());
    let profile = json!({"name": "x", "mode": "CredentialsURI", "credentials_uri": uri});
    let given = one(Machine::new(&[]), profile).await;
    assert_eq!(given.as_deref(), Ok("local"));
}

fn stands_on(name: &str, source: &str) -> Value {
    json!({
        "name": name, "mode": "ChainableRamRoleArn", "source_profile": source,
        "ram_role_arn": name,
    })
}

#[tokio::test]
async fn profiles_stand_one_on_the_other() {
    let sts = sts().await;
    let machine = Machine::new(&[]).sts(&sts);
    write(
        &machine,
        "top",
        &[
            stands_on("top", "middle"),
            stands_on("middle", "base"),
            ak("base"),
        ],
    );
    let provider = machine.surroundings.profile(None, None).unwrap();
    assert_eq!(key(&*provider).await.as_deref(), Ok("base>middle>top"));
    let asked = requests(&sts).await;
    assert_eq!(asked.len(), 2);
    // What STS issued signs the next call, with its token.
    assert_eq!(form(&asked[1])["SecurityToken"], "hush-token-base>middle");
}

#[tokio::test]
async fn profiles_that_go_in_a_circle_or_too_deep_are_refused() {
    let sts = sts().await;
    let machine = Machine::new(&[]).sts(&sts);
    let check = async |profiles: &[Value], why: &str| {
        write(&machine, "a", profiles);
        let provider = machine.surroundings.profile(None, None).unwrap();
        fails(&*provider, "credentials", &["profile: ", why]).await;
    };
    check(&[stands_on("a", "a")], "a → a").await;
    let circle = [
        stands_on("a", "b"),
        stands_on("b", "c"),
        stands_on("c", "a"),
    ];
    check(&circle, "a → b → c → a").await;
    check(&[stands_on("a", "b")], "no profile \"b\"").await;
    check(&[stands_on("a", "")], "no source_profile").await;
    let mut deep: Vec<Value> = ('a'..'i')
        .map(|name| stands_on(&name.to_string(), &char::from(name as u8 + 1).to_string()))
        .collect();
    deep.push(ak("i"));
    check(&deep, "more than 8").await;
    assert_eq!(requests(&sts).await.len(), 0);
}

#[tokio::test]
async fn what_is_wrong_is_named_by_profile_and_key_without_values() {
    for (profile, why) in [
        (json!({"name": "x"}), "mode"),
        (json!({"name": "x", "mode": "hush"}), "none that is known"),
        (json!({"name": "x", "mode": "AK"}), "no access_key_id"),
        (
            json!({"name": "x", "mode": "AK", "access_key_id": "hush"}),
            "no access_key_secret",
        ),
        (
            json!({"name": "x", "mode": "StsToken", "access_key_id": "hush", "access_key_secret": "hush"}),
            "no sts_token",
        ),
        (
            json!({"name": "x", "mode": "RamRoleArn", "access_key_id": "hush", "access_key_secret": "hush"}),
            "no ram_role_arn",
        ),
        (json!({"name": "x", "mode": "OIDC"}), "no oidc_token_file"),
        (
            json!({"name": "x", "mode": "External"}),
            "no process_command",
        ),
        (
            json!({"name": "x", "mode": "CloudSSO", "access_token": "hush"}),
            "a person at a browser",
        ),
        (
            json!({"name": "x", "mode": "OAuth"}),
            "a person at a browser",
        ),
        (
            json!({"name": "x", "mode": "RsaKeyPair"}),
            "given up by the vendor",
        ),
        (
            json!({"name": "x", "mode": "CredentialsURI", "credentials_uri": "hush"}),
            "not a URL",
        ),
        (
            json!({"name": "x", "mode": "CredentialsURI", "credentials_uri": "ftp://hush/"}),
            "not an http(s) URL",
        ),
        (json!({"name": "other", "mode": "AK"}), "no profile \"x\""),
    ] {
        let said = one(Machine::new(&[]), profile).await.unwrap_err();
        assert!(said.starts_with("credentials: "), "{said}");
        assert!(
            said.contains("profile: ") && said.contains(why),
            "{why}: {said}"
        );
    }
}

#[tokio::test]
async fn a_file_that_is_none_says_where_it_was_looked_for() {
    let machine = Machine::new(&[]);
    let provider = machine.surroundings.profile(None, None).unwrap();
    fails(&*provider, "credentials", &[CONFIG, "is not there"]).await;
    machine.file(CONFIG, "{\"hush\"");
    let provider = machine.surroundings.profile(None, None).unwrap();
    fails(&*provider, "credentials", &[CONFIG, "is not JSON"]).await;
    let mut machine = Machine::new(&[]);
    machine.surroundings.home = None;
    assert!(machine.surroundings.profile(None, None).is_err());
}

#[tokio::test]
async fn an_sts_that_is_down_is_something_that_passes() {
    let profile = json!({
        "name": "x", "mode": "RamRoleArn", "access_key_id": "base", "access_key_secret": "hush",
        "ram_role_arn": "arn",
    });
    let said = one(Machine::new(&[]), profile).await.unwrap_err();
    assert!(said.starts_with("unavailable: "), "{said}");
}

#[tokio::test]
async fn a_profile_that_a_person_changed_is_found_when_the_old_key_is_refused() {
    let machine = Machine::new(&[]);
    write(&machine, "a", &[ak("a"), ak("b")]);
    let provider = machine.surroundings.profile(None, None).unwrap();
    let refused = provider.credentials().await.unwrap();
    write(&machine, "b", &[ak("a"), ak("b")]);
    let others = provider.renew(&refused).await.unwrap().unwrap();
    assert_eq!(others.access_key_id, "b");
}
