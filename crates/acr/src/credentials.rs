//! Who we are to the cloud. One trait; the environment is its first provider.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use secrecy::SecretString;

use crate::Error;

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

/// Finds a variable by its name.
type LookUp = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The environment: `ALIBABA_CLOUD_ACCESS_KEY_ID`, `ALIBABA_CLOUD_ACCESS_KEY_SECRET`, and optionally
/// `ALIBABA_CLOUD_SECURITY_TOKEN` (the names of the vendor's default chain).
pub struct Environment {
    look_up: LookUp,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

impl Environment {
    /// Reads through `look_up`, so that tests need not change the process's environment.
    pub fn new(look_up: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self {
            look_up: Box::new(look_up),
        }
    }

    fn read(&self) -> Result<Credentials, Error> {
        let get = |name: &str| (self.look_up)(name).filter(|value| !value.trim().is_empty());
        let need = |name: &str| {
            get(name).ok_or_else(|| Error::Credentials {
                what: format!("environment: {name} is not set"),
            })
        };
        Ok(Credentials {
            access_key_id: need("ALIBABA_CLOUD_ACCESS_KEY_ID")?.trim().to_owned(),
            secret: need("ALIBABA_CLOUD_ACCESS_KEY_SECRET")?
                .trim()
                .to_owned()
                .into(),
            security_token: get("ALIBABA_CLOUD_SECURITY_TOKEN")
                .map(|token| token.trim().to_owned().into()),
        })
    }
}

impl CredentialsProvider for Environment {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, Error>> {
        Box::pin(std::future::ready(self.read()))
    }

    fn name(&self) -> &'static str {
        "environment"
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_environment_is_read_and_its_secrets_are_not_printed() {
        let environment = Environment::new(|name| match name {
            "ALIBABA_CLOUD_ACCESS_KEY_ID" => Some("LTAI-key".to_owned()),
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET" => Some("open-sesame".to_owned()),
            "ALIBABA_CLOUD_SECURITY_TOKEN" => Some("token-sesame".to_owned()),
            _ => None,
        });
        let credentials = environment.credentials().await.unwrap();
        assert!(credentials.security_token.is_some());
        let printed = format!("{credentials:?} {environment:?}");
        assert!(
            printed.contains("LTAI-key") && !printed.contains("sesame"),
            "{printed}"
        );
    }

    #[tokio::test]
    async fn a_missing_variable_is_named() {
        let environment = Environment::new(|name| {
            (name == "ALIBABA_CLOUD_ACCESS_KEY_ID").then(|| "LTAI-key".to_owned())
        });
        let said = environment.credentials().await.unwrap_err().to_string();
        assert!(said.contains("ALIBABA_CLOUD_ACCESS_KEY_SECRET"), "{said}");
    }
}
