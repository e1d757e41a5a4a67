//! One call of the API: who calls, what for, and the answer.
//!
//! In: a [`Call`] as it came and the faults it meets. Out: a [`Reply`]. The order of checks is the
//! gateway's: action, version, signature, nonce, then the operation's own parameters. STS is behind the same
//! gateway; what has a path of its own is not. Must never happen:
//! rows for a call whose signature is wrong.

mod parameters;
mod list_tasks;
mod get_task;
mod list_instances;
mod list_rules;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::World;
use crate::action::Action;
use crate::answer::{Context, Cut, Reply};
use crate::fault::{Caller, Fault, known_error};
use crate::identity::{self, Known};
use crate::verify::{Call, Key, Refusal, key_id, verify};

pub(crate) use self::parameters::Bad;

/// How this service answers, apart from its world.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) key: Key,
    pub(crate) total_as_number: bool,
    /// Whether `GetRepoSyncTask` tells all fields of a row.
    pub(crate) task_in_full: bool,
    /// If set, `ListInstance` tells the instances of this region only.
    pub(crate) region: Option<String>,
}

/// A call that was let in.
pub(crate) struct Asked<'a> {
    pub(crate) service: &'a Service,
    pub(crate) world: &'a World,
    pub(crate) call: &'a Call,
    pub(crate) faults: &'a [Fault],
    /// The clock that the signature was judged by and that the Date header shows.
    pub(crate) server_now: Timestamp,
    pub(crate) context: Context,
}

/// An operation: its name and version on the wire, and what answers it.
struct Operation {
    action: Action,
    version: &'static str,
    answer: fn(&Asked<'_>) -> Reply,
}

const VERSION: &str = "2018-12-01";

const STS_VERSION: &str = "2015-04-01";

const OPERATIONS: [Operation; 6] = [
    Operation {
        action: Action::ListRepoSyncTask,
        version: VERSION,
        answer: list_tasks::answer,
    },
    Operation {
        action: Action::GetRepoSyncTask,
        version: VERSION,
        answer: get_task::answer,
    },
    Operation {
        action: Action::ListInstance,
        version: VERSION,
        answer: list_instances::answer,
    },
    Operation {
        action: Action::ListRepoSyncRule,
        version: VERSION,
        answer: list_rules::answer,
    },
    Operation {
        action: Action::AssumeRole,
        version: STS_VERSION,
        answer: identity::assume_role,
    },
    Operation {
        action: Action::AssumeRoleWithOidc,
        version: STS_VERSION,
        answer: identity::assume_role_with_oidc,
    },
];

/// The operation that a call names, by its path or its parameters, if there is such a one.
pub(crate) fn action(call: &Call) -> Option<Action> {
    if let Some(place) = identity::place(&call.path) {
        return Some(place);
    }
    Action::named(call.common("x-acs-action", "Action")?.as_str())
}

/// Whom the faults of this call may depend on.
pub(crate) fn caller<'a>(call: &Call, instance_id: Option<&'a str>) -> Caller<'a> {
    Caller {
        action: action(call),
        instance_id,
    }
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
    let action = action(call);
    let instead = faults.iter().find_map(|fault| {
        let reply = context.fault(fault, call, server_now)?;
        Some((is_services_own(fault), reply))
    });
    let denied = match instead {
        Some((false, reply)) => return reply,
        Some((true, reply)) => Some(reply),
        None => None,
    };
    if let Some(place) = identity::place(&call.path) {
        let answer = || identity::near(world, call, place, &context, server_now);
        return denied.unwrap_or_else(answer);
    }
    let operation = OPERATIONS
        .iter()
        .find(|operation| call.path == "/" && Some(operation.action) == action);
    let Some(operation) = operation else {
        return context.error(
            404,
            "InvalidAction.NotFound",
            "Specified api is not found, please check your url and method.",
        );
    };
    if call.common("x-acs-version", "Version").as_deref() != Some(operation.version) {
        return context.error(
            400,
            "InvalidVersion",
            "Specified parameter Version is not valid.",
        );
    }
    if operation.action != Action::AssumeRoleWithOidc {
        let nonce = match signed(service, world, call, server_now) {
            Ok(nonce) => nonce,
            Err(refusal) => return context.refusal(&refusal),
        };
        if !world.change(|state| state.nonces.take(nonce, Instant::now())) {
            return context.nonce_used();
        }
    }
    if operation.version == VERSION {
        let now = Instant::now();
        let wait = world.change(|state| state.quota.as_mut()?.wait(operation.action, now));
        if let Some(wait) = wait {
            return context.beyond_quota(wait);
        }
    }
    if let Some(denied) = denied {
        return denied;
    }
    let mut reply = (operation.answer)(&Asked {
        service,
        world,
        call,
        faults,
        server_now,
        context,
    });
    if reply.status == 200 {
        reply.cut = cut(faults);
    }
    reply
}

/// Checks the signature by the service's own key, or by one that was given to the caller. Gives the nonce.
fn signed(
    service: &Service,
    world: &World,
    call: &Call,
    server_now: Timestamp,
) -> Result<String, Refusal> {
    let known = key_id(call).map_or(Known::Unknown, |id| {
        world.state().issuer.known(&id, server_now)
    });
    match known {
        Known::Valid(key) => verify(call, &key, server_now),
        Known::Expired => Err(Refusal::Expired),
        Known::Unknown => verify(call, &service.key, server_now),
    }
}

/// What a gateway does happens before it knows who calls; the service's own words come after.
fn is_services_own(fault: &Fault) -> bool {
    match fault {
        Fault::NoPrivilege | Fault::LowerCamelError | Fault::NotSuccessful { .. } => true,
        Fault::Error(error) => {
            let known = known_error(&error.code).map(|known| known.status);
            error.status.or(known) == Some(403) || error.code.ends_with("_NOT_EXIST")
        }
        _ => false,
    }
}

fn cut(faults: &[Fault]) -> Option<Cut> {
    faults.iter().find_map(|fault| {
        if let Fault::Truncated { honest } = fault {
            Some(Cut { honest: *honest })
        } else {
            None
        }
    })
}

/// What is left of a time in a Date header.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_millisecond().div_euclid(1000)).unwrap_or(time)
}
