//! STS, version 2015-04-01: `AssumeRole`, signed by whoever wants the role, and `AssumeRoleWithOIDC`,
//! which an OIDC token speaks for.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{credentials, text};
use crate::action::Action;
use crate::answer::Reply;
use crate::rpc::{Asked, Bad};

/// The vendor's default and its bounds; the upper one is assumed.
const DEFAULT_S: u64 = 3600;
const BOUNDS_S: std::ops::RangeInclusive<u64> = 900..=43_200;

/// Why a call is refused: status, code, message. Codes other than of missing parameters are assumed.
type Refusal = (u16, &'static str, &'static str);

const NO_ROLE: Refusal = (
    404,
    "EntityNotExist.Role",
    "The specified Role does not exist.",
);
const NOT_TRUSTED: Refusal = (
    403,
    "NoPermission",
    "You are not authorized to do this action. You should be authorized by RAM.",
);
const NO_PROVIDER: Refusal = (
    404,
    "EntityNotExist.OIDCProvider",
    "The specified OIDCProvider does not exist.",
);
const BAD_TOKEN: Refusal = (
    400,
    "AuthenticationFail.OIDCToken.Invalid",
    "This OIDC token is invalid.",
);

/// What both calls have.
struct Role {
    arn: String,
    session: String,
    life: Duration,
}

pub(crate) fn assume_role(asked: &Asked<'_>) -> Reply {
    let role = match role(asked) {
        Ok(role) => role,
        Err(bad) => return asked.bad(&bad),
    };
    let external_id = asked.world.identity().external_id;
    if external_id.is_some() && asked.call.parameter("ExternalId") != external_id {
        return refused(asked, NOT_TRUSTED);
    }
    give(asked, Action::AssumeRole, &role, Map::new())
}

pub(crate) fn assume_role_with_oidc(asked: &Asked<'_>) -> Reply {
    let needed = || {
        Ok((
            asked.required("OIDCProviderArn")?,
            asked.required("OIDCToken")?,
        ))
    };
    let (role, (provider, token)) = match (role(asked), needed()) {
        (Ok(role), Ok(needed)) => (role, needed),
        (Err(bad), _) | (_, Err(bad)) => return asked.bad(&bad),
    };
    let identity = asked.world.identity();
    let is_provider = is_arn(&provider, "oidc-provider");
    if !is_provider || !is_in(&identity.oidc_providers, &provider) {
        return refused(asked, NO_PROVIDER);
    }
    let is_jwt = token.split('.').count() == 3 && token.split('.').all(|part| !part.is_empty());
    let is_token = if identity.oidc_tokens.is_empty() {
        is_jwt
    } else {
        identity.oidc_tokens.contains(&token)
    };
    if !is_token {
        return refused(asked, BAD_TOKEN);
    }
    let mut more = Map::new();
    more.insert(
        "OIDCTokenInfo".to_owned(),
        json!({"Issuer": "https://simulator", "Subject": "simulator", "ClientIds": "sts.aliyuncs.com"}),
    );
    give(asked, Action::AssumeRoleWithOidc, &role, more)
}

fn role(asked: &Asked<'_>) -> Result<Role, Bad> {
    let arn = asked.required("RoleArn")?;
    let session = asked.required("RoleSessionName")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.@=".contains(c);
    if !(2..=64).contains(&session.len()) || !session.chars().all(fits) {
        return Err(Bad::Invalid("RoleSessionName"));
    }
    let seconds = match asked.call.parameter("DurationSeconds") {
        None => DEFAULT_S,
        Some(text) => text
            .parse()
            .ok()
            .filter(|seconds| BOUNDS_S.contains(seconds))
            .ok_or(Bad::Invalid("DurationSeconds"))?,
    };
    Ok(Role {
        arn,
        session,
        life: Duration::from_secs(seconds),
    })
}

fn give(asked: &Asked<'_>, by: Action, role: &Role, mut more: Map<String, Value>) -> Reply {
    let Role { arn, session, life } = role;
    if !is_arn(arn, "role") || !is_in(&asked.world.identity().roles, arn) {
        return refused(asked, NO_ROLE);
    }
    let (now, arn) = (asked.server_now, arn.clone());
    let name = arn.rsplit('/').next().unwrap_or_default();
    let user = json!({
        "Arn": format!("{}/{session}", arn.replace(":role/", ":assumed-role/")),
        "AssumedRoleId": format!("{}:{session}", text(8)),
    });
    tracing::debug!(role = name, session, "gave credentials");
    let issued = asked
        .world
        .change(|state| state.issuer.issue(by, arn.clone(), *life, now));
    more.insert("RequestId".to_owned(), json!(asked.context.request_id));
    more.insert("AssumedRoleUser".to_owned(), user);
    more.insert("Credentials".to_owned(), credentials(&issued));
    Reply::json(StatusCode::OK, &Value::Object(more))
}

fn refused(asked: &Asked<'_>, (status, code, message): Refusal) -> Reply {
    asked.context.error(status, code, message)
}

/// `acs:ram::{account}:{what}/{name}`
fn is_arn(arn: &str, what: &str) -> bool {
    let resource = arn
        .strip_prefix("acs:ram::")
        .and_then(|rest| rest.split_once(':'));
    resource.is_some_and(|(account, resource)| {
        let name = resource.strip_prefix(what);
        let name = name.and_then(|name| name.strip_prefix('/'));
        !account.is_empty() && name.is_some_and(|name| !name.is_empty())
    })
}

fn is_in(known: &[String], one: &str) -> bool {
    known.is_empty() || known.iter().any(|known| known == one)
}
