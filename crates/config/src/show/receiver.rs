//! Who can be told, and how they are reached. Pure.

use super::{Shown, host, list, map, optional, optional_path, path, proxy, secret, text, time};
use crate::config::{
    At, Authorization, Chat, ChatKind, Config, Egress, Email, Heartbeat, Http, Rate, Receiver,
    ReceiverKind, SmtpTls, Webhook,
};
use crate::{LiveSecret, http_url};

pub(super) fn receiver(receiver: &Receiver) -> Shown {
    let (kind, keys) = match &receiver.kind {
        ReceiverKind::Webhook(one) => ("webhook", webhook(one)),
        ReceiverKind::Email(one) => ("email", email(one)),
        ReceiverKind::Chat(one) => chat(one),
    };
    map([
        ("name", text(&receiver.name)),
        ("language", text(receiver.language.as_str())),
        (kind, keys),
    ])
}

/// The file that it stands in, or its host.
fn url(url: &LiveSecret) -> Shown {
    match (url.file(), http_url(url.text().expose())) {
        (None, Ok(known)) => host(&known),
        _ => secret(url),
    }
}

fn http(http: &Http) -> [(&'static str, Shown); 4] {
    let certificate = http.client_certificate.as_ref();
    let certificate = certificate.map_or(Shown::Nothing, |files| {
        map([
            ("cert_file", path(&files.cert_file)),
            ("key_file", path(&files.key_file)),
        ])
    });
    [
        ("timeout", time(http.timeout)),
        ("ca_file", optional_path(http.ca_file.as_ref())),
        ("client_certificate", certificate),
        ("proxy", proxy(http.proxy.as_ref())),
    ]
}

fn webhook(webhook: &Webhook) -> Shown {
    let (basic, bearer) = match &webhook.authorization {
        None => (Shown::Nothing, Shown::Nothing),
        Some(Authorization::Bearer(token)) => (Shown::Nothing, secret(token)),
        Some(Authorization::Basic { username, password }) => {
            let keys = [("username", text(username)), ("password", secret(password))];
            (map(keys), Shown::Nothing)
        }
    };
    let headers = webhook.headers.iter();
    let headers: Vec<(String, Shown)> = headers
        .map(|(name, value)| (name.clone(), secret(value)))
        .collect();
    let headers = if headers.is_empty() {
        Shown::Nothing
    } else {
        Shown::Map(headers)
    };
    let template = webhook.template.as_ref().map(|template| &template.path);
    let [timeout, ca_file, certificate, proxy] = http(&webhook.http);
    map([
        ("url", url(&webhook.url)),
        ("secret", list(webhook.secrets.iter().map(secret))),
        ("basic", basic),
        ("bearer", bearer),
        ("headers", headers),
        ("template", optional_path(template)),
        ("content_type", optional(webhook.content_type.as_ref())),
        timeout,
        ca_file,
        certificate,
        proxy,
    ])
}

fn email(email: &Email) -> Shown {
    let smtp = &email.smtp;
    let tls = match smtp.tls {
        SmtpTls::Implicit => "implicit",
        SmtpTls::Starttls => "starttls",
        SmtpTls::None => "none",
    };
    let password = smtp.password.as_ref().map_or(Shown::Nothing, secret);
    let smtp = map([
        ("host", text(&smtp.host)),
        ("port", Shown::Number(smtp.port.into())),
        ("tls", text(tls)),
        ("username", optional(smtp.username.as_ref())),
        ("password", password),
        ("ca_file", optional_path(smtp.ca_file.as_ref())),
        ("timeout", time(smtp.timeout)),
        ("hello", optional(smtp.hello.as_ref())),
    ]);
    map([
        ("from", text(&email.from)),
        ("to", list(email.to.iter().map(text))),
        ("smtp", smtp),
    ])
}

fn chat(chat: &Chat) -> (&'static str, Shown) {
    let (kind, signs) = match &chat.kind {
        ChatKind::Dingtalk { secret } => ("dingtalk", secret.as_ref()),
        ChatKind::Feishu { secret } => ("feishu", secret.as_ref()),
        ChatKind::Wecom => ("wecom", None),
        ChatKind::Slack => ("slack", None),
    };
    let [timeout, ca_file, certificate, proxy] = http(&chat.http);
    let keys = map([
        ("url", url(&chat.url)),
        ("secret", signs.map_or(Shown::Nothing, secret)),
        ("keyword", optional(chat.keyword.as_ref())),
        ("at", at(&chat.at)),
        ("rate", list(chat.rates.iter().map(|one| text(&rate(*one))))),
        timeout,
        ca_file,
        certificate,
        proxy,
    ]);
    (kind, keys)
}

fn at(at: &At) -> Shown {
    if *at == At::default() {
        return Shown::Nothing;
    }
    map([
        ("mobiles", list(at.mobiles.iter().map(text))),
        ("users", list(at.users.iter().map(text))),
        (
            "all",
            if at.all {
                Shown::Switch(true)
            } else {
                Shown::Nothing
            },
        ),
    ])
}

fn rate(rate: Rate) -> String {
    let unit = match rate.per.as_secs() {
        1 => "s",
        60 => "m",
        _ => "h",
    };
    format!("{}/{unit}", rate.count)
}

pub(super) fn heartbeat(heartbeat: &Heartbeat) -> Shown {
    let [timeout, ca_file, certificate, proxy] = http(&heartbeat.http);
    map([
        ("url", url(&heartbeat.url)),
        ("every", time(heartbeat.every)),
        timeout,
        ca_file,
        certificate,
        proxy,
    ])
}

/// One for all; without anybody who is reached by HTTP it says nothing.
fn known(config: &Config) -> Option<&Egress> {
    let heartbeat = config.heartbeat.iter().map(|one| &one.http);
    let receivers = config
        .receivers
        .iter()
        .filter_map(|receiver| match &receiver.kind {
            ReceiverKind::Webhook(webhook) => Some(&webhook.http),
            ReceiverKind::Chat(chat) => Some(&chat.http),
            ReceiverKind::Email(_) => None,
        });
    receivers.chain(heartbeat).map(|http| &http.egress).next()
}

pub(super) fn egress(config: &Config) -> Shown {
    let name = |egress: &Egress| {
        if egress.strict { "strict" } else { "default" }
    };
    known(config).map_or(Shown::Nothing, |egress| text(name(egress)))
}

pub(super) fn allow_networks(config: &Config) -> Shown {
    let networks = known(config).into_iter();
    list(networks.flat_map(|egress| egress.allow_networks.iter().map(text)))
}
