//! Who asks: the accounts of the configuration, each with one provider of credentials for all of its
//! instances.
//!
//! In: an instance. Out: its account's key and credentials. Must never happen: two providers that ask
//! for the same thing, one account's credentials for another's instance, a secret in a key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use syncbell_acr::{CredentialsProvider, Role, Static, Surroundings, sts_endpoint};
use syncbell_config::{AssumeRole, Credentials, CredentialsFrom, Instance, Network, WayOut};

use crate::Error;

/// An account, as far as the configuration tells: equal credentials are one. Holds no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AccountKey(u32);

impl AccountKey {
    /// Its number, from 1 in the order of the configuration: for people.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    #[cfg(test)]
    pub(crate) fn of(number: u32) -> Self {
        Self(number)
    }
}

/// Who asks about an instance.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) key: AccountKey,
    pub(crate) credentials: Arc<dyn CredentialsProvider>,
}

/// All accounts.
pub(crate) struct Accounts {
    /// What `default` means.
    default: Arc<dyn CredentialsProvider>,
    surroundings: Surroundings,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: HashMap<Credentials, AccountKey>,
    providers: HashMap<Asking, Arc<dyn CredentialsProvider>>,
}

/// What a provider depends on: the same credentials over two proxies are one account and two providers.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Asking {
    credentials: Credentials,
    way_out: WayOut,
    /// The region whose STS is asked from inside of a VPC.
    vpc: Option<String>,
}

impl Accounts {
    pub(crate) fn new(default: Arc<dyn CredentialsProvider>, surroundings: Surroundings) -> Self {
        Self {
            default,
            surroundings,
            known: Mutex::default(),
        }
    }

    /// Prepares its provider if there is none yet; asks nothing.
    pub(crate) fn of(&self, instance: &Instance) -> Result<Account, Error> {
        let asking = Asking {
            credentials: instance.credentials.clone(),
            way_out: instance.way_out.clone(),
            vpc: (instance.network == Network::Vpc).then(|| instance.region.clone()),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let next = u32::try_from(known.keys.len() + 1).unwrap_or(u32::MAX);
        let key = *known
            .keys
            .entry(instance.credentials.clone())
            .or_insert(AccountKey(next));
        if let Some(credentials) = known.providers.get(&asking) {
            let credentials = Arc::clone(credentials);
            return Ok(Account { key, credentials });
        }
        let credentials = self.provider(&asking).map_err(|source| Error::Client {
            instance: instance.id.clone(),
            source,
        })?;
        known.providers.insert(asking, Arc::clone(&credentials));
        Ok(Account { key, credentials })
    }

    fn provider(
        &self,
        asking: &Asking,
    ) -> Result<Arc<dyn CredentialsProvider>, syncbell_acr::Error> {
        let around = self.surroundings(&asking.way_out);
        // An STS that is named stands above the rule.
        let in_vpc = asking.vpc.as_ref().filter(|_| around.sts.is_none());
        let sts = in_vpc.and_then(|region| sts_endpoint(Some(region), true));
        let base = match &asking.credentials.from {
            CredentialsFrom::Default => Arc::clone(&self.default),
            CredentialsFrom::AccessKey(key) => Arc::new(Static(syncbell_acr::Credentials {
                access_key_id: key.id.clone(),
                secret: key.secret.expose().clone().into(),
                security_token: key
                    .security_token
                    .as_ref()
                    .map(|token| token.expose().clone().into()),
            })),
            CredentialsFrom::Profile { name, file } => {
                around.profile(file.clone(), Some(name.clone()))?
            }
            CredentialsFrom::Oidc(oidc) => {
                let mut role = Role::new(oidc.role_arn.clone());
                if let Some(name) = &oidc.session_name {
                    role.session_name.clone_from(name);
                }
                let (provider, token) = (oidc.provider_arn.clone(), oidc.token_file.clone());
                around.oidc(role, provider, token, sts.clone())?
            }
            CredentialsFrom::EcsRole(name) => around.ecs_role(name.clone())?,
            CredentialsFrom::Uri(url) => {
                // It is near: a proxy would not reach it.
                let mut near = around.clone();
                near.proxy.clone_from(&self.surroundings.proxy);
                near.credentials_uri(url.expose().clone())?
            }
        };
        match &asking.credentials.assume_role {
            Some(assumed) => around.assume_role(base, role(assumed), sts),
            None => Ok(base),
        }
    }

    fn surroundings(&self, way_out: &WayOut) -> Surroundings {
        let mut around = self.surroundings.clone();
        if let Some(proxy) = &way_out.proxy {
            around.proxy = Some(proxy.expose().clone());
        }
        if let Some(ca) = &way_out.ca {
            around.ca_pem = Some(ca.pem.as_bytes().to_vec());
        }
        around
    }
}

fn role(assumed: &AssumeRole) -> Role {
    let mut role = Role::new(assumed.arn.clone());
    if let Some(name) = &assumed.session_name {
        role.session_name.clone_from(name);
    }
    if let Some(duration) = assumed.duration {
        role.duration_seconds = u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    }
    role.policy.clone_from(&assumed.policy);
    role.external_id.clone_from(&assumed.external_id);
    role
}

#[cfg(test)]
mod tests {
    use syncbell_config::{AccessKey, Secret};

    use super::*;

    fn instance(region: &str, credentials: Credentials) -> Instance {
        let mut instance = Instance::try_new("cri-a", region).unwrap();
        instance.credentials = credentials;
        instance
    }

    fn key(secret: &str) -> Credentials {
        Credentials {
            from: CredentialsFrom::AccessKey(AccessKey {
                id: "LTAI".to_owned(),
                secret: Secret::new(secret.to_owned()),
                security_token: None,
            }),
            assume_role: None,
        }
    }

    fn assumed(base: Credentials) -> Credentials {
        let assume_role = Some(AssumeRole {
            arn: "acs:ram::12:role/a".to_owned(),
            session_name: None,
            external_id: None,
            policy: None,
            duration: None,
        });
        Credentials {
            assume_role,
            ..base
        }
    }

    fn accounts() -> Accounts {
        let nothing = Surroundings::new(|_| None);
        Accounts::new(nothing.default_chain(), nothing)
    }

    #[tokio::test]
    async fn equal_credentials_are_one_account_with_one_provider() {
        let accounts = accounts();
        let of = |region: &str, credentials| accounts.of(&instance(region, credentials)).unwrap();
        let default = of("cn-a", Credentials::default());
        let first = of("cn-a", key("sesame-1"));
        let same = of("cn-b", key("sesame-1"));
        let other = of("cn-a", key("sesame-2"));
        let role = of("cn-a", assumed(key("sesame-1")));
        let numbers = [&default, &first, &same, &other, &role].map(|one| one.key.number());
        assert_eq!(numbers, [1, 2, 2, 3, 4]);
        assert!(Arc::ptr_eq(&first.credentials, &same.credentials));
        assert!(!Arc::ptr_eq(&first.credentials, &other.credentials));
        assert!(!format!("{:?}", other.key).contains("sesame"));
        let names = [&default, &first, &role].map(|one| one.credentials.name());
        assert_eq!(names, ["default chain", "static", "assume role"]);
        let held = first.credentials.credentials().await.unwrap();
        assert_eq!(held.access_key_id, "LTAI");
    }

    #[test]
    fn another_way_is_another_provider_of_the_same_account() {
        let accounts = accounts();
        let of = |instance: &Instance| accounts.of(instance).unwrap();
        let near = instance("cn-a", assumed(key("sesame")));
        let mut by_proxy = near.clone();
        by_proxy.way_out.proxy = Some(Secret::new("http://h:1".parse().unwrap()));
        let mut in_vpc = near.clone();
        in_vpc.network = Network::Vpc;
        let all = [of(&near), of(&by_proxy), of(&in_vpc)];
        assert!(all.iter().all(|one| one.key == all[0].key));
        assert!(!Arc::ptr_eq(&all[0].credentials, &all[1].credentials));
        assert!(!Arc::ptr_eq(&all[0].credentials, &all[2].credentials));
        assert!(Arc::ptr_eq(&of(&in_vpc).credentials, &all[2].credentials));
    }

    #[test]
    fn what_cannot_be_set_up_names_the_instance_and_no_secret() {
        let mut broken = instance("cn-a", assumed(key("sesame")));
        broken.way_out.ca = Some(syncbell_config::Authorities {
            file: "ca.pem".into(),
            pem: "-----BEGIN CERTIFICATE-----\nsesame\n-----END CERTIFICATE-----\n".into(),
        });
        let Err(error) = accounts().of(&broken) else {
            panic!("it was set up")
        };
        let said = error.to_string();
        assert!(said.contains("cri-a") && !said.contains("sesame"), "{said}");
    }
}
