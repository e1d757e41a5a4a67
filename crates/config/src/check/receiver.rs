//! Receivers: exactly one kind each, reachable by name, with their secrets resolved.

use std::collections::HashSet;
use std::time::Duration;

use serde_saphyr::{Location, Spanned};

use super::Checker;
use crate::config::{Email, Language, Receiver, ReceiverKind, Smtp, SmtpTls};
use crate::problem::suggestion;
use crate::raw;

pub(super) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

const EXPECTED: &str = "`webhook`, `email`, `dingtalk`, `feishu`, `wecom` or `slack`";

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
        language: Language,
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
        let mut seen = HashSet::new();
        for raw in raw.value {
            if let Some(name) = &raw.value.name
                && !seen.insert(name.value.clone())
            {
                self.error(
                    name.referenced,
                    format!("the receiver `{}` stands here twice", name.value),
                );
            }
            receivers.extend(self.receiver(raw.value, raw.referenced, language));
        }
        receivers
    }

    fn receiver(
        &mut self,
        mut raw: raw::Receiver,
        at: Location,
        language: Language,
    ) -> Option<Receiver> {
        let later = [
            ("teams", &raw.teams),
            ("pagerduty", &raw.pagerduty),
            ("opsgenie", &raw.opsgenie),
            ("discord", &raw.discord),
            ("telegram", &raw.telegram),
        ];
        let mut kinds: Vec<&str> = later
            .iter()
            .filter(|(_, value)| value.is_some())
            .map(|(key, _)| *key)
            .collect();
        kinds.extend(raw.webhook.as_ref().map(|_| "webhook"));
        kinds.extend(raw.email.as_ref().map(|_| "email"));
        kinds.extend(raw.dingtalk.as_ref().map(|_| "dingtalk"));
        kinds.extend(raw.feishu.as_ref().map(|_| "feishu"));
        kinds.extend(raw.wecom.as_ref().map(|_| "wecom"));
        kinds.extend(raw.slack.as_ref().map(|_| "slack"));
        for (key, value) in later {
            self.later(key, value);
        }
        let language = self.language(raw.language.take(), language);
        let name = self.required("name", raw.name.take(), at);
        let name = name.map(|name| name.value);
        let who = name.as_deref().unwrap_or("this receiver").to_owned();
        let kind = match kinds.as_slice() {
            [] => {
                let message = format!("`{who}` has no kind: expected {EXPECTED}");
                self.error(at, message);
                None
            }
            [_] => self.kind(raw),
            several => {
                let several = several.join(" and ");
                let message = format!("`{who}` has {several}: expected exactly one kind");
                self.error(at, message);
                None
            }
        };
        Some(Receiver {
            name: name?,
            language,
            kind: kind?,
        })
    }

    /// The one kind that it has; none: of a later version, or with a problem.
    fn kind(&mut self, raw: raw::Receiver) -> Option<ReceiverKind> {
        if let Some(webhook) = raw.webhook {
            let webhook = self.webhook(webhook)?;
            return Some(ReceiverKind::Webhook(Box::new(webhook)));
        }
        if let Some(email) = raw.email {
            return self.email(email).map(ReceiverKind::Email);
        }
        let dingtalk = raw.dingtalk.map(|raw| self.dingtalk(raw));
        let feishu = raw.feishu.map(|raw| self.feishu(raw));
        let wecom = raw.wecom.map(|raw| self.wecom(raw));
        let slack = raw.slack.map(|raw| self.slack(raw));
        dingtalk.or(feishu).or(wecom).or(slack).flatten()
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
            smtp: Box::new(smtp?),
        })
    }

    /// A plain address: local part and domain, without a display name.
    fn address_of(&mut self, raw: Spanned<String>) -> Option<String> {
        if is_address(&raw.value) {
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
        let host = self.required("host", raw.host, at).and_then(|host| {
            let found = is_host(&host.value).then_some(host.value);
            if found.is_none() {
                let message = "`host`: expected a host name or an IP address";
                self.error(host.referenced, message);
            }
            found
        });
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
            .and_then(|raw| self.live("password", &raw.value, raw.referenced));
        if raw.username.is_some() != raw.password.is_some() {
            self.error(at, "`username` and `password` belong together");
        }
        let loopback = host.as_deref().is_some_and(is_loopback);
        if raw.password.is_some() && tls == SmtpTls::None && !loopback {
            let message =
                "a password is not sent in the clear: `tls` must be `implicit` or `starttls`";
            self.error(password_at, message);
        }
        if let Some(hello) = raw.hello.as_ref().filter(|hello| !is_hello(&hello.value)) {
            let message = "`hello`: expected a host name, or an IP address in `[]`";
            self.error(hello.referenced, message);
        }
        if let Some(port) = raw.port.as_ref().filter(|port| port.value == 0) {
            self.error(
                port.referenced,
                "`port`: expected a whole number from 1 to 65535",
            );
        }
        let port = match (raw.port, tls) {
            (Some(port), _) => port.value,
            (None, SmtpTls::Implicit) => 465,
            (None, SmtpTls::Starttls) => 587,
            (None, SmtpTls::None) => 25,
        };
        Some(Smtp {
            host: host?,
            port,
            tls,
            username: raw.username.map(|name| name.value),
            password,
            ca_file: self.certificates("ca_file", raw.ca_file),
            timeout: self
                .positive("timeout", raw.timeout)
                .unwrap_or(DELIVERY_TIMEOUT),
            hello: raw.hello.map(|hello| hello.value),
        })
    }
}

/// An unquoted local part of RFC 5321 and a domain; letters beyond ASCII pass.
fn is_address(address: &str) -> bool {
    let atom = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    address.len() <= 254
        && address.rsplit_once('@').is_some_and(|(local, domain)| {
            local.len() <= 64
                && local
                    .split('.')
                    .all(|part| !part.is_empty() && part.chars().all(atom))
                && is_domain(domain)
        })
}

fn is_domain(domain: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(fits)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.len() <= 253 && domain.split('.').all(label)
}

pub(super) fn is_host(host: &str) -> bool {
    is_domain(host.strip_suffix('.').unwrap_or(host)) || host.parse::<std::net::IpAddr>().is_ok()
}

/// What may stand in EHLO: it goes on the wire as it is.
fn is_hello(hello: &str) -> bool {
    let literal = hello
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    literal.map_or_else(
        || is_domain(hello),
        |ip| {
            ip.trim_start_matches("IPv6:")
                .parse::<std::net::IpAddr>()
                .is_ok()
        },
    )
}

pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}
