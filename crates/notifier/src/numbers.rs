//! The numbers of the ledger's rows: given in order, to drafts that are committed in any order.
//!
//! Who reads rows by number and remembers how far it came must not pass over one that is given and not yet committed:
//! [`Numbers::settled`] says below which number that cannot be.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared by all drafts of a ledger.
#[derive(Debug)]
pub(crate) struct Numbers(Mutex<State>);

#[derive(Debug)]
struct State {
    next: u64,
    /// The first number of each draft that is under way and took one.
    open: BTreeSet<u64>,
}

impl Numbers {
    /// The first one given is `next`.
    pub(crate) fn from(next: u64) -> Arc<Self> {
        let open = BTreeSet::new();
        Arc::new(Self(Mutex::new(State { next, open })))
    }

    /// Rows with numbers below this are committed, or never will be.
    pub(crate) fn settled(&self) -> u64 {
        let state = self.state();
        state.open.first().copied().unwrap_or(state.next)
    }

    /// The numbers of one draft.
    pub(crate) fn draw(self: &Arc<Self>) -> Drawn {
        Drawn {
            numbers: Arc::clone(self),
            first: Cell::new(None),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one draft draws; to be dropped when it is committed, or given up.
#[derive(Debug)]
pub(crate) struct Drawn {
    numbers: Arc<Numbers>,
    first: Cell<Option<u64>>,
}

impl Drawn {
    /// A number above all that were given before.
    pub(crate) fn next(&self) -> u64 {
        let mut state = self.numbers.state();
        let number = state.next;
        state.next += 1;
        if self.first.get().is_none() {
            self.first.set(Some(number));
            state.open.insert(number);
        }
        number
    }

    /// Whether `number` was given before, by a draft that is over: no row that comes has it.
    pub(crate) fn is_settled(&self, number: u64) -> bool {
        number < self.numbers.settled()
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        if let Some(first) = self.first.get() {
            self.numbers.state().open.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_and_not_committed_is_not_settled() {
        let numbers = Numbers::from(7);
        let (one, other, idle) = (numbers.draw(), numbers.draw(), numbers.draw());
        assert_eq!((one.next(), other.next(), one.next()), (7, 8, 9));
        drop(idle);
        assert_eq!(numbers.settled(), 7);
        drop(one);
        assert_eq!(numbers.settled(), 8);
        drop(other);
        assert_eq!(numbers.settled(), 10);
    }
}
