//! Ready or not: named conditions, each set by the room that knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// All conditions of a process. It is ready when every one of them holds.
#[derive(Clone, Debug, Default)]
pub struct Health {
    conditions: Arc<Mutex<BTreeMap<&'static str, State>>>,
}

/// How one condition stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// Whether it holds.
    pub ready: bool,
    /// Why not, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The handle of the room that knows one condition.
#[derive(Clone, Debug)]
pub struct Condition {
    name: &'static str,
    health: Health,
}

impl Health {
    /// A process without conditions: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition, not ready at first ("starting").
    pub fn condition(&self, name: &'static str) -> Condition {
        let condition = Condition {
            name,
            health: self.clone(),
        };
        condition.fail("starting");
        condition
    }

    /// Whether every condition holds.
    pub fn is_ready(&self) -> bool {
        self.lock().values().all(|state| state.ready)
    }

    /// All conditions by name.
    pub fn states(&self) -> BTreeMap<&'static str, State> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, State>> {
        self.conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Condition {
    /// It holds.
    pub fn ready(&self) {
        self.health.lock().insert(
            self.name,
            State {
                ready: true,
                reason: None,
            },
        );
    }

    /// It does not hold.
    pub fn fail(&self, reason: impl Into<String>) {
        let state = State {
            ready: false,
            reason: Some(reason.into()),
        };
        self.health.lock().insert(self.name, state);
    }
}
