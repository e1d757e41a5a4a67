//! The cloud's identity side: whom it believes, and the short-lived credentials that it gives.
//!
//! In: calls of STS, of the metadata service of a virtual machine, and of a credentials URI. Out:
//! credentials that every operation then takes until they end. Must never happen: credentials for a wrong
//! signature, token or role; memory that grows with their number.

mod sts;
mod metadata;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) use self::metadata::{answer as near, place};
pub(crate) use self::sts::{assume_role, assume_role_with_oidc};
use crate::World;
use crate::action::Action;
use crate::task::skewed;
use crate::verify::Key;

/// Credentials that are remembered; the oldest are forgotten beyond that.
const MAX_ISSUED: usize = 10_000;

/// How long those of a machine's role live unless it is said otherwise: as on the vendor's machines.
const MACHINE_LIFE: Duration = Duration::from_hours(6);

/// Whom the simulated cloud believes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// How many seconds credentials live; absent: STS as the caller asks, a machine's role six hours.
    pub life_s: Option<u64>,
    /// ARNs of the roles that can be assumed; none: any.
    pub roles: Vec<String>,
    /// What `AssumeRole` must bring as `ExternalId`.
    pub external_id: Option<String>,
    /// ARNs of the providers whose OIDC tokens are taken; none: any.
    pub oidc_providers: Vec<String>,
    /// The OIDC tokens that are taken; none: any text of three parts, as a JWT has.
    pub oidc_tokens: Vec<String>,
    /// The machine's role; absent: it has none.
    pub ecs_role: Option<String>,
    /// The metadata service answers also without its token.
    pub metadata_v1: bool,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            life_s: None,
            roles: Vec::new(),
            external_id: None,
            oidc_providers: Vec::new(),
            oidc_tokens: Vec::new(),
            ecs_role: Some("simulatorRole".to_owned()),
            metadata_v1: true,
        }
    }
}

/// Credentials that were given, without what is secret in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Issued {
    /// Their id.
    pub access_key_id: String,
    /// By which way.
    pub by: Action,
    /// Whose they are: a role's ARN, of a machine its name.
    pub role: String,
    /// By the server's clock.
    pub expires_at: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct Issuer {
    pub(crate) identity: Identity,
    oldest_first: VecDeque<String>,
    by_id: HashMap<String, (Issued, Key)>,
    machine: metadata::Machine,
}

/// What a key id is to the service.
pub(crate) enum Known {
    Valid(Key),
    Expired,
    Unknown,
}

impl Issuer {
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            identity,
            ..Self::default()
        }
    }

    /// New credentials for `role`; `asked` is how long the caller wants them to live.
    fn issue(
        &mut self,
        by: Action,
        role: String,
        asked: Duration,
        now: Timestamp,
    ) -> (Issued, Key) {
        let life = self.identity.life_s.map_or(asked, Duration::from_secs);
        let life = SignedDuration::try_from(life).unwrap_or(SignedDuration::MAX);
        let key = Key {
            id: format!("STS.{}", text(12)),
            secret: text(22),
            // With the signs that a form or a query must encode.
            security_token: Some(format!("CAIS+{}/{}=", text(32), text(32))),
        };
        let issued = Issued {
            access_key_id: key.id.clone(),
            by,
            role,
            // The answer has whole seconds: they end no earlier than it says.
            expires_at: skewed(now, life),
        };
        if self.oldest_first.len() >= MAX_ISSUED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        self.oldest_first.push_back(key.id.clone());
        let both = (issued, key);
        self.by_id.insert(both.1.id.clone(), both.clone());
        both
    }

    /// What the service knows of the key with this id.
    pub(crate) fn known(&self, id: &str, now: Timestamp) -> Known {
        match self.by_id.get(id) {
            None => Known::Unknown,
            Some((issued, _)) if issued.expires_at <= now => Known::Expired,
            Some((_, key)) => Known::Valid(key.clone()),
        }
    }
}

/// The four fields that STS, the metadata service and a credentials URI all answer.
fn credentials((issued, key): &(Issued, Key)) -> Value {
    json!({
        "AccessKeyId": key.id,
        "AccessKeySecret": key.secret,
        "SecurityToken": key.security_token,
        "Expiration": seconds(issued.expires_at),
    })
}

/// A time as the vendor writes it.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A text of `bytes` by chance, twice as long.
fn text(bytes: usize) -> String {
    let bytes: Vec<u8> = (0..bytes).map(|_| rand::random()).collect();
    hex::encode(bytes)
}

impl World {
    /// From now on the cloud believes these; what was given stays good.
    pub fn set_identity(&self, identity: Identity) {
        self.change(|state| {
            state.issuer.identity = identity;
            state.issuer.machine.renew();
        });
    }

    /// Whom the cloud believes now.
    pub fn identity(&self) -> Identity {
        self.state().issuer.identity.clone()
    }

    /// The credentials that were given, oldest first.
    pub fn issued(&self) -> Vec<Issued> {
        let state = self.state();
        let ids = state.issuer.oldest_first.iter();
        let issued = ids.filter_map(|id| state.issuer.by_id.get(id));
        issued.map(|(issued, _)| issued.clone()).collect()
    }

    /// All credentials that were given end now: `InvalidSecurityToken.Expired`.
    pub fn expire_issued(&self) {
        self.change(|state| {
            let now = state.server_now();
            for (issued, _) in state.issuer.by_id.values_mut() {
                issued.expires_at = issued.expires_at.min(now);
            }
            state.issuer.machine.renew();
        });
    }

    /// No credentials that were given are known any more: `InvalidAccessKeyId.NotFound`.
    pub fn forget_issued(&self) {
        self.change(|state| {
            state.issuer.by_id.clear();
            state.issuer.oldest_first.clear();
            state.issuer.machine.renew();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_known_until_they_end_and_remembered_after_it() {
        let mut issuer = Issuer::new(Identity {
            life_s: Some(3),
            ..Identity::default()
        });
        let now = Timestamp::UNIX_EPOCH;
        let role = "acs:ram::1:role/a".to_owned();
        let (issued, key) = issuer.issue(Action::AssumeRole, role, MACHINE_LIFE, now);
        assert_eq!(issued.expires_at.as_second(), 3);
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(
            matches!(issuer.known(&key.id, at(2)), Known::Valid(found) if found.secret == key.secret)
        );
        assert!(matches!(issuer.known(&key.id, at(3)), Known::Expired));
        assert!(matches!(issuer.known("STS.x", at(2)), Known::Unknown));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut issuer = Issuer::default();
        let now = Timestamp::UNIX_EPOCH;
        let mut issue = || issuer.issue(Action::AssumeRole, String::new(), MACHINE_LIFE, now);
        let first = issue().1.id;
        for _ in 0..MAX_ISSUED {
            issue();
        }
        assert!(matches!(issuer.known(&first, now), Known::Unknown));
        assert_eq!(issuer.by_id.len(), MAX_ISSUED);
    }
}
