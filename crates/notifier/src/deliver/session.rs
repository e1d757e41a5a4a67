//! One conversation with a mail server: open, hand over mails, one after the other.
//!
//! The commands are sent one by one instead of by lettre's transport, because only so it is known where
//! a refusal came from, and because lettre's transport has no deadline after the connect (lettre#1027).

use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use syncbell_config::{Smtp, SmtpTls};

use super::bounded::Bounded;
use super::egress::System;
use super::fresh::Fresh;
use super::message::Letter;
use super::reply::{Stage, Trouble};
use super::setup::{SetupError, pem};

const QUIT_LIMIT: Duration = Duration::from_secs(1);

/// How a server is spoken to.
pub(super) struct Server {
    host: String,
    port: u16,
    hello: ClientId,
    tls: Tls,
    credentials: Option<Fresh<Credentials>>,
    pub(super) timeout: Duration,
    names: System,
}

enum Tls {
    None,
    Implicit(TlsParameters),
    /// By STARTTLS, required.
    Upgraded(TlsParameters),
}

impl Server {
    /// `domain` is said in EHLO unless the configuration has a name for that. Blocking: only at start.
    pub(super) fn try_new(smtp: &Smtp, domain: &str) -> Result<Self, SetupError> {
        let hello = smtp.hello.as_deref().unwrap_or(domain);
        if hello.is_empty() || !hello.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SetupError::unusable(format!(
                "{hello:?} is not a name to say in EHLO"
            )));
        }
        let credentials = match (&smtp.username, &smtp.password) {
            (Some(name), Some(password)) => {
                let name = name.clone();
                Some(Fresh::try_new(password, move |password: &str| {
                    Ok(Credentials::new(name.clone(), password.to_owned()))
                })?)
            }
            _ => None,
        };
        Ok(Self {
            host: smtp.host.clone(),
            port: smtp.port,
            hello: ClientId::Domain(hello.to_owned()),
            tls: match smtp.tls {
                SmtpTls::None => Tls::None,
                SmtpTls::Implicit => Tls::Implicit(parameters(smtp)?),
                SmtpTls::Starttls => Tls::Upgraded(parameters(smtp)?),
            },
            credentials,
            timeout: smtp.timeout,
            names: System::new(),
        })
    }

    /// The next conversation looks into the file of the password.
    #[cfg(test)]
    pub(super) fn look_again(&self) {
        self.credentials.iter().for_each(Fresh::look_again);
    }

    /// Connects, protects the connection, proves who we are. The caller has a deadline over it.
    pub(super) async fn open(&self, stage: &mut Stage) -> Result<Session, Trouble> {
        *stage = Stage::Connect;
        let mut connection = match &self.tls {
            // Before it says anything it has shown who it is.
            Tls::Implicit(parameters) => {
                let address = (self.host.as_str(), self.port);
                let (limit, tls) = (Some(self.timeout), Some(parameters.clone()));
                AsyncSmtpConnection::connect_tokio1(address, limit, &self.hello, tls, None).await?
            }
            Tls::None | Tls::Upgraded(_) => {
                let stream = Bounded::connect(&self.host, self.port, &self.names).await?;
                AsyncSmtpConnection::connect_with_transport(Box::new(stream), &self.hello).await?
            }
        };
        if let Tls::Upgraded(parameters) = &self.tls {
            *stage = Stage::StartTls;
            if !connection.can_starttls() {
                return Err(Trouble::Lacking(
                    "the server does not offer STARTTLS".to_owned(),
                ));
            }
            connection.starttls(parameters.clone(), &self.hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            *stage = Stage::Auth;
            let credentials = credentials.now().await;
            connection.auth(DEFAULT_MECHANISMS, &credentials).await?;
        }
        Ok(Session {
            connection,
            needs_reset: false,
        })
    }
}

fn parameters(smtp: &Smtp) -> Result<TlsParameters, SetupError> {
    let unusable = |error: lettre::transport::smtp::Error| SetupError::unusable(error.to_string());
    let mut builder = TlsParametersBuilder::new(smtp.host.clone());
    if let Some(path) = &smtp.ca_file {
        let certificates = Certificate::from_pem(&pem(path)?).map_err(unusable)?;
        builder = builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(certificates);
    }
    builder.build().map_err(unusable)
}

/// What the server said when it took a mail.
pub(super) struct Said {
    pub(super) code: u16,
    pub(super) text: String,
}

/// An open conversation.
pub(super) struct Session {
    connection: AsyncSmtpConnection,
    /// The last mail was refused half-way.
    needs_reset: bool,
}

impl Session {
    /// Hands over one mail to one recipient. Gives what the server said to it, and its code.
    pub(super) async fn send(
        &mut self,
        stage: &mut Stage,
        letter: &Letter,
    ) -> Result<Said, Trouble> {
        *stage = Stage::Mail;
        if std::mem::replace(&mut self.needs_reset, true) {
            self.connection.command(Rset).await?;
        }
        let parameters = self.parameters(&letter.from, &letter.to)?;
        self.connection
            .command(Mail::new(Some(letter.from.clone()), parameters))
            .await?;
        *stage = Stage::Rcpt;
        self.connection
            .command(Rcpt::new(letter.to.clone(), Vec::new()))
            .await?;
        *stage = Stage::Data;
        self.connection.command(Data).await?;
        *stage = Stage::Content;
        // In one write: two small ones would wait for each other (Nagle and delayed acknowledgement).
        let response = self.connection.command(&letter.wire).await?;
        self.needs_reset = false;
        let said = response.message().next().unwrap_or_default();
        Ok(Said {
            code: response.code().into(),
            text: said.to_owned(),
        })
    }

    /// Addresses beyond ASCII need a server that takes them (RFC 6531).
    fn parameters(&self, from: &Address, to: &Address) -> Result<Vec<MailParameter>, Trouble> {
        let ascii = |address: &Address| {
            let text: &str = address.as_ref();
            text.is_ascii()
        };
        if ascii(from) && ascii(to) {
            return Ok(Vec::new());
        }
        if self
            .connection
            .server_info()
            .supports_feature(Extension::SmtpUtfEight)
        {
            return Ok(vec![MailParameter::SmtpUtfEight]);
        }
        Err(Trouble::Lacking(
            "the server does not take addresses beyond ASCII".to_owned(),
        ))
    }

    /// Takes leave. What it answers does not matter any more.
    pub(super) async fn quit(mut self) {
        if let Ok(Err(error)) = tokio::time::timeout(QUIT_LIMIT, self.connection.quit()).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the mail server did not take QUIT"
            );
        }
    }
}
