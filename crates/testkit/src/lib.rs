#![doc = include_str!("../README.md")]

pub mod seed;
pub mod eventually;
pub mod binary;
pub mod chaos;
pub mod authority;
pub mod webhook;
pub mod chat;
pub mod mail;
pub mod mail_sink;
pub mod smtpd;
pub mod kafka;

pub use authority::{Authority, Identity};
pub use binary::{Binary, Launch};
pub use chaos::{ChaosProxy, Mode};
pub use chat::{CHAT_TOKEN, ChatOptions, ChatProvider, ChatReply, ChatRequest, ChatServer};
pub use eventually::eventually;
pub use kafka::{Kafka, KafkaCluster, KafkaOptions};
pub use mail::Mail;
pub use mail_sink::{MailSink, MailSinkOptions, SinkTls};
pub use seed::{Rng, Seed};
pub use smtpd::{Smtpd, SmtpdOptions};
pub use webhook::{Answer, Request, WebhookReceiver};
