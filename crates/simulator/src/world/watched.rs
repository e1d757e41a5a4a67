//! Calls as they come: the log of them, the account's quota, and a hook between them.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::World;
use crate::calls::{Answered, CallRecord};
use crate::quota::{Meter, Quota};
use crate::rpc;
use crate::verify::Call;

type Act = Box<dyn FnMut(&World, &CallRecord) + Send>;

/// What a test wants to do between two calls.
#[derive(Default)]
pub(super) struct Hook(Mutex<Option<Act>>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

impl World {
    /// The calls so far, oldest first; at most the last 50,000.
    pub fn calls(&self) -> Vec<CallRecord> {
        self.state().calls.all()
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        self.change(|state| state.calls.forget());
    }

    /// From now on the account may make so many calls a second; what is beyond is answered
    /// `Throttling.User` with the delay. `None`: any number.
    pub fn set_quota(&self, quota: Option<Quota>) {
        self.change(|state| state.quota = quota.map(Meter::new));
    }

    /// `act` is run for each call after it has come and before it is answered, with the call as the log
    /// has it then. One at a time; the one before is replaced.
    pub fn between_calls(&self, act: impl FnMut(&World, &CallRecord) + Send + 'static) {
        *self.hook() = Some(Box::new(act));
    }

    fn hook(&self) -> std::sync::MutexGuard<'_, Option<Act>> {
        let hook = &self.inner.hook.0;
        hook.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs a call and runs the hook; gives the call's number.
    pub(crate) fn begin_call(&self, call: &Call) -> u64 {
        let (number, record) = self.change(|state| {
            let named = || call.common("x-acs-action", "Action");
            let action = rpc::action(call).map(|action| action.as_str().to_owned());
            let action = action.or_else(named);
            let page_no = call.parameter("PageNo").and_then(|text| text.parse().ok());
            let number = state
                .calls
                .begin(action, call.parameter("InstanceId"), page_no);
            (number, state.calls.last())
        });
        if let (Some(act), Some(record)) = (self.hook().as_mut(), record) {
            act(self, &record);
        }
        number
    }

    pub(crate) fn end_call(&self, number: u64, answered: Answered) {
        self.change(|state| state.calls.end(number, answered));
    }
}
