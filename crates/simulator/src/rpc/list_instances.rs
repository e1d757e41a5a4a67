//! `ListInstance`.

use super::Asked;
use crate::answer::Reply;
use crate::instance::Known;

pub(super) fn answer(asked: &Asked<'_>) -> Reply {
    let page = match asked.page() {
        Ok(page) => page,
        Err(bad) => return asked.bad(&bad),
    };
    let wanted = |name: &str| asked.call.parameter(name);
    let (name, status) = (wanted("InstanceName"), wanted("InstanceStatus"));
    let group = wanted("ResourceGroupId");
    let is = |wanted: &Option<String>, value: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| value == Some(wanted))
    };
    let is_wanted = |known: &&Known| {
        let new = &known.new;
        is(&name, new.name.as_deref().or(Some(&new.id)))
            && is(&status, Some(&new.status))
            && is(&group, new.resource_group.as_deref())
            && is(&asked.service.region, Some(&new.region))
    };
    let rows: Vec<_> = {
        let state = asked.world.state();
        let instances = state.instances.iter();
        instances.filter(is_wanted).map(Known::row).collect()
    };
    asked.rows("Instances", page, &rows)
}
