//! The configuration in effect, in the keys of the file: every default filled in, no secret in it. Pure.
//!
//! In comes a checked [`Config`], out go keys and values that are a configuration again, but for what is secret: of that
//! the file is named where it stands in one, else `[secret]` stands for it. `tests` are left out, as nothing depends on
//! them. What must never happen: that a secret is shown.

mod receiver;
mod route;

use std::path::Path;

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use url::Url;

use crate::config::{
    Bus, Config, Credentials, CredentialsFrom, Discovery, Instance, Kafka, KafkaLogin, KafkaSasl,
    Network,
};
use crate::{LiveSecret, duration, size};

/// What stands for a secret.
const SECRET: &str = "[secret]";

/// Keys and values of the file, in its order; write it as YAML or JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It is not set, and left out.
    Nothing,
    /// A text.
    Text(String),
    /// A number.
    Number(u64),
    /// A switch.
    Switch(bool),
    /// In order.
    List(Vec<Shown>),
    /// Keys in order.
    Map(Vec<(String, Shown)>),
}

impl Shown {
    /// As YAML. An error is not to be expected: it is a writer's that writes into memory.
    pub fn to_yaml(&self) -> Result<String, std::fmt::Error> {
        serde_saphyr::to_string(self).map_err(|_| std::fmt::Error)
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Switch(switch) => serializer.serialize_bool(*switch),
            Self::List(all) => serializer.collect_seq(all),
            Self::Map(all) => {
                let set = || all.iter().filter(|(_, value)| *value != Self::Nothing);
                let mut map = serializer.serialize_map(Some(set().count()))?;
                for (key, value) in set() {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl Config {
    /// All that is in effect, without secrets.
    pub fn shown(&self) -> Shown {
        let rules = route::rules(&self.rules);
        map([
            ("data_dir", path(&self.data_dir)),
            ("instances", instances(&self.instances, &self.discoveries)),
            ("bus", bus(&self.bus)),
            (
                "receivers",
                list(self.receivers.iter().map(receiver::receiver)),
            ),
            ("route", route::route(&self.route)),
            ("windows", route::windows(&self.route)),
            ("rules", rules),
            (
                "inhibit",
                list(self.rules.inhibit.iter().map(route::inhibit)),
            ),
            ("flapping", route::flapping(self.rules.flapping.as_ref())),
            ("templates", templates(self)),
            (
                "console",
                map([
                    ("instance", text_or_off(self.console.instance.as_ref())),
                    ("repository", text_or_off(self.console.repository.as_ref())),
                ]),
            ),
            ("egress", receiver::egress(self)),
            ("allow_networks", receiver::allow_networks(self)),
            (
                "heartbeat",
                self.heartbeat
                    .as_ref()
                    .map_or(Shown::Nothing, receiver::heartbeat),
            ),
            (
                "watchdog",
                map([(
                    "receiver_failing_for",
                    time(self.watchdog.receiver_failing_for),
                )]),
            ),
            (
                "baseline",
                map([("alert", Shown::Switch(self.baseline.alert))]),
            ),
            (
                "retention",
                map([
                    ("incidents", time(self.retention.incidents)),
                    ("deliveries", time(self.retention.deliveries)),
                    ("dead_letters", time(self.retention.dead_letters)),
                    ("tasks", time(self.retention.tasks)),
                ]),
            ),
            (
                "disk",
                map([(
                    "min_free",
                    Shown::Text(size::written(self.disk.min_free_bytes)),
                )]),
            ),
            (
                "admin",
                map([
                    ("listen", text(&self.admin.listen)),
                    ("notifier_listen", text(&self.admin.notifier_listen)),
                ]),
            ),
        ])
    }
}

fn map<const N: usize>(entries: [(&str, Shown); N]) -> Shown {
    let entries = entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    Shown::Map(entries.collect())
}

/// Left out where there is nothing in it.
fn list(all: impl Iterator<Item = Shown>) -> Shown {
    let all: Vec<Shown> = all.collect();
    if all.is_empty() {
        return Shown::Nothing;
    }
    Shown::List(all)
}

fn text<T: ToString + ?Sized>(value: &T) -> Shown {
    Shown::Text(value.to_string())
}

fn optional<T: ToString + ?Sized>(value: Option<&T>) -> Shown {
    value.map_or(Shown::Nothing, text)
}

/// Without a text it is switched off, and says so by an empty one.
fn text_or_off(value: Option<&String>) -> Shown {
    text(value.map_or("", String::as_str))
}

fn path(path: &Path) -> Shown {
    text(&path.display())
}

fn optional_path(file: Option<&std::path::PathBuf>) -> Shown {
    file.map_or(Shown::Nothing, |file| path(file))
}

fn time(time: std::time::Duration) -> Shown {
    Shown::Text(duration::written(time))
}

fn secret(secret: &LiveSecret) -> Shown {
    let file = |file: &Path| map([("file", path(file))]);
    secret.file().map_or_else(|| text(SECRET), file)
}

/// The host of a URL that may be a credential.
fn host(url: &Url) -> Shown {
    let more = url.path() != "/" || url.query().is_some();
    let (scheme, host) = (url.scheme(), url.host_str().unwrap_or_default());
    let port = url.port().map(|port| format!(":{port}"));
    let port = port.unwrap_or_default();
    Shown::Text(format!(
        "{scheme}://{host}{port}/{}",
        if more { SECRET } else { "" }
    ))
}

fn templates(config: &Config) -> Shown {
    let first = config.templates.files.first();
    let dir = first.and_then(|file| file.path.parent());
    dir.map_or(Shown::Nothing, |dir| map([("dir", path(dir))]))
}

fn instances(instances: &[Instance], discoveries: &[Discovery]) -> Shown {
    let named = instances.iter().map(|one| {
        let keys = [
            ("id".to_owned(), text(&one.id)),
            ("region".to_owned(), text(&one.region)),
        ];
        Shown::Map(keys.into_iter().chain(way_to(one)).collect())
    });
    let found = discoveries.iter().map(|found| {
        let discover = map([
            ("regions", Shown::List(vec![text(&found.like.region)])),
            ("match", list(found.matchers.iter().map(text))),
            ("every", time(found.every)),
        ]);
        let keys = [("discover".to_owned(), discover)];
        Shown::Map(keys.into_iter().chain(way_to(&found.like)).collect())
    });
    list(named.chain(found))
}

/// What an instance and those that are found have in common.
fn way_to(one: &Instance) -> Vec<(String, Shown)> {
    let filters = &one.filters;
    let is_usual = Instance::endpoint_of(&one.region, one.network).as_ref() == Some(&one.endpoint);
    let endpoint = if is_usual {
        Shown::Nothing
    } else {
        text(one.endpoint.as_str().trim_end_matches('/'))
    };
    let network = match one.network {
        Network::Public => "public",
        Network::Vpc => "vpc",
    };
    let network = if is_usual {
        text(network)
    } else {
        Shown::Nothing
    };
    let filters = [
        ("namespace", &filters.namespace),
        ("repo", &filters.repo),
        ("tag", &filters.tag),
        ("batch_id", &filters.batch_id),
    ];
    let is_filtered = filters.iter().any(|(_, filter)| filter.is_some());
    let filters = map(filters.map(|(key, filter)| (key, optional(filter.as_ref()))));
    let ca = one.way_out.ca.as_ref();
    let all = [
        ("credentials", credentials(&one.credentials)),
        ("network", network),
        ("endpoint", endpoint),
        ("proxy", proxy(one.way_out.proxy.as_ref())),
        ("ca_file", optional_path(ca.map(|ca| &ca.file))),
        ("poll_every", time(one.poll_every)),
        ("sweep_every", time(one.sweep_every)),
        (
            "filters",
            if is_filtered { filters } else { Shown::Nothing },
        ),
    ];
    all.map(|(key, value)| (key.to_owned(), value)).into()
}

/// Where it is, without who we are there.
fn proxy(proxy: Option<&crate::Secret<Url>>) -> Shown {
    let Some(proxy) = proxy else {
        return Shown::Nothing;
    };
    let url = proxy.expose();
    if url.password().is_some() || !url.username().is_empty() {
        return text(SECRET);
    }
    text(url)
}

fn credentials(of: &Credentials) -> Shown {
    let (kind, keys) = match &of.from {
        CredentialsFrom::Default => ("default", map([])),
        CredentialsFrom::AccessKey(key) => {
            let token = key.security_token.as_ref();
            let token = token.map_or(Shown::Nothing, |_| text(SECRET));
            let keys = [
                ("id", text(&key.id)),
                ("secret", text(SECRET)),
                ("security_token", token),
            ];
            ("access_key", map(keys))
        }
        CredentialsFrom::Profile { name, file } => {
            let keys = [("name", text(name)), ("file", optional_path(file.as_ref()))];
            ("profile", map(keys))
        }
        CredentialsFrom::Oidc(oidc) => {
            let keys = [
                ("role_arn", text(&oidc.role_arn)),
                ("provider_arn", text(&oidc.provider_arn)),
                ("token_file", path(&oidc.token_file)),
                ("session_name", optional(oidc.session_name.as_ref())),
            ];
            ("oidc", map(keys))
        }
        CredentialsFrom::EcsRole(name) => ("ecs_role", map([("name", optional(name.as_ref()))])),
        CredentialsFrom::Uri(url) => ("uri", map([("url", host(url.expose()))])),
    };
    let role = of.assume_role.as_ref().map_or(Shown::Nothing, |role| {
        let is_given = |given: Option<&String>| given.map_or(Shown::Nothing, |_| text(SECRET));
        map([
            ("arn", text(&role.arn)),
            ("session_name", optional(role.session_name.as_ref())),
            ("external_id", is_given(role.external_id.as_ref())),
            ("policy", optional(role.policy.as_ref())),
            ("duration", role.duration.map_or(Shown::Nothing, time)),
        ])
    });
    map([(kind, keys), ("assume_role", role)])
}

fn bus(bus: &Bus) -> Shown {
    match bus {
        Bus::Embedded => map([("embedded", map([]))]),
        Bus::Kafka(kafka) => map([("kafka", kafka_keys(kafka))]),
    }
}

fn kafka_keys(kafka: &Kafka) -> Shown {
    let tls = kafka.tls.as_ref().map_or(Shown::Nothing, |tls| {
        let password = tls.key_password.as_ref();
        map([
            ("ca_file", optional_path(tls.ca_file.as_ref())),
            ("cert_file", optional_path(tls.cert_file.as_ref())),
            ("key_file", optional_path(tls.key_file.as_ref())),
            (
                "key_password",
                password.map_or(Shown::Nothing, |_| text(SECRET)),
            ),
        ])
    });
    let login = |login: &KafkaLogin| {
        map([
            ("username", text(&login.username)),
            ("password", text(SECRET)),
        ])
    };
    let sasl = kafka.sasl.as_ref().map_or(Shown::Nothing, |sasl| {
        let (kind, keys) = match sasl {
            KafkaSasl::Plain(one) => ("plain", login(one)),
            KafkaSasl::ScramSha256(one) => ("scram_sha_256", login(one)),
            KafkaSasl::ScramSha512(one) => ("scram_sha_512", login(one)),
            KafkaSasl::OauthBearer { token_file } => {
                ("oauth_bearer", map([("token_file", path(token_file))]))
            }
        };
        map([(kind, keys)])
    });
    // Any of them may be a secret.
    let properties = kafka.properties.keys();
    let properties: Vec<(String, Shown)> = properties
        .map(|name| (name.clone(), text(SECRET)))
        .collect();
    let has_some = !properties.is_empty();
    map([
        ("brokers", list(kafka.brokers.iter().map(text))),
        ("topic_prefix", text(&kafka.topic_prefix)),
        ("client_id", optional(kafka.client_id.as_ref())),
        ("tls", tls),
        ("sasl", sasl),
        (
            "properties",
            if has_some {
                Shown::Map(properties)
            } else {
                Shown::Nothing
            },
        ),
    ])
}

#[cfg(test)]
mod tests;
