//! The operations that the simulated service has.

use serde::{Deserialize, Serialize};

/// An operation, by the vendor's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// A page of an instance's tasks.
    ListRepoSyncTask,
    /// One task, and how far it came.
    GetRepoSyncTask,
    /// A page of the account's instances.
    ListInstance,
    /// A page of an instance's rules.
    ListRepoSyncRule,
    /// STS: a role for whoever signs.
    AssumeRole,
    /// STS: a role for an OIDC token.
    #[serde(rename = "AssumeRoleWithOIDC")]
    AssumeRoleWithOidc,
    /// The metadata service of a virtual machine; the name is the simulator's.
    EcsMetadata,
    /// A credentials URI; the name is the simulator's.
    CredentialsUri,
}

impl Action {
    /// Those of the registry, which are all signed.
    pub const REGISTRY: [Self; 4] = [
        Self::ListRepoSyncTask,
        Self::GetRepoSyncTask,
        Self::ListInstance,
        Self::ListRepoSyncRule,
    ];

    /// Those of STS.
    pub const STS: [Self; 2] = [Self::AssumeRole, Self::AssumeRoleWithOidc];

    /// The word on the wire, if it is one there.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ListRepoSyncTask => "ListRepoSyncTask",
            Self::GetRepoSyncTask => "GetRepoSyncTask",
            Self::ListInstance => "ListInstance",
            Self::ListRepoSyncRule => "ListRepoSyncRule",
            Self::AssumeRole => "AssumeRole",
            Self::AssumeRoleWithOidc => "AssumeRoleWithOIDC",
            Self::EcsMetadata => "EcsMetadata",
            Self::CredentialsUri => "CredentialsUri",
        }
    }

    /// The operation with this name on the wire.
    pub fn named(name: &str) -> Option<Self> {
        let mut operations = Self::REGISTRY.into_iter().chain(Self::STS);
        operations.find(|action| action.as_str() == name)
    }

    /// What a policy must allow, as `AccessDeniedDetail` names it. Documented for all but rules, whose is
    /// assumed.
    pub(crate) fn permission(self) -> &'static str {
        match self {
            Self::ListRepoSyncTask | Self::GetRepoSyncTask => "cr:GetRepositorySync",
            Self::ListInstance => "cr:ListInstance",
            Self::ListRepoSyncRule => "cr:ListRepositorySync",
            Self::AssumeRole => "sts:AssumeRole",
            // Nobody needs a permission for these.
            Self::AssumeRoleWithOidc | Self::EcsMetadata | Self::CredentialsUri => "",
        }
    }
}
