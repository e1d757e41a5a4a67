//! The operations that are asked, and the permission that each needs.
//!
//! Source: "Authorization information" on each operation's page of the vendor's API reference
//! (ListRepoSyncTask and GetRepoSyncTask of 2025-12-16, ListRepoSyncRule and ListInstance of 2024-03-01).

/// An operation of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its name on the wire.
    pub name: &'static str,
    /// The RAM action that allows it.
    pub permission: &'static str,
    on: Resource,
}

/// What a RAM statement names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    /// `acs:cr:{region}:{account}:repository/{instance}`
    Repositories,
    /// `*`: the vendor grants it for all resources or not at all.
    All,
}

pub(crate) const LIST_REPO_SYNC_TASK: Operation = Operation {
    name: "ListRepoSyncTask",
    permission: "cr:GetRepositorySync",
    on: Resource::Repositories,
};

pub(crate) const GET_REPO_SYNC_TASK: Operation = Operation {
    name: "GetRepoSyncTask",
    permission: "cr:GetRepositorySync",
    on: Resource::Repositories,
};

pub(crate) const LIST_INSTANCE: Operation = Operation {
    name: "ListInstance",
    permission: "cr:ListInstance",
    on: Resource::All,
};

pub(crate) const LIST_REPO_SYNC_RULE: Operation = Operation {
    name: "ListRepoSyncRule",
    permission: "cr:ListSyncRule",
    on: Resource::Repositories,
};

impl Operation {
    /// All that this client asks.
    pub const ALL: [Self; 4] = [
        LIST_REPO_SYNC_TASK,
        GET_REPO_SYNC_TASK,
        LIST_INSTANCE,
        LIST_REPO_SYNC_RULE,
    ];

    /// `cr:GetRepositorySync on acs:cr:cn-shanghai:*:repository/cri-1`, with `*` for an account that is
    /// not known. `permission` is what the server says it wants, if it says so.
    pub(crate) fn statement(
        &self,
        permission: Option<&str>,
        region: &str,
        account: Option<&str>,
        instance_id: &str,
    ) -> String {
        let permission = permission.unwrap_or(self.permission);
        let account = account.unwrap_or("*");
        match self.on {
            Resource::Repositories => {
                format!("{permission} on acs:cr:{region}:{account}:repository/{instance_id}")
            }
            Resource::All => format!("{permission} on *"),
        }
    }
}
