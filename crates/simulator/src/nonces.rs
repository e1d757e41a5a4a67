//! Remembers the nonces of signed calls, as long as a repeated one would still have a valid date.
//!
//! Must never happen: that memory grows with the number of calls.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// A date is valid for 15 minutes before and after the server's clock.
const KEEP: Duration = Duration::from_mins(30);
const MAX_KEPT: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct Nonces {
    known: HashSet<String>,
    oldest_first: VecDeque<(Instant, String)>,
}

impl Nonces {
    /// False if it was used before.
    pub(crate) fn take(&mut self, nonce: String, now: Instant) -> bool {
        while let Some((at, _)) = self.oldest_first.front() {
            if now.duration_since(*at) < KEEP && self.oldest_first.len() < MAX_KEPT {
                break;
            }
            if let Some((_, gone)) = self.oldest_first.pop_front() {
                self.known.remove(&gone);
            }
        }
        if !self.known.insert(nonce.clone()) {
            return false;
        }
        self.oldest_first.push_back((now, nonce));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_once_until_its_date_is_too_old() {
        let mut nonces = Nonces::default();
        let now = Instant::now();
        assert!(nonces.take("a".to_owned(), now));
        assert!(!nonces.take("a".to_owned(), now + Duration::from_mins(29)));
        assert!(nonces.take("a".to_owned(), now + Duration::from_mins(30)));
    }

    #[test]
    fn the_memory_of_nonces_is_bounded() {
        let mut nonces = Nonces::default();
        let now = Instant::now();
        for n in 0..MAX_KEPT + 10 {
            assert!(nonces.take(n.to_string(), now));
        }
        assert_eq!(nonces.known.len(), MAX_KEPT);
        assert_eq!(nonces.oldest_first.len(), MAX_KEPT);
    }
}
