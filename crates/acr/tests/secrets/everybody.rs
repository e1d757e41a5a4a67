//! Every provider there is, each with secrets.

use std::sync::Arc;

use serde_json::{Value, json};
use syncbell_acr::{Credentials, CredentialsProvider, Environment, Error, Role, Static};
use wiremock::{Request, ResponseTemplate};

use crate::cloud::{Machine, serve};
use crate::shown::{MARK, secret, token};
use crate::ways::Way;

/// What is issued, with secrets.
pub(crate) fn issued() -> Value {
    json!({
        "Code": "Success", "AccessKeyId": "issued", "AccessKeySecret": secret("issued-secret"),
        "SecurityToken": token("issued-token"), "Expiration": "2099-01-01T00:00:00Z",
    })
}

pub(crate) fn base() -> Credentials {
    Credentials {
        access_key_id: "base".to_owned(),
        secret: secret("base-secret").into(),
        security_token: Some(token("base-token").into()),
    }
}

pub(crate) fn profiles(machine: &Machine, uri: &str) -> Vec<Value> {
    let oidc_token = machine.file("oidc-token", &secret("oidc-token"));
    let script = machine.file(
        "command",
        &format!(
            "echo '{0}' >&2\ncat <<'END'\n{1}\nEND\n",
            secret("stderr"),
            json!({"mode": "StsToken", "access_key_id": "e", "access_key_secret": secret("e"), "sts_token": token("e")})
        ),
    );
    let fails = machine.file(
        "failing",
        &format!("echo '{0}'; echo '{0}' >&2; exit 3", secret("failing")),
    );
    let key = json!({
        "access_key_id": "base", "access_key_secret": secret("profile"),
        "sts_token": token("profile-token"), "access_token": secret("sso"),
        "ram_role_arn": "acs:ram::1:role/bell", "oidc_provider_arn": "p",
        "oidc_token_file": oidc_token, "source_profile": "AK",
    });
    let with = |name: &str, mode: &str, more: &[(&str, String)]| {
        let mut profile = key.clone();
        profile["name"] = json!(name);
        profile["mode"] = json!(mode);
        for (key, value) in more {
            profile[*key] = json!(value);
        }
        profile
    };
    let external = |file: &str| format!("/bin/sh '{file}' '{}'", secret("argument"));
    let mut profiles: Vec<Value> = [
        "AK",
        "StsToken",
        "RamRoleArn",
        "EcsRamRole",
        "OIDC",
        "ChainableRamRoleArn",
        "CloudSSO",
        "OAuth",
        "RsaKeyPair",
    ]
    .iter()
    .map(|mode| with(mode, mode, &[]))
    .collect();
    let uri = ("credentials_uri", format!("{uri}/{MARK}?{MARK}"));
    profiles.push(with("uri", "CredentialsURI", &[uri]));
    let bad = ("credentials_uri", secret("uri"));
    profiles.push(with("bad uri", "CredentialsURI", &[bad]));
    profiles.push(with("wrong", &secret("mode"), &[]));
    for (name, command) in [
        ("external", external(&script)),
        ("failing", external(&fails)),
        ("absent", format!("/absent/{MARK} {MARK}")),
        ("quotes", format!("'{MARK}")),
    ] {
        profiles.push(with(name, "External", &[("process_command", command)]));
    }
    profiles
}

/// The credentials file with each type, each in a section.
pub(crate) fn sections(machine: &Machine) -> Vec<&'static str> {
    let types = [
        "access_key",
        "ram_role_arn",
        "oidc_role_arn",
        "ecs_ram_role",
        "rsa_key_pair",
        "wrong",
    ];
    let token = machine.file("oidc-token", &secret("oidc-token"));
    let section = |name: &&str| {
        let of_type = if *name == "wrong" { MARK } else { name };
        format!(
            "[{name}]\ntype = {of_type}\naccess_key_id = base\naccess_key_secret = {}\nrole_arn = a\n\
             oidc_provider_arn = p\noidc_token_file = {token}\n{MARK}\n",
            secret("file"),
        )
    };
    let text: String = types.iter().map(section).collect();
    machine.file(".alibabacloud/credentials", &text);
    types.to_vec()
}

/// Servers that all do the same.
pub(crate) struct Servers {
    pub(crate) sts: wiremock::MockServer,
    pub(crate) metadata: wiremock::MockServer,
    pub(crate) uri: wiremock::MockServer,
    pub(crate) registry: wiremock::MockServer,
}

impl Servers {
    pub(crate) async fn new(way: Way) -> Self {
        let plain = move |request: &Request| way.answer(request, issued());
        let metadata = move |request: &Request| {
            if request.url.path().ends_with("/token") {
                ResponseTemplate::new(200).set_body_string(token("metadata-token"))
            } else if request.url.path().ends_with("/security-credentials/") {
                ResponseTemplate::new(200).set_body_string("role")
            } else {
                way.answer(request, issued())
            }
        };
        let sts = move |request: &Request| way.answer(request, json!({"Credentials": issued()}));
        let registry = move |request: &Request| {
            let good = json!({
                "IsSuccess": true, "Instances": [], "SyncRules": [], "SyncTasks": [], "SyncTaskId": "t",
            });
            way.answer(request, good)
        };
        Self {
            sts: serve(sts).await,
            metadata: serve(metadata).await,
            uri: serve(plain).await,
            registry: serve(registry).await,
        }
    }

    pub(crate) fn machine(&self, variables: &[(&str, &str)]) -> Machine {
        Machine::new(variables)
            .sts(&self.sts)
            .metadata(&self.metadata)
    }
}

pub(crate) type Provider = Result<Arc<dyn CredentialsProvider>, Error>;

/// Each provider there is, and the folders that they read.
pub(crate) fn all(servers: &Servers) -> (Vec<Provider>, Vec<Machine>) {
    let machine = servers.machine(&[]);
    let surroundings = &machine.surroundings;
    let role = || Role::new("acs:ram::1:role/bell");
    let oidc_token = machine.file("oidc-token", &secret("oidc-token"));
    let uri = format!("{}/{MARK}?{MARK}", servers.uri.uri());
    let mut providers: Vec<Provider> = vec![
        Ok(Arc::new(Static(base()))),
        Ok(Arc::new(Environment::new(|name| match name {
            "ALIBABA_CLOUD_ACCESS_KEY_ID" => Some("environment".to_owned()),
            name => Some(token(name)),
        }))),
        surroundings.assume_role(Arc::new(Static(base())), role(), None),
        surroundings.oidc(role(), "p".to_owned(), oidc_token.clone().into(), None),
        surroundings.ecs_role(None),
        surroundings.ecs_role(Some("named".to_owned())),
        surroundings.credentials_uri(uri.parse().expect("a URL")),
    ];
    let profiles = profiles(&machine, &servers.uri.uri());
    let config = json!({"current": "AK", "profiles": profiles});
    machine.file(".aliyun/config.json", &config.to_string());
    for profile in &profiles {
        let name = profile["name"].as_str().map(str::to_owned);
        providers.push(surroundings.profile(None, name));
    }
    let mut machines = Vec::new();
    for section in sections(&machine) {
        let home = machine.home.path().join(".alibabacloud/credentials");
        let file = home.to_str().expect("a plain path");
        machines.push(servers.machine(&[
            ("ALIBABA_CLOUD_CREDENTIALS_FILE", file),
            ("ALIBABA_CLOUD_PROFILE", section),
        ]));
    }
    machines.push(servers.machine(&[
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "environment"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", &token("environment")),
        ("ALIBABA_CLOUD_SECURITY_TOKEN", &token("environment-token")),
    ]));
    for file in [
        ("OIDC_TOKEN_FILE", oidc_token),
        ("OIDC_TOKEN", token("oidc")),
    ] {
        let name = format!("ALIBABA_CLOUD_{}", file.0);
        machines.push(servers.machine(&[
            ("ALIBABA_CLOUD_ROLE_ARN", "a"),
            ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "p"),
            (&name, &file.1),
            ("ALIBABA_CLOUD_CREDENTIALS_URI", &uri),
        ]));
    }
    machines.push(servers.machine(&[("ALIBABA_CLOUD_CREDENTIALS_URI", MARK)]));
    let chains = machines.iter().map(|one| one.surroundings.default_chain());
    providers.extend(chains.map(Ok));
    machines.push(machine);
    (providers, machines)
}
