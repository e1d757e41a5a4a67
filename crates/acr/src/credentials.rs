//! Who we are to the cloud.
//!
//! In: variables, files, the metadata service, STS; all of them through [`Surroundings`]. Out:
//! [`Credentials`], kept fresh. Must never happen: a secret or token in a `Debug` text, an error or a
//! log line; two refreshes at a time; a wait without a bound.

mod surroundings;
mod issued;
mod refreshing;
mod environment;
mod sts;
mod assume_role;
mod oidc;
mod profile;
mod external;
mod ini;
mod ecs;
mod uri;
mod chain;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use secrecy::{ExposeSecret as _, SecretString};

use crate::Error;

pub use self::environment::Environment;
pub use self::sts::{Role, sts_endpoint};
pub use self::surroundings::{Limits, Surroundings};

/// A boxed future, as object-safe traits need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An access key, with a security token if it is a temporary one.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Not secret; the server and its logs name it.
    pub access_key_id: String,
    /// Signs; never sent.
    pub secret: SecretString,
    /// Sent beside the signature of temporary keys.
    pub security_token: Option<SecretString>,
}

impl Credentials {
    /// True if a server cannot tell them apart.
    pub(crate) fn are(&self, other: &Self) -> bool {
        let token = |of: &Self| {
            let token = of.security_token.as_ref();
            token.map(|token| token.expose_secret().to_owned())
        };
        self.access_key_id == other.access_key_id
            && self.secret.expose_secret() == other.secret.expose_secret()
            && token(self) == token(other)
    }
}

/// Gives credentials, each time they are needed. A provider may cache and refresh.
pub trait CredentialsProvider: Send + Sync {
    /// The credentials to sign the next request with. The error says what each step said, without secrets.
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, Error>>;

    /// Asks for others because the server said that `refused` expired or that it does not know them.
    /// `None` where there are none but these; then the refusal stands.
    fn renew<'a>(
        &'a self,
        _refused: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<Credentials>, Error>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Its name, for messages.
    fn name(&self) -> &'static str;
}

/// Always the same credentials.
#[derive(Clone, Debug)]
pub struct Static(pub Credentials);

impl CredentialsProvider for Static {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, Error>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }

    fn name(&self) -> &'static str {
        "static"
    }
}

/// A configuration fault of `step`.
fn fault(step: &str, what: impl fmt::Display) -> Error {
    Error::Credentials {
        what: format!("{step}: {what}"),
    }
}

/// What `step` needs is down; it may be there again soon.
fn down(step: &str, what: impl fmt::Display) -> Error {
    Error::Unavailable {
        what: format!("{step}: {what}"),
    }
}

/// What an error says, without its class.
fn said(error: &Error) -> String {
    match error {
        Error::Credentials { what }
        | Error::Unavailable { what }
        | Error::Malformed { what }
        | Error::Setup { what } => what.clone(),
        other => other.to_string(),
    }
}
