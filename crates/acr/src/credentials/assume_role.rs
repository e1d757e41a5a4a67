//! AssumeRole: other credentials become those of a role.

use std::sync::Arc;

use url::Url;

use super::issued::{Issued, Source};
use super::refreshing::Refreshing;
use super::sts::{Refused, Role, Sts};
use super::surroundings::Surroundings;
use super::{BoxFuture, CredentialsProvider};
use crate::Error;

const STEP: &str = "assume role";

struct AssumeRole {
    base: Arc<dyn CredentialsProvider>,
    role: Role,
    sts: Sts,
}

impl Surroundings {
    /// The role's credentials, asked for with those of `base`. `sts` says where; none: by the rule.
    pub fn assume_role(
        &self,
        base: Arc<dyn CredentialsProvider>,
        role: Role,
        sts: Option<Url>,
    ) -> Result<Arc<dyn CredentialsProvider>, Error> {
        let endpoint = sts.map_or_else(|| self.sts(None, false), Ok)?;
        Ok(Arc::new(Refreshing::new(AssumeRole {
            base,
            role,
            sts: Sts::new(self, endpoint)?,
        })))
    }
}

impl Source for AssumeRole {
    fn fetch(&self) -> BoxFuture<'_, Result<Issued, Error>> {
        Box::pin(async move {
            let base = self.base.credentials().await?;
            let Self { role, sts, .. } = self;
            match sts.assume_role(STEP, role, &base).await {
                // STS knows better than we whether they are still good.
                Err(Refused::Base(error)) => match self.base.renew(&base).await? {
                    Some(others) => Ok(sts.assume_role(STEP, role, &others).await?),
                    None => Err(error),
                },
                answered => Ok(answered?),
            }
        })
    }

    fn name(&self) -> &'static str {
        STEP
    }
}
