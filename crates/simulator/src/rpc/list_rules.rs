//! `ListRepoSyncRule`.

use super::Asked;
use crate::answer::Reply;
use crate::sync_rule::Known;

pub(super) fn answer(asked: &Asked<'_>) -> Reply {
    let (instance_id, page) = match (asked.required("InstanceId"), asked.page()) {
        (Ok(instance_id), Ok(page)) => (instance_id, page),
        (Err(bad), _) | (_, Err(bad)) => return asked.bad(&bad),
    };
    let wanted = |name: &str| asked.call.parameter(name);
    let (namespace, repo) = (wanted("NamespaceName"), wanted("RepoName"));
    let (target, region) = (wanted("TargetInstanceId"), wanted("TargetRegionId"));
    let is = |wanted: &Option<String>, value: &Option<String>| wanted.is_none() || wanted == value;
    let is_wanted = |known: &&Known| {
        let new = &known.new;
        new.local.instance_id.as_ref() == Some(&instance_id)
            && is(&namespace, &new.local.namespace)
            && is(&repo, &new.local.repo)
            && is(&target, &new.target.instance_id)
            && is(&region, &new.target.region_id)
    };
    let rows: Vec<_> = {
        let state = asked.world.state();
        if !state.has_instance(&instance_id) {
            return asked.context.not_successful("INSTANCE_NOT_EXIST");
        }
        state
            .rules
            .iter()
            .filter(is_wanted)
            .map(Known::row)
            .collect()
    };
    asked.rows("SyncRules", page, &rows)
}
