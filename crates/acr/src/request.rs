//! `ListRepoSyncTask` with every parameter of the vendor's page. There is no filter on status or time.

/// One page of the synchronization tasks of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRepoSyncTask {
    /// Required.
    pub instance_id: String,
    /// Only this namespace.
    pub repo_namespace_name: Option<String>,
    /// Only this repository.
    pub repo_name: Option<String>,
    /// Only this image tag.
    pub tag: Option<String>,
    /// From 1.
    pub page_no: Option<u32>,
    /// Rows a page; ask for at most 100.
    pub page_size: Option<u32>,
    /// Only this batch: the answer's `SyncBatchTaskId`.
    pub sync_record_id: Option<String>,
}

impl ListRepoSyncTask {
    /// The parameters by their names on the wire; absent ones are left out.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let numbers = |number: Option<u32>| number.map(|number| number.to_string());
        let optional = [
            ("RepoNamespaceName", self.repo_namespace_name.clone()),
            ("RepoName", self.repo_name.clone()),
            ("Tag", self.tag.clone()),
            ("PageNo", numbers(self.page_no)),
            ("PageSize", numbers(self.page_size)),
            ("SyncRecordId", self.sync_record_id.clone()),
        ];
        let mut query = vec![("InstanceId", self.instance_id.clone())];
        query.extend(
            optional
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?))),
        );
        query
    }
}
