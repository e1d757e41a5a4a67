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
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::ListRepoSyncTask,
        Self::GetRepoSyncTask,
        Self::ListInstance,
        Self::ListRepoSyncRule,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ListRepoSyncTask => "ListRepoSyncTask",
            Self::GetRepoSyncTask => "GetRepoSyncTask",
            Self::ListInstance => "ListInstance",
            Self::ListRepoSyncRule => "ListRepoSyncRule",
        }
    }

    /// The operation with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }

    /// What a policy must allow, as `AccessDeniedDetail` names it. Documented for all but rules, whose is
    /// assumed.
    pub(crate) fn permission(self) -> &'static str {
        match self {
            Self::ListRepoSyncTask | Self::GetRepoSyncTask => "cr:GetRepositorySync",
            Self::ListInstance => "cr:ListInstance",
            Self::ListRepoSyncRule => "cr:ListRepositorySync",
        }
    }
}
