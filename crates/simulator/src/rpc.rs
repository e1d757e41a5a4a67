//! One call of the API: who calls, what for, and the answer.
//!
//! In: a [`Call`] as it came and the faults it meets. Out: a [`Reply`]. The order of checks is the
//! gateway's: action, signature, nonce, parameters. Must never happen: rows for a call whose
//! signature is wrong.

use jiff::Timestamp;
use tokio::time::Instant;

use crate::World;
use crate::answer::{Context, Cut, Reply};
use crate::fault::Fault;
use crate::ledger::Served;
use crate::list::{Ask, list};
use crate::task::Filters;
use crate::verify::{Call, Key, verify};

const ACTION: &str = "ListRepoSyncTask";
const VERSION: &str = "2018-12-01";
const DEFAULT_PAGE_SIZE: usize = 30;

/// How this service answers, apart from its world.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) key: Key,
    pub(crate) total_as_number: bool,
}

/// `server_now` is the clock that the signature is judged by and that the Date header shows.
pub(crate) fn reply(
    service: &Service,
    world: &World,
    call: &Call,
    faults: &[Fault],
    server_now: Timestamp,
) -> Reply {
    let context = Context::new(call.header("host"));
    let instead = faults.iter().find_map(|fault| {
        // What a gateway does happens before it knows who calls; the service's own words after.
        let is_services_own = matches!(
            fault,
            Fault::NoPrivilege | Fault::LowerCamelError | Fault::NotSuccessful { .. }
        );
        context.fault(fault).map(|reply| (is_services_own, reply))
    });
    let denied = match instead {
        Some((false, reply)) => return reply,
        Some((true, reply)) => Some(reply),
        None => None,
    };
    if call.path != "/" || call.common("x-acs-action", "Action").as_deref() != Some(ACTION) {
        return context.error(
            404,
            "InvalidAction.NotFound",
            "Specified api is not found, please check your url and method.",
        );
    }
    if call.common("x-acs-version", "Version").as_deref() != Some(VERSION) {
        return context.error(
            400,
            "InvalidVersion",
            "Specified parameter Version is not valid.",
        );
    }
    let nonce = match verify(call, &service.key, server_now) {
        Ok(nonce) => nonce,
        Err(refusal) => return context.refusal(&refusal),
    };
    if !world.change(|state| state.nonces.take(nonce, Instant::now())) {
        return context.nonce_used();
    }
    if let Some(denied) = denied {
        return denied;
    }
    match ask(call) {
        Ok(ask) => page(service, world, &context, &ask, faults, server_now),
        Err(Bad::NoInstance) => context.error(
            400,
            "MissingInstanceId",
            "InstanceId is mandatory for this action.",
        ),
        Err(Bad::Parameter(name)) => context.error(
            400,
            "InvalidParameter",
            &format!("The specified parameter {name} is not valid."),
        ),
    }
}

fn page(
    service: &Service,
    world: &World,
    context: &Context,
    ask: &Ask,
    faults: &[Fault],
    server_now: Timestamp,
) -> Reply {
    let Some(mut listing) = world.change(|state| list(state, ask, faults, server_now)) else {
        return context.not_successful("INSTANCE_NOT_EXIST");
    };
    let rows = std::mem::take(&mut listing.shown);
    let unknown = faults.contains(&Fault::UnknownValues);
    let mut reply = context.page(&listing, service.total_as_number, unknown);
    reply.cut = faults.iter().find_map(|fault| {
        if let Fault::Truncated { honest } = fault {
            Some(Cut { honest: *honest })
        } else {
            None
        }
    });
    reply.served = Some(Served {
        instance_id: ask.instance_id.clone(),
        date: whole_seconds(server_now),
        rows,
    });
    reply
}

enum Bad {
    NoInstance,
    Parameter(&'static str),
}

fn ask(call: &Call) -> Result<Ask, Bad> {
    fn number(call: &Call, name: &'static str, default: u64) -> Result<u64, Bad> {
        match call.parameter(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .ok()
                .filter(|&number| number > 0)
                .ok_or(Bad::Parameter(name)),
        }
    }
    Ok(Ask {
        instance_id: call.parameter("InstanceId").ok_or(Bad::NoInstance)?,
        filters: Filters {
            namespace: call.parameter("RepoNamespaceName"),
            repo: call.parameter("RepoName"),
            tag: call.parameter("Tag"),
            batch_id: call.parameter("SyncRecordId"),
        },
        page_no: number(call, "PageNo", 1)?,
        page_size: usize::try_from(number(call, "PageSize", DEFAULT_PAGE_SIZE as u64)?)
            .unwrap_or(usize::MAX),
    })
}

/// What is left of a time in a Date header.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_millisecond().div_euclid(1000)).unwrap_or(time)
}
