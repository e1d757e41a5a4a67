//! The environment: an access key in variables.

use std::fmt;

use super::surroundings::Surroundings;
use super::{BoxFuture, Credentials, CredentialsProvider, fault};
use crate::Error;

/// The environment: `ALIBABA_CLOUD_ACCESS_KEY_ID`, `ALIBABA_CLOUD_ACCESS_KEY_SECRET`, and optionally
/// `ALIBABA_CLOUD_SECURITY_TOKEN` (the names of the vendor's default chain). Read at each use.
pub struct Environment(Surroundings);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

impl Environment {
    /// Reads through `look_up`, so that tests need not change the process's environment.
    pub fn new(look_up: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Surroundings::new(look_up))
    }

    pub(super) fn within(surroundings: Surroundings) -> Self {
        Self(surroundings)
    }

    fn read(&self) -> Result<Credentials, Error> {
        let need = |name: &str| {
            let value = self.0.variable(name);
            value.ok_or_else(|| fault("environment", format!("{name} is not set")))
        };
        Ok(Credentials {
            access_key_id: need("ALIBABA_CLOUD_ACCESS_KEY_ID")?,
            secret: need("ALIBABA_CLOUD_ACCESS_KEY_SECRET")?.into(),
            security_token: self
                .0
                .variable("ALIBABA_CLOUD_SECURITY_TOKEN")
                .map(Into::into),
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
