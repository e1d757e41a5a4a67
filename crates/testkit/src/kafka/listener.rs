//! Listeners that ask who is there, next to the plain-text one that the launcher itself uses.

use std::fs;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::Authority;

/// A way in: what is encrypted, and how a client says who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    tls: Option<ClientCertificate>,
    sasl: Option<Sasl>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientCertificate {
    NotAsked,
    Required,
}

/// How a client says who it is: `sasl.mechanism`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sasl {
    /// Name and password as they are.
    Plain,
    /// Salted, SHA-256.
    ScramSha256,
    /// Salted, SHA-512.
    ScramSha512,
    /// A token; see [`unsecured_token`].
    OauthBearer,
}

/// Name and password, for PLAIN and SCRAM alike.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: String,
}

impl Listener {
    /// Not encrypted.
    pub fn clear() -> Self {
        let (tls, sasl) = (None, None);
        Self { tls, sasl }
    }

    /// TLS; the broker's certificate is for `localhost` and 127.0.0.1.
    pub fn tls() -> Self {
        let tls = Some(ClientCertificate::NotAsked);
        Self { tls, sasl: None }
    }

    /// TLS; only clients with a certificate of the same authority.
    pub fn mutual_tls() -> Self {
        let tls = Some(ClientCertificate::Required);
        Self { tls, sasl: None }
    }

    /// The same, and a client has to log in.
    #[must_use]
    pub fn with(self, sasl: Sasl) -> Self {
        let sasl = Some(sasl);
        Self { sasl, ..self }
    }

    /// What Kafka calls it here, in lines like `listener.name.<name>.…`.
    pub(super) fn name(self) -> String {
        let tls = match self.tls {
            None => "clear",
            Some(ClientCertificate::NotAsked) => "tls",
            Some(ClientCertificate::Required) => "mtls",
        };
        let sasl = self.sasl.map(|sasl| sasl.mechanism().to_lowercase());
        format!("{tls}-{}", sasl.as_deref().unwrap_or("anonymous"))
    }

    /// `security.protocol`, for the broker and its clients.
    pub fn protocol(self) -> &'static str {
        match (self.tls, self.sasl) {
            (None, None) => "PLAINTEXT",
            (Some(_), None) => "SSL",
            (None, Some(_)) => "SASL_PLAINTEXT",
            (Some(_), Some(_)) => "SASL_SSL",
        }
    }

    /// The broker's settings of this listener.
    pub(super) fn properties(self, keys: &Path, users: &[User]) -> Vec<(String, String)> {
        let prefix = format!("listener.name.{}", self.name());
        let mut properties = Vec::new();
        let mut set =
            |key: &str, value: String| properties.push((format!("{prefix}.{key}"), value));
        let file = |name: &str| keys.join(name).display().to_string();
        if let Some(client_certificate) = self.tls {
            set("ssl.keystore.type", "PEM".to_owned());
            set("ssl.keystore.location", file("server.pem"));
            set("ssl.truststore.type", "PEM".to_owned());
            set("ssl.truststore.location", file("ca.pem"));
            let asked = match client_certificate {
                ClientCertificate::NotAsked => "none",
                ClientCertificate::Required => "required",
            };
            set("ssl.client.auth", asked.to_owned());
        }
        if let Some(sasl) = self.sasl {
            let mechanism = sasl.mechanism();
            let of = mechanism.to_lowercase();
            set("sasl.enabled.mechanisms", mechanism.to_owned());
            set(&format!("{of}.sasl.jaas.config"), sasl.jaas(users));
            if sasl == Sasl::OauthBearer {
                let handler = "org.apache.kafka.common.security.oauthbearer.internals.unsecured\
                    .OAuthBearerUnsecuredValidatorCallbackHandler";
                let key = format!("{of}.sasl.server.callback.handler.class");
                set(&key, handler.to_owned());
            }
        }
        properties
    }
}

impl Sasl {
    /// `sasl.mechanism`, as a client names it.
    pub fn mechanism(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }

    /// The broker's login module with what it knows of its users. SCRAM's stand in the cluster's metadata.
    fn jaas(self, users: &[User]) -> String {
        let security = "org.apache.kafka.common.security";
        match self {
            Self::Plain => {
                let users = users.iter();
                let users = users.map(|user| format!(" user_{}=\"{}\"", user.name, user.password));
                let users = users.collect::<Vec<_>>().concat();
                format!("{security}.plain.PlainLoginModule required{users};")
            }
            Self::ScramSha256 | Self::ScramSha512 => {
                format!("{security}.scram.ScramLoginModule required;")
            }
            Self::OauthBearer => format!(
                "{security}.oauthbearer.OAuthBearerLoginModule required \
                 unsecuredLoginStringClaim_sub=\"broker\";"
            ),
        }
    }
}

/// The broker's certificate and the authority's, where [`Listener::properties`] names them.
pub(super) fn write_keys(authority: &Authority, keys: &Path) -> io::Result<()> {
    fs::create_dir_all(keys)?;
    let identity = authority.issue(&["localhost", "127.0.0.1"]);
    // Kafka reads a key store in PEM from one file (KIP-651).
    let both = identity.key_pem() + &identity.cert_pem();
    fs::write(keys.join("server.pem"), both)?;
    fs::write(keys.join("ca.pem"), authority.ca_pem())
}

/// What `StorageTool format` takes, so that the users can log in by SCRAM from the start.
pub(super) fn scram_arguments(users: &[User]) -> Vec<String> {
    let mechanisms = [Sasl::ScramSha256, Sasl::ScramSha512];
    let users = users.iter().flat_map(|user| {
        let User { name, password } = user;
        mechanisms.map(|sasl| {
            let mechanism = sasl.mechanism();
            let user = format!("{mechanism}=[name={name},password={password}]");
            ["--add-scram".to_owned(), user]
        })
    });
    users.flatten().collect()
}

/// A token that the brokers' OAUTHBEARER listener takes until it expires: a JWT without a signature
/// (Kafka documentation, "Unsecured Token Creation Options for SASL/OAUTHBEARER").
pub fn unsecured_token(subject: &str, issued_at: Timestamp, lifetime: SignedDuration) -> String {
    let encode = |json: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let header = encode(json!({"alg": "none"}));
    let claims = encode(json!({
        "sub": subject,
        "iat": issued_at.as_second(),
        "exp": (issued_at + lifetime).as_second(),
    }));
    format!("{header}.{claims}.")
}
