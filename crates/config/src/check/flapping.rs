//! When a condition flaps.

use std::time::Duration;

use super::Checker;
use crate::config::Flapping;
use crate::raw;

const LONGEST: Duration = Duration::from_hours(24);
const CHANGES: std::ops::RangeInclusive<u32> = 3..=100;

impl Checker<'_> {
    /// `None`: nothing is ever taken for flapping.
    pub(super) fn flapping(&mut self, raw: Option<raw::Flapping>) -> Option<Flapping> {
        let default = Flapping::default();
        let Some(raw) = raw else {
            return Some(default);
        };
        let within_at = raw.within.as_ref().map(|within| within.referenced);
        let within = self.positive("within", raw.within);
        if let (Some(at), Some(true)) = (within_at, within.map(|within| within > LONGEST)) {
            self.error(at, "`within`: expected at most `24h`".to_owned());
        }
        let every = self.positive("every", raw.every).unwrap_or(default.every);
        let mut changes = default.changes;
        if let Some(written) = raw.changes {
            if written.value == 0 {
                return None;
            }
            if !CHANGES.contains(&written.value) {
                let message = "`changes`: expected 3 to 100, or 0 for never".to_owned();
                self.error(written.referenced, message);
            }
            changes = written.value as usize;
        }
        Some(Flapping {
            changes,
            within: within.unwrap_or(default.within),
            every,
        })
    }
}
