//! Who asks: one for each instance, compared to find those that are the same.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::Secret;

/// Where credentials come from. Two that are equal are one account: they share its budget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The kind.
    pub from: CredentialsFrom,
    /// They become those of this role.
    pub assume_role: Option<AssumeRole>,
}

/// A kind of credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum CredentialsFrom {
    /// The vendor's default chain, in the surroundings of the process.
    #[default]
    Default,
    /// A key that the configuration gives.
    AccessKey(AccessKey),
    /// A profile of the vendor's command line.
    Profile {
        /// Its name.
        name: String,
        /// None: where the vendor's command line has it.
        file: Option<PathBuf>,
    },
    /// A token in a file.
    Oidc(Oidc),
    /// The RAM role of the machine; none: the metadata service names it.
    EcsRole(Option<String>),
    /// A local service that answers with credentials; http or https. Such a URL may hold a token.
    Uri(Secret<Url>),
}

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccessKey {
    /// Not secret: the vendor's logs name it.
    pub id: String,
    /// Signs.
    pub secret: Secret<String>,
    /// Of a temporary key.
    pub security_token: Option<Secret<String>>,
}

/// A token in a file, which becomes the credentials of a role.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Oidc {
    /// `acs:ram::{account}:role/{name}`
    pub role_arn: String,
    /// `acs:ram::{account}:oidc-provider/{name}`
    pub provider_arn: String,
    /// Read at each refresh.
    pub token_file: PathBuf,
    /// Stands in the vendor's audit log; none: the default.
    pub session_name: Option<String>,
}

/// A role, and what its session is to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AssumeRole {
    /// `acs:ram::{account}:role/{name}`
    pub arn: String,
    /// Stands in the vendor's audit log; none: the default.
    pub session_name: Option<String>,
    /// What the owner of a role in another account asks for.
    pub external_id: Option<String>,
    /// A RAM policy, JSON, that takes rights away.
    pub policy: Option<String>,
    /// Whole seconds, at least 15 minutes; none: the default.
    pub duration: Option<Duration>,
}

/// Which of the vendor's networks an instance is asked on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Network {
    /// The internet.
    #[default]
    Public,
    /// The vendor's own, from inside of a VPC.
    Vpc,
}

/// How requests leave this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct WayOut {
    /// http or https; a user and password may be in it.
    pub proxy: Option<Secret<Url>>,
    /// Certificates to trust beside the system's.
    pub ca: Option<Authorities>,
}

/// A file of certificates, as it was at the start.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Authorities {
    /// Where they were read.
    pub file: PathBuf,
    /// PEM.
    pub pem: Arc<str>,
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authorities").field(&self.file).finish()
    }
}

impl Credentials {
    /// What people can tell them by, without secrets, of the characters of a name; none of the default.
    pub(crate) fn name(&self) -> Option<String> {
        let name = match (&self.assume_role, &self.from) {
            (Some(role), _) => role.arn.trim_start_matches("acs:ram::").to_owned(),
            (None, CredentialsFrom::Default) => return None,
            (None, CredentialsFrom::AccessKey(key)) => {
                // As the vendor's console shows it.
                let end = key.id.chars().rev().take(4).collect::<Vec<char>>();
                format!("key-{}", end.iter().rev().collect::<String>())
            }
            (None, CredentialsFrom::Profile { name, .. }) => name.clone(),
            (None, CredentialsFrom::Oidc(oidc)) => {
                oidc.role_arn.trim_start_matches("acs:ram::").to_owned()
            }
            (None, CredentialsFrom::EcsRole(name)) => {
                name.clone().unwrap_or_else(|| "ecs-role".to_owned())
            }
            (None, CredentialsFrom::Uri(_)) => "uri".to_owned(),
        };
        let fits = |c: char| if c.is_alphanumeric() { c } else { '-' };
        Some(name.chars().map(fits).collect())
    }
}
