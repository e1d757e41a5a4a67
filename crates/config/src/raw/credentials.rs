//! Who asks, as it is written.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{DURATION, Empty, Text};
use crate::secret::RawSecret;

/// Exactly one kind, and `assume_role` on top of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    /// The vendor's chain: the environment; OIDC, which is RRSA; the command line's profile; the
    /// credentials file; the machine's RAM role; a credentials URI. As without `credentials`.
    pub(crate) default: Option<Empty>,
    /// An access key.
    #[schemars(with = "Option<AccessKey>")]
    pub(crate) access_key: Option<Spanned<AccessKey>>,
    /// A profile of the vendor's command line.
    #[schemars(with = "Option<Profile>")]
    pub(crate) profile: Option<Spanned<Profile>>,
    /// The token in a file becomes the credentials of a role.
    #[schemars(with = "Option<Oidc>")]
    pub(crate) oidc: Option<Spanned<Oidc>>,
    /// The RAM role of the virtual machine.
    #[schemars(with = "Option<EcsRole>")]
    pub(crate) ecs_role: Option<Spanned<EcsRole>>,
    /// A local service that answers with credentials.
    #[schemars(with = "Option<CredentialsUri>")]
    pub(crate) uri: Option<Spanned<CredentialsUri>>,
    /// The credentials above become those of this role.
    #[schemars(with = "Option<AssumeRole>")]
    pub(crate) assume_role: Option<Spanned<AssumeRole>>,
}

/// An access key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccessKey {
    /// `LTAI…`; not secret, so that a text is as good.
    #[schemars(with = "RawSecret")]
    pub(crate) id: Option<Spanned<RawSecret>>,
    /// Signs.
    #[schemars(with = "RawSecret")]
    pub(crate) secret: Option<Spanned<RawSecret>>,
    /// Of a temporary key; read once, at the start.
    #[schemars(with = "Option<RawSecret>")]
    pub(crate) security_token: Option<Spanned<RawSecret>>,
}

/// A profile of the vendor's command line.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// Its name in the file.
    #[schemars(with = "String")]
    pub(crate) name: Text,
    /// Default `ALIBABA_CLOUD_CONFIG_FILE`, else `~/.aliyun/config.json`.
    #[schemars(with = "Option<String>")]
    pub(crate) file: Text,
}

/// On Kubernetes this is RRSA, which the default finds by itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Oidc {
    /// `acs:ram::{account}:role/{name}`
    #[schemars(with = "String")]
    pub(crate) role_arn: Text,
    /// `acs:ram::{account}:oidc-provider/{name}`
    #[schemars(with = "String")]
    pub(crate) provider_arn: Text,
    /// Read again at each refresh.
    #[schemars(with = "String")]
    pub(crate) token_file: Text,
    /// Stands in the vendor's audit log. Default `syncbell`.
    #[schemars(with = "Option<String>")]
    pub(crate) session_name: Text,
}

/// The RAM role of the virtual machine.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EcsRole {
    /// Default: the metadata service is asked.
    #[schemars(with = "Option<String>")]
    pub(crate) name: Text,
}

/// A local service that answers with credentials.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CredentialsUri {
    /// http or https.
    #[schemars(with = "RawSecret")]
    pub(crate) url: Option<Spanned<RawSecret>>,
}

/// A role.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssumeRole {
    /// `acs:ram::{account}:role/{name}`
    #[schemars(with = "String")]
    pub(crate) arn: Text,
    /// Stands in the vendor's audit log. Default `syncbell`.
    #[schemars(with = "Option<String>")]
    pub(crate) session_name: Text,
    /// What the owner of a role in another account asks for.
    #[schemars(with = "Option<String>")]
    pub(crate) external_id: Text,
    /// A RAM policy, JSON, that takes rights away.
    #[schemars(with = "Option<String>")]
    pub(crate) policy: Text,
    /// How long the role's credentials live; at least `15m`, at most what the role allows. Default `1h`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) duration: Text,
}
