//! Which faults are switched on, for whom and how long.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Fault;
use crate::action::Action;

/// How long a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// For this many calls.
    Calls(u32),
    /// For this long.
    For(Duration),
    /// Until [`World::clear_faults`](crate::World::clear_faults).
    Always,
}

/// Which calls meet a fault; absent means any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Target {
    /// Only calls of this operation.
    #[serde(rename = "only")]
    pub action: Option<Action>,
    /// Only calls with this `InstanceId`.
    #[serde(rename = "instance")]
    pub instance_id: Option<String>,
}

impl From<Action> for Target {
    fn from(action: Action) -> Self {
        Self {
            action: Some(action),
            instance_id: None,
        }
    }
}

/// What a fault may depend on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Caller<'a> {
    pub(crate) action: Option<Action>,
    pub(crate) instance_id: Option<&'a str>,
}

impl Target {
    fn is(&self, caller: Caller<'_>) -> bool {
        (self.action.is_none() || self.action == caller.action)
            && (self.instance_id.is_none() || self.instance_id.as_deref() == caller.instance_id)
    }
}

#[derive(Clone, Debug)]
struct Active {
    fault: Fault,
    target: Target,
    calls_left: Option<u32>,
    until: Option<Instant>,
}

/// The faults that are switched on, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Vec<Active>);

/// More than this are refused: a control client in a loop must not fill the memory.
const MAX_FAULTS: usize = 1000;

impl Faults {
    /// False when there are too many already.
    pub(crate) fn add(
        &mut self,
        fault: Fault,
        target: Target,
        extent: Extent,
        now: Instant,
    ) -> bool {
        self.purge(now);
        if self.0.len() >= MAX_FAULTS {
            return false;
        }
        let (calls_left, until) = match extent {
            Extent::Calls(0) => return true,
            Extent::Calls(n) => (Some(n), None),
            Extent::For(time) => (None, now.checked_add(time)),
            Extent::Always => (None, None),
        };
        self.0.push(Active {
            fault,
            target,
            calls_left,
            until,
        });
        true
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Those that a call could meet now.
    pub(crate) fn active(&self, now: Instant) -> impl Iterator<Item = &Fault> {
        let active = self.0.iter().filter(move |active| !active.is_over(now));
        active.map(|active| &active.fault)
    }

    /// By how much the clock is wrong now; asking counts as no call.
    pub(crate) fn skew(&self, now: Instant) -> SignedDuration {
        let minutes = self
            .0
            .iter()
            .filter(|active| !active.is_over(now))
            .find_map(|active| {
                if let Fault::ClockSkew { minutes } = active.fault {
                    Some(minutes)
                } else {
                    None
                }
            });
        let seconds = minutes.unwrap_or(0).saturating_mul(60);
        SignedDuration::from_secs(seconds)
    }

    /// What one call meets, and one call less of each.
    pub(crate) fn meet(&mut self, caller: Caller<'_>, now: Instant) -> Vec<Fault> {
        self.purge(now);
        let mut met: Vec<Fault> = Vec::new();
        for active in &mut self.0 {
            if !active.target.is(caller)
                || met.iter().any(|fault| fault.kind() == active.fault.kind())
            {
                continue;
            }
            if let Some(left) = &mut active.calls_left {
                *left = left.saturating_sub(1);
            }
            met.push(active.fault.clone());
        }
        // A clock stays wrong until the call is answered: that last call's skew is read from `met`.
        self.purge(now);
        met
    }

    fn purge(&mut self, now: Instant) {
        self.0.retain(|active| !active.is_over(now));
    }
}

impl Active {
    fn is_over(&self, now: Instant) -> bool {
        self.calls_left == Some(0) || self.until.is_some_and(|until| until <= now)
    }
}
