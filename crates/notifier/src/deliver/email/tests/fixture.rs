//! What the tests send.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use syncbell_config::{Email, LiveSecret, Smtp, SmtpTls};
use syncbell_event::{AlertItem, AlertStatus, EventId, Severity};

use super::server::Fake;
use crate::delivery::{Delivery, DeliveryId, Entry, Target};
use crate::render::Mail;

pub(super) fn config(server: &Fake) -> Email {
    Email {
        from: "syncbell@alerts.example.com".into(),
        to: vec!["oncall@example.com".into()],
        smtp: Box::new(Smtp {
            host: "localhost".into(),
            port: server.port,
            tls: SmtpTls::None,
            username: None,
            password: None,
            ca_file: None,
            timeout: Duration::from_secs(10),
            hello: None,
        }),
    }
}

pub(super) fn with_password(mut email: Email) -> Email {
    email.smtp.username = Some("syncbell".into());
    email.smtp.password = Some(LiveSecret::fixed("hunter2"));
    email
}

fn entry(incident: &str) -> Entry {
    Entry {
        item: AlertItem {
            incident: incident.into(),
            rule: "failed".into(),
            severity: Severity::Error,
            status: AlertStatus::Firing,
            reason: "NETWORK_ERROR".into(),
            since: "2026-01-02T03:04:05Z".parse().unwrap(),
            summary: "team-a/shop:v1 did not reach cn-shenzhen/cri-2".into(),
            instance: None,
            region: None,
            sync_rule_id: None,
            repo: None,
            task: None,
            resolved_by: None,
            detail: None,
            labels: std::collections::BTreeMap::new(),
            annotations: std::collections::BTreeMap::new(),
        },
        event_id: EventId("e1".into()),
        message: None,
        occurrence: 1,
        history: Vec::new(),
        instance: "cri-1".into(),
        observed_at: at(),
        flapping: false,
        traceparent: None,
    }
}

pub(in crate::deliver) fn delivery(incidents: &[&str]) -> Delivery {
    let target = Target {
        receiver: "mail".into(),
        address: Some("oncall@example.com".into()),
    };
    let group = BTreeMap::from([("rule".to_owned(), "failed".to_owned())]);
    let entries: Vec<Entry> = incidents.iter().map(|incident| entry(incident)).collect();
    Delivery {
        id: DeliveryId("00112233445566778899aabbccddeeff".into()),
        ..Delivery::due_now(&target, (&group, &entries), 0, 1, at())
    }
}

pub(super) fn at() -> Timestamp {
    "2026-01-02T03:16:10Z".parse().unwrap()
}

pub(super) fn texts() -> Mail {
    Mail {
        subject: "[FIRING] 磁盘\r\nBcc: victim@example.com\0".into(),
        text: ".\r\n.leading dot\nténor\n.\n".into(),
        html: format!("<p>{}</p>\n", "wide ".repeat(500)),
        failures: Vec::new(),
    }
}
