//! What answers a machine without a signature: the metadata service of a virtual machine, v2 with its
//! token and v1 without, and a credentials URI.

use std::collections::VecDeque;
use std::time::Duration;

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Issued, MACHINE_LIFE, credentials, seconds, text};
use crate::World;
use crate::action::Action;
use crate::answer::{Context, Reply};
use crate::task::skewed;
use crate::verify::{Call, Key};

const TOKEN: &str = "/latest/api/token";
const ROLES: &str = "/latest/meta-data/ram/security-credentials/";
const URI: &str = "/credentials";
const TOKEN_HEADER: &str = "x-aliyun-ecs-metadata-token";
const LIFE_HEADER: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";
const LIVES_S: std::ops::RangeInclusive<i64> = 1..=21_600;

/// Tokens that are remembered.
const MAX_TOKENS: usize = 1_000;

/// What the metadata service keeps.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// Oldest first, each with its end.
    tokens: VecDeque<(String, Timestamp)>,
    /// It gives the same credentials again until half of their life is over.
    held: Option<(Issued, Key, Timestamp)>,
}

impl Machine {
    /// The next that asks gets others.
    pub(super) fn renew(&mut self) {
        self.held = None;
    }

    fn takes(&self, token: &str, now: Timestamp) -> bool {
        let mut tokens = self.tokens.iter();
        tokens.any(|(known, until)| known == token && *until > now)
    }
}

/// Who is meant, by the path alone.
pub(crate) fn place(path: &str) -> Option<Action> {
    if path == URI {
        Some(Action::CredentialsUri)
    } else if path.starts_with("/latest/") {
        Some(Action::EcsMetadata)
    } else {
        None
    }
}

pub(crate) fn answer(
    world: &World,
    call: &Call,
    action: Action,
    context: &Context,
    now: Timestamp,
) -> Reply {
    let (method, path) = (call.method.as_str(), call.path.as_str());
    if action == Action::CredentialsUri {
        return if method == "GET" {
            of_role(world, Action::CredentialsUri, "credentials-uri", now)
        } else {
            context.error(405, "MethodNotAllowed", "Only GET.")
        };
    }
    match (method, path) {
        ("PUT", TOKEN) => token(world, call, now),
        ("GET", path) => {
            if let Some(refused) = refused(world, call, now) {
                return refused;
            }
            let Some(role) = world.identity().ecs_role else {
                return plain(StatusCode::NOT_FOUND, "");
            };
            match path.strip_prefix(ROLES) {
                Some("") => plain(StatusCode::OK, &role),
                Some(name) if name == role => of_role(world, Action::EcsMetadata, &role, now),
                _ => plain(StatusCode::NOT_FOUND, ""),
            }
        }
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, ""),
    }
}

/// 403 without a token where v1 is switched off, 401 with one that is over or unknown: both assumed.
fn refused(world: &World, call: &Call, now: Timestamp) -> Option<Reply> {
    let state = world.state();
    let status = match call.header(TOKEN_HEADER) {
        None if state.issuer.identity.metadata_v1 => return None,
        None => StatusCode::FORBIDDEN,
        Some(token) if state.issuer.machine.takes(token, now) => return None,
        Some(_) => StatusCode::UNAUTHORIZED,
    };
    Some(plain(status, ""))
}

fn token(world: &World, call: &Call, now: Timestamp) -> Reply {
    let life = call.header(LIFE_HEADER).and_then(|text| text.parse().ok());
    let Some(life) = life.filter(|life| LIVES_S.contains(life)) else {
        return plain(StatusCode::BAD_REQUEST, "");
    };
    let token = text(28);
    world.change(|state| {
        let tokens = &mut state.issuer.machine.tokens;
        if tokens.len() >= MAX_TOKENS {
            tokens.pop_front();
        }
        tokens.push_back((token.clone(), skewed(now, SignedDuration::from_secs(life))));
    });
    plain(StatusCode::OK, &token)
}

fn of_role(world: &World, by: Action, role: &str, now: Timestamp) -> Reply {
    let issued = world.change(|state| {
        let issuer = &mut state.issuer;
        let is_machine = by == Action::EcsMetadata;
        if is_machine
            && let Some((issued, key, until)) = &issuer.machine.held
            && *until > now
            && issued.role == role
        {
            return (issued.clone(), key.clone());
        }
        let life = issuer.identity.life_s;
        let life = life.map_or(MACHINE_LIFE, Duration::from_secs);
        let both = issuer.issue(by, role.to_owned(), life, now);
        if is_machine {
            let half = SignedDuration::try_from(life / 2).unwrap_or_default();
            issuer.machine.held = Some((both.0.clone(), both.1.clone(), skewed(now, half)));
        }
        both
    });
    let mut body = credentials(&issued);
    body["Code"] = json!("Success");
    body["LastUpdated"] = json!(seconds(now));
    Reply::json(StatusCode::OK, &body)
}

fn plain(status: StatusCode, body: &str) -> Reply {
    Reply::text(status, body)
}
