//! Receivers: exactly one kind each, reachable by name, with their secrets resolved.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use serde_saphyr::{Location, Spanned};

use super::Checker;
use crate::config::{Email, Receiver, ReceiverKind, Smtp, SmtpTls, Webhook};
use crate::problem::suggestion;
use crate::raw::{self, Text};
use crate::secret::{RawSecret, Secret};

const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// The names that the file gives to receivers, also of those that have problems of their own.
pub(super) fn names(raw: Option<&Spanned<Vec<Spanned<raw::Receiver>>>>) -> Vec<String> {
    let receivers = raw.into_iter().flat_map(|raw| &raw.value);
    receivers
        .filter_map(|raw| raw.value.name.as_ref())
        .map(|name| name.value.clone())
        .collect()
}

impl Checker<'_> {
    pub(super) fn receivers(
        &mut self,
        raw: Option<Spanned<Vec<Spanned<raw::Receiver>>>>,
    ) -> Vec<Receiver> {
        let Some(raw) = raw else {
            self.error(
                Location::UNKNOWN,
                "the key `receivers` is missing: nobody to tell",
            );
            return Vec::new();
        };
        if raw.value.is_empty() {
            self.error(raw.referenced, "`receivers` is empty: nobody to tell");
        }
        let mut receivers: Vec<Receiver> = Vec::new();
        for raw in raw.value {
            let at = raw.referenced;
            let Some(receiver) = self.receiver(raw.value, at) else {
                continue;
            };
            if receivers.iter().any(|known| known.name == receiver.name) {
                self.error(
                    at,
                    format!("the receiver `{}` stands here twice", receiver.name),
                );
            }
            receivers.push(receiver);
        }
        receivers
    }

    fn receiver(&mut self, raw: raw::Receiver, at: Location) -> Option<Receiver> {
        let later = [
            ("slack", &raw.slack),
            ("teams", &raw.teams),
            ("dingtalk", &raw.dingtalk),
            ("feishu", &raw.feishu),
            ("wecom", &raw.wecom),
            ("pagerduty", &raw.pagerduty),
            ("opsgenie", &raw.opsgenie),
            ("discord", &raw.discord),
            ("telegram", &raw.telegram),
        ];
        let mut named = later.iter().filter(|(_, value)| value.is_some()).count();
        for (key, value) in later {
            self.later(key, value);
        }
        let name = self.required("name", raw.name, at).map(|name| name.value);
        named += usize::from(raw.webhook.is_some()) + usize::from(raw.email.is_some());
        let who = name.as_deref().unwrap_or("this receiver").to_owned();
        let kind = match (raw.webhook, raw.email) {
            _ if named > 1 => {
                self.error(
                    at,
                    format!("`{who}` has {named} kinds: expected exactly one"),
                );
                None
            }
            (Some(webhook), _) => self.webhook(webhook).map(ReceiverKind::Webhook),
            (_, Some(email)) => self.email(email).map(ReceiverKind::Email),
            (None, None) => {
                if named == 0 {
                    self.error(
                        at,
                        format!("`{who}` has no kind: expected `webhook` or `email`"),
                    );
                }
                None
            }
        };
        Some(Receiver {
            name: name?,
            kind: kind?,
        })
    }

    fn webhook(&mut self, raw: Spanned<raw::Webhook>) -> Option<Webhook> {
        let at = raw.referenced;
        let raw = raw.value;
        let url = self
            .required("url", raw.url, at)
            .and_then(|url| self.url("url", &url));
        let key = if let Some(secret) = raw.secret {
            let place = secret.referenced;
            self.secret("secret", &secret)
                .and_then(|secret| self.key(&secret, place))
        } else {
            self.warn(
                at,
                "without a `secret` the receiver cannot tell who is calling",
            );
            None
        };
        let timeout = self.duration("timeout", raw.timeout, DELIVERY_TIMEOUT);
        let ca_file = self.ca_file(raw.ca_file);
        Some(Webhook {
            url: url?,
            key,
            timeout,
            ca_file,
        })
    }

    /// The signing key: of `whsec_…` the decoded base64 (Standard Webhooks 1.0), else the bytes.
    fn key(&mut self, secret: &Secret<String>, at: Location) -> Option<Secret<Vec<u8>>> {
        let text = secret.expose();
        let Some(encoded) = text.strip_prefix("whsec_") else {
            if text.len() < 16 {
                self.error(
                    at,
                    "`secret`: expected `whsec_` and base64, or at least 16 characters",
                );
                return None;
            }
            return Some(Secret::new(text.as_bytes().to_vec()));
        };
        match base64::engine::general_purpose::STANDARD.decode(encoded) {
            Ok(key) if (24..=64).contains(&key.len()) => Some(Secret::new(key)),
            Ok(key) => {
                let message = format!("`secret`: expected 24 to 64 bytes, found {}", key.len());
                self.error(at, message);
                None
            }
            Err(_) => {
                self.error(at, "`secret`: what follows `whsec_` is not base64");
                None
            }
        }
    }

    fn secret(&mut self, key: &str, raw: &Spanned<RawSecret>) -> Option<Secret<String>> {
        if matches!(raw.value, RawSecret::Literal(_)) {
            let message =
                format!("`{key}` stands in the file: prefer `{{env: NAME}}` or `{{file: PATH}}`");
            self.warn(raw.referenced, message);
        }
        match raw.value.resolve(self.folder, self.env) {
            Ok(secret) => Some(secret),
            Err(message) => {
                self.error(raw.referenced, format!("`{key}`: {message}"));
                None
            }
        }
    }

    fn ca_file(&mut self, raw: Text) -> Option<PathBuf> {
        let raw = raw?;
        let path = self.folder.join(&raw.value);
        match std::fs::read(&path) {
            Ok(pem) if pem.windows(11).any(|window| window == b"-----BEGIN ") => Some(path),
            Ok(_) => {
                self.error(raw.referenced, "`ca_file`: expected certificates as PEM");
                None
            }
            Err(error) => {
                let message = format!("`ca_file`: cannot read {}: {error}", path.display());
                self.error(raw.referenced, message);
                None
            }
        }
    }

    fn email(&mut self, raw: Spanned<raw::Email>) -> Option<Email> {
        let at = raw.referenced;
        let raw = raw.value;
        let from = self
            .required("from", raw.from, at)
            .and_then(|from| self.address_of(from));
        let mut to: Vec<String> = Vec::new();
        match raw.to {
            Some(addresses) if !addresses.value.is_empty() => {
                for address in addresses.value {
                    if let Some(address) = self.address_of(address)
                        && !to.contains(&address)
                    {
                        to.push(address);
                    }
                }
            }
            Some(addresses) => self.error(addresses.referenced, "`to` is empty"),
            None => self.error(at, "the key `to` is missing here"),
        }
        let Some(smtp) = raw.smtp else {
            self.error(at, "the key `smtp` is missing here");
            return None;
        };
        let smtp = self.smtp(smtp);
        Some(Email {
            from: from?,
            to,
            smtp: smtp?,
        })
    }

    /// A plain address: one `@`, no blanks or control characters, nothing empty.
    fn address_of(&mut self, raw: Spanned<String>) -> Option<String> {
        let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ',');
        let parts = raw.value.rsplit_once('@');
        let fine = parts.is_some_and(|(user, host)| {
            !user.is_empty() && !host.is_empty() && !user.contains('@') && !raw.value.contains(bad)
        });
        if fine {
            return Some(raw.value);
        }
        self.error(
            raw.referenced,
            "expected a mail address such as `oncall@example.com`",
        );
        None
    }

    fn smtp(&mut self, raw: Spanned<raw::Smtp>) -> Option<Smtp> {
        let at = raw.referenced;
        let raw = raw.value;
        let host = self.required("host", raw.host, at).map(|host| host.value);
        let tls = match raw.tls.as_ref().map(|tls| tls.value.as_str()) {
            None | Some("starttls") => SmtpTls::Starttls,
            Some("implicit") => SmtpTls::Implicit,
            Some("none") => SmtpTls::None,
            Some(other) => {
                let hint = suggestion(other, &["implicit", "starttls", "none"]);
                let place = raw.tls.as_ref().map_or(at, |tls| tls.referenced);
                self.error(place, format!("`tls`: unknown value `{other}`{hint}"));
                return None;
            }
        };
        let password_at = raw
            .password
            .as_ref()
            .map_or(at, |password| password.referenced);
        let password = raw
            .password
            .as_ref()
            .and_then(|raw| self.secret("password", raw));
        if raw.username.is_some() != raw.password.is_some() {
            self.error(at, "`username` and `password` belong together");
        }
        let loopback = host.as_deref().is_some_and(is_loopback);
        if raw.password.is_some() && tls == SmtpTls::None && !loopback {
            let message =
                "a password is not sent in the clear: `tls` must be `implicit` or `starttls`";
            self.error(password_at, message);
        }
        let port = raw.port.unwrap_or(match tls {
            SmtpTls::Implicit => 465,
            SmtpTls::Starttls => 587,
            SmtpTls::None => 25,
        });
        Some(Smtp {
            host: host?,
            port,
            tls,
            username: raw.username.map(|name| name.value),
            password,
            ca_file: self.ca_file(raw.ca_file),
            timeout: self.duration("timeout", raw.timeout, DELIVERY_TIMEOUT),
            hello: raw.hello.map(|hello| hello.value),
        })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}
