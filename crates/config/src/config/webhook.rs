//! A generic webhook, and what all receivers over HTTP have in common.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::Egress;
use crate::secret::{LiveSecret, Secret};

/// A generic webhook.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where to post; see [`http_url`](crate::http_url).
    pub url: LiveSecret,
    /// Signing secrets, see [`signing_key`](crate::signing_key): each gives a signature. None: not signed.
    pub secrets: Vec<LiveSecret>,
    /// Who we are.
    pub authorization: Option<Authorization>,
    /// Further headers; none of them is one that the channel sets.
    pub headers: Vec<(String, LiveSecret)>,
    /// What gives the body; none: the alert as a CloudEvent.
    pub template: Option<BodyTemplate>,
    /// What the body is said to be; none: JSON of a template, else a CloudEvent.
    pub content_type: Option<String>,
    /// How to get there.
    pub http: Http,
}

impl Webhook {
    /// With nothing but an address.
    pub fn new(url: &Url) -> Self {
        Self {
            url: LiveSecret::fixed(url.as_str()),
            secrets: Vec::new(),
            authorization: None,
            headers: Vec::new(),
            template: None,
            content_type: None,
            http: Http::default(),
        }
    }
}

/// What stands in the header `Authorization`.
#[derive(Clone, Debug)]
pub enum Authorization {
    /// A user name and a password.
    Basic {
        /// Without a colon.
        username: String,
        /// Any text.
        password: LiveSecret,
    },
    /// A token.
    Bearer(LiveSecret),
}

/// How a receiver is reached over HTTP.
#[derive(Clone, Debug)]
pub struct Http {
    /// Over everything: looking up the name, connecting, TLS, and the answer's body.
    pub timeout: Duration,
    /// Certificates to trust beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// What the receiver knows us by.
    pub client_certificate: Option<ClientCertificate>,
    /// http or https; a user and password may be in it.
    pub proxy: Option<Secret<Url>>,
    /// Where requests may go.
    pub egress: Egress,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            ca_file: None,
            client_certificate: None,
            proxy: None,
            egress: Egress::default(),
        }
    }
}

/// A certificate of our own, for mutual TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate and those between it and its root, PEM.
    pub cert_file: PathBuf,
    /// Its key, PEM, not encrypted.
    pub key_file: PathBuf,
}

/// A template of the operator for a body, read but not compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyTemplate {
    /// Where it lies.
    pub path: PathBuf,
    /// What stands in it.
    pub text: String,
}
