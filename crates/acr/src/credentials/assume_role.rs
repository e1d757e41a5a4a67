//! AssumeRole: other credentials become those of a role.

use std::sync::Arc;

use url::Url;

use super::issued::{Issued, Source};
use super::refreshing::Refreshing;
use super::sts::{Refused, Role, Sts};
use super::surroundings::Surroundings;
use super::{BoxFuture, CredentialsProvider};
use crate::Error;

pub(super) struct AssumeRole {
    pub(super) step: &'static str,
    pub(super) base: Arc<dyn CredentialsProvider>,
    pub(super) role: Role,
    pub(super) sts: Sts,
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
            step: "assume role",
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
            let (step, role) = (self.step, &self.role);
            match self.sts.assume_role(step, role, &base).await {
                // STS knows better than we whether they are still good.
                Err(Refused::Base(error)) => match self.base.renew(&base).await? {
                    Some(others) => Ok(self.sts.assume_role(step, role, &others).await?),
                    None => Err(error),
                },
                answered => Ok(answered?),
            }
        })
    }

    fn name(&self) -> &'static str {
        self.step
    }
}
