//! OIDC: a token in a file becomes the credentials of a role. On Kubernetes this is RRSA, where the
//! cluster keeps the file fresh.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::issued::{Issued, Source};
use super::refreshing::Refreshing;
use super::sts::{Role, Sts};
use super::surroundings::Surroundings;
use super::{BoxFuture, CredentialsProvider, fault};
use crate::Error;

pub(super) struct Oidc {
    surroundings: Surroundings,
    role: Role,
    provider_arn: String,
    token: Token,
    sts: Sts,
}

/// Where the token is.
pub(super) enum Token {
    File(PathBuf),
    /// The token itself, as the vendor's Go SDK takes it.
    Given(SecretString),
}

impl Oidc {
    pub(super) fn new(
        surroundings: &Surroundings,
        role: Role,
        provider_arn: String,
        token: Token,
        sts: Url,
    ) -> Result<Self, Error> {
        Ok(Self {
            surroundings: surroundings.clone(),
            role,
            provider_arn,
            token,
            sts: Sts::new(surroundings, sts)?,
        })
    }

    /// From the variables of the default chain; none if one of the three is not set, with what to say.
    pub(super) fn of_variables(surroundings: &Surroundings) -> Result<Option<Self>, Error> {
        let get = |name: &str| surroundings.variable(name);
        let token = get("ALIBABA_CLOUD_OIDC_TOKEN_FILE")
            .map(|file| Token::File(file.into()))
            .or_else(|| get("ALIBABA_CLOUD_OIDC_TOKEN").map(|token| Token::Given(token.into())));
        let (Some(arn), Some(provider_arn), Some(token)) = (
            get("ALIBABA_CLOUD_ROLE_ARN"),
            get("ALIBABA_CLOUD_OIDC_PROVIDER_ARN"),
            token,
        ) else {
            return Ok(None);
        };
        let mut role = Role::new(arn);
        if let Some(name) = get("ALIBABA_CLOUD_ROLE_SESSION_NAME") {
            role.session_name = name;
        }
        let sts = surroundings.sts(None, false)?;
        Self::new(surroundings, role, provider_arn, token, sts).map(Some)
    }
}

impl Surroundings {
    /// The role's credentials for the token in `token_file`, which is read at each refresh. `sts` says
    /// where; none: by the rule.
    pub fn oidc(
        &self,
        role: Role,
        provider_arn: String,
        token_file: PathBuf,
        sts: Option<Url>,
    ) -> Result<Arc<dyn CredentialsProvider>, Error> {
        let endpoint = sts.map_or_else(|| self.sts(None, false), Ok)?;
        let source = Oidc::new(self, role, provider_arn, Token::File(token_file), endpoint)?;
        Ok(Arc::new(Refreshing::new(source)))
    }
}

impl Source for Oidc {
    fn fetch(&self) -> BoxFuture<'_, Result<Issued, Error>> {
        Box::pin(async {
            let token: SecretString = match &self.token {
                Token::Given(token) => token.clone(),
                Token::File(path) => {
                    let text = self.surroundings.read(path).await.map_err(|error| {
                        fault("oidc", format!("the token file {} {error}", path.display()))
                    })?;
                    text.trim().to_owned().into()
                }
            };
            let token = token.expose_secret();
            if token.is_empty() {
                return Err(fault("oidc", "the token is empty"));
            }
            let Self { role, sts, .. } = self;
            sts.assume_role_with_oidc("oidc", role, &self.provider_arn, token)
                .await
        })
    }

    fn name(&self) -> &'static str {
        "oidc"
    }
}
