//! Generic webhooks, and what all receivers over HTTP have in common: where they are, the way there, who we are.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_saphyr::{Location, Spanned};
use url::{Host, Url};

use super::Checker;
use super::receiver::DELIVERY_TIMEOUT;
use crate::config::{Authorization, BodyTemplate, ClientCertificate, Egress, Http, Webhook};
use crate::problem::suggestion;
use crate::raw::{self, Text};
use crate::secret::{LiveSecret, RawSecret, RawSecrets, http_url, signing_key};

/// While one changes, two are in use.
const SECRETS_LIMIT: usize = 8;
const HEADERS_LIMIT: usize = 50;
const TEMPLATE_LIMIT_BYTES: usize = 256 * 1024;

/// Headers that the channel sets, or that are about the connection and not about the message.
const RESERVED_HEADERS: [&str; 11] = [
    "host",
    "content-length",
    "content-type",
    "connection",
    "transfer-encoding",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "traceparent",
];
const RESERVED_PREFIXES: [&str; 2] = ["webhook-", "proxy-"];

/// The way to a receiver, as written in the file.
pub(super) struct RawHttp {
    pub(super) timeout: Text,
    pub(super) ca_file: Text,
    pub(super) client_certificate: Option<Spanned<raw::ClientCertificate>>,
    pub(super) proxy: Option<Spanned<RawSecret>>,
}

impl Checker<'_> {
    pub(super) fn egress(
        &mut self,
        raw: Option<&Spanned<String>>,
        networks: Option<Vec<Spanned<String>>>,
    ) -> Egress {
        let strict = raw.is_some_and(|raw| match raw.value.as_str() {
            "default" => false,
            "strict" => true,
            other => {
                let hint = suggestion(other, &["default", "strict"]);
                let message = format!("`egress`: unknown value `{other}`{hint}");
                self.error(raw.referenced, message);
                true
            }
        });
        let mut allow_networks = Vec::new();
        for raw in networks.into_iter().flatten() {
            let text = raw.value.trim();
            let network = text.parse::<IpNet>().map(|network| network.trunc());
            match network.or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
                Ok(network) => allow_networks.push(network),
                Err(_) => self.error(
                    raw.referenced,
                    "`allow_networks`: expected a network such as `10.1.0.0/16`, or an address",
                ),
            }
        }
        Egress {
            strict,
            allow_networks,
        }
    }

    pub(super) fn webhook(&mut self, raw: Spanned<raw::Webhook>) -> Option<Webhook> {
        let at = raw.referenced;
        let raw = raw.value;
        let url = self.receiver_url(raw.url, at);
        if raw.secret.is_none() {
            let message = "without a `secret` the receiver cannot tell who is calling";
            self.warn(at, message);
        }
        let secrets = raw.secret.map(|secrets| self.signing_secrets(secrets));
        let authorization = self.authorization(raw.basic, raw.bearer);
        let headers = raw
            .headers
            .map_or_else(Vec::new, |raw| self.headers(raw, authorization.is_some()));
        let template = raw.template.and_then(|file| self.body_template(&file));
        let content_type = raw.content_type.and_then(|raw| self.content_type(&raw));
        let http = self.http(RawHttp {
            timeout: raw.timeout,
            ca_file: raw.ca_file,
            client_certificate: raw.client_certificate,
            proxy: raw.proxy,
        });
        Some(Webhook {
            url: url?,
            secrets: secrets.unwrap_or_default(),
            authorization,
            headers,
            template,
            content_type,
            http,
        })
    }

    fn body_template(&mut self, raw: &Spanned<String>) -> Option<BodyTemplate> {
        let (path, text) = self.file("template", raw)?;
        if text.len() > TEMPLATE_LIMIT_BYTES {
            let message = "`template`: the file is larger than 256 KiB";
            self.lack(raw.referenced, message.to_owned());
        }
        Some(BodyTemplate { path, text })
    }

    fn content_type(&mut self, raw: &Spanned<String>) -> Option<String> {
        let text = raw.value.trim();
        let kind = text.split(';').next().unwrap_or_default().trim();
        let is_kind = kind.split_once('/').is_some_and(|(kind, sub)| {
            let is_word = |word: &str| {
                let fits = |c: char| c.is_ascii_alphanumeric() || "!#$&^_.+-".contains(c);
                !word.is_empty() && word.chars().all(fits)
            };
            is_word(kind) && is_word(sub)
        });
        if is_kind && is_header_value(text) {
            return Some(text.to_owned());
        }
        let message = "`content_type`: expected such as `application/json`";
        self.error(raw.referenced, message);
        None
    }

    /// Where a receiver is: a URL that may be a secret, to a place where something may be sent.
    pub(super) fn receiver_url(
        &mut self,
        raw: Option<Spanned<RawSecret>>,
        owner: Location,
    ) -> Option<LiveSecret> {
        let Some(raw) = raw else {
            self.error(owner, "the key `url` is missing here");
            return None;
        };
        let at = raw.referenced;
        let is_here = matches!(raw.value, RawSecret::Literal(_));
        let found = raw.value.resolve_live(self.folder, self.env);
        let found = found.and_then(|secret| {
            let url = http_url(secret.text().expose())?;
            match literal(&url).and_then(|address| self.egress.refusal(address)) {
                Some(refusal) => Err(refusal),
                None => Ok(secret),
            }
        });
        match found {
            Ok(secret) => Some(secret),
            Err(message) if is_here => {
                self.error(at, format!("`url`: {message}"));
                None
            }
            // Where it comes from elsewhere, the file is not what is wrong.
            Err(message) => {
                self.lack(at, format!("`url`: {message}"));
                None
            }
        }
    }

    /// How a receiver is reached.
    pub(super) fn http(&mut self, raw: RawHttp) -> Http {
        Http {
            timeout: self
                .positive("timeout", raw.timeout)
                .unwrap_or(DELIVERY_TIMEOUT),
            ca_file: self.certificates("ca_file", raw.ca_file),
            client_certificate: raw
                .client_certificate
                .and_then(|raw| self.client_certificate(raw)),
            proxy: raw.proxy.and_then(|proxy| self.proxy(&proxy)),
            egress: self.egress.clone(),
        }
    }

    fn client_certificate(
        &mut self,
        raw: Spanned<raw::ClientCertificate>,
    ) -> Option<ClientCertificate> {
        let at = raw.referenced;
        let cert = self.required("cert_file", raw.value.cert_file, at);
        let key = self.required("key_file", raw.value.key_file, at);
        let (cert, key) = (cert?, key?);
        let marker = "-----BEGIN CERTIFICATE-----";
        let cert = self.pem_file("cert_file", marker, "a certificate", &cert);
        let marker = "PRIVATE KEY-----";
        let found = self.pem_file("key_file", marker, "a private key", &key);
        let (key_file, pem) = found?;
        if pem.contains("ENCRYPTED") {
            let message = "`key_file`: the key is encrypted; expected one that is not";
            self.lack(key.referenced, message.to_owned());
        }
        Some(ClientCertificate {
            cert_file: cert?.0,
            key_file,
        })
    }

    fn signing_secrets(&mut self, raw: Spanned<RawSecrets>) -> Vec<LiveSecret> {
        let at = raw.referenced;
        let secrets = match raw.value {
            RawSecrets::One(secret) => vec![(secret, at)],
            RawSecrets::List(list) => {
                if list.is_empty() || list.len() > SECRETS_LIMIT {
                    let message = format!("`secret`: expected 1 to {SECRETS_LIMIT} of them");
                    self.error(at, message);
                }
                let placed = list.into_iter();
                placed
                    .map(|secret| (secret.value, secret.referenced))
                    .collect()
            }
        };
        let mut found = Vec::new();
        for (secret, at) in secrets {
            let Some(secret) = self.live("secret", &secret, at) else {
                continue;
            };
            match signing_key(secret.text().expose()) {
                Ok(_) => found.push(secret),
                Err(message) => self.lack(at, format!("`secret`: {message}")),
            }
        }
        found
    }

    fn authorization(
        &mut self,
        basic: Option<Spanned<raw::Basic>>,
        bearer: Option<Spanned<RawSecret>>,
    ) -> Option<Authorization> {
        if let (Some(basic), Some(_)) = (&basic, &bearer) {
            let message = "`basic` and `bearer`: a request has one `Authorization`";
            self.error(basic.referenced, message);
        }
        let bearer = bearer.and_then(|bearer| self.header_value("bearer", &bearer, true));
        let Some(basic) = basic else {
            return bearer.map(Authorization::Bearer);
        };
        let at = basic.referenced;
        let username = self.required("username", basic.value.username, at)?;
        if username.value.contains(':') || username.value.chars().any(char::is_control) {
            let message = "`username`: a colon or a control character cannot be in it";
            self.error(username.referenced, message);
        }
        let Some(password) = basic.value.password else {
            self.error(at, "the key `password` is missing here");
            return None;
        };
        let password = self.live("password", &password.value, password.referenced)?;
        Some(Authorization::Basic {
            username: username.value,
            password,
        })
    }

    fn headers(&mut self, raw: raw::Headers, authorized: bool) -> Vec<(String, LiveSecret)> {
        let mut names = BTreeSet::new();
        let mut headers = Vec::new();
        for (name, value) in raw.0 {
            let at = name.referenced;
            let name = name.value;
            let lower = name.to_ascii_lowercase();
            let reserved = RESERVED_HEADERS.contains(&lower.as_str())
                || RESERVED_PREFIXES
                    .iter()
                    .any(|prefix| lower.starts_with(prefix))
                || (lower == "authorization" && authorized);
            let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if name.is_empty() || !name.chars().all(is_token) {
                self.error(at, "`headers`: expected the name of a header");
            } else if reserved {
                self.error(at, format!("`headers`: `{lower}` is set already"));
            } else if !names.insert(lower.clone()) {
                self.error(at, format!("`headers`: `{lower}` stands here twice"));
            } else if names.len() > HEADERS_LIMIT {
                self.error(at, format!("`headers`: expected at most {HEADERS_LIMIT}"));
                break;
            }
            let is_secret = ["authorization", "cookie"].contains(&lower.as_str())
                || crate::mask::is_secret_key(&lower);
            headers.extend(
                self.header_value(&lower, &value, is_secret)
                    .map(|value| (lower, value)),
            );
        }
        headers
    }

    /// What may stand in a header.
    fn header_value(
        &mut self,
        key: &str,
        raw: &Spanned<RawSecret>,
        is_secret: bool,
    ) -> Option<LiveSecret> {
        let at = raw.referenced;
        let value = match &raw.value {
            RawSecret::Literal(text) if !is_secret => Some(LiveSecret::fixed(text.expose())),
            secret => self.live(key, secret, at),
        };
        let value = value?;
        if !is_header_value(value.text().expose()) {
            self.lack(at, format!("`{key}`: it cannot stand in a header"));
            return None;
        }
        Some(value)
    }
}

/// Visible characters of ASCII, blanks, tabs.
fn is_header_value(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
}

/// The address that stands in a URL itself. Such a host is never looked up.
fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        Host::Domain(_) => None,
    }
}
