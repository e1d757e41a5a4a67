//! Times of the week, month and year, in a time zone: when a route is mute, or active. Pure.

use std::ops::RangeInclusive;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Times that are named once and used by routes. Each part narrows it; one that is empty does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Unique.
    pub name: String,
    /// Whose clock and calendar.
    pub time_zone: TimeZone,
    /// Monday is 1.
    pub days_of_week: Vec<RangeInclusive<i8>>,
    /// From 1; -1 is the last day of the month.
    pub days_of_month: Vec<RangeInclusive<i8>>,
    /// January is 1.
    pub months: Vec<RangeInclusive<i8>>,
    /// Of the day.
    pub times: Vec<TimeRange>,
}

/// From a minute of the day up to another, not including it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// Of the day, 0 to 1439.
    pub from_minute: u16,
    /// 1 to 1440. At or before `from_minute`: on the next day.
    pub to_minute: u16,
}

/// How far is looked ahead for the end of a window, in days. What is longer is looked at again then.
const DAYS_AHEAD: usize = 8;

impl Window {
    /// Whether `at` lies in it.
    pub fn holds(&self, at: Timestamp) -> bool {
        let there = self.time_zone.to_datetime(at);
        let (date, minute) = (there.date(), minute(there.time()));
        if self.times.is_empty() {
            return self.is_day(date);
        }
        // What began on a day of the window and goes on past midnight belongs to that day.
        let yesterday = || date.yesterday().is_ok_and(|day| self.is_day(day));
        self.times.iter().any(|range| {
            if range.from_minute < range.to_minute {
                (range.from_minute..range.to_minute).contains(&minute) && self.is_day(date)
            } else {
                (minute >= range.from_minute && self.is_day(date))
                    || (minute < range.to_minute && yesterday())
            }
        })
    }

    fn is_day(&self, date: Date) -> bool {
        let within = |ranges: &[RangeInclusive<i8>], day: i8| {
            ranges.is_empty() || ranges.iter().any(|range| range.contains(&day))
        };
        let last = date.days_in_month();
        // As in Alertmanager: a day before the month's first is the first, one behind its last the last.
        let of_month = |day: i8| {
            if day < 0 {
                (last + 1 + day).max(1)
            } else {
                day
            }
        };
        let is_day_of_month = self.days_of_month.is_empty()
            || self.days_of_month.iter().any(|range| {
                (of_month(*range.start())..=of_month(*range.end())).contains(&date.day())
            });
        within(&self.months, date.month())
            && is_day_of_month
            && within(&self.days_of_week, date.weekday().to_monday_one_offset())
    }

    /// Moments after `at` at which [`Window::holds`] may change, for some days ahead; it does at no other. At
    /// a clock change each reading of the clock counts, and the change itself.
    fn turns_after(&self, at: Timestamp) -> Vec<Timestamp> {
        let mut minutes: Vec<u16> = vec![0];
        for range in &self.times {
            minutes.extend([range.from_minute, range.to_minute % MINUTES_A_DAY]);
        }
        let mut turns: Vec<Timestamp> = self
            .time_zone
            .following(at)
            .take(4)
            .map(|t| t.timestamp())
            .collect();
        let today = self.time_zone.to_datetime(at).date();
        // A clock that is set back at midnight has the day before twice.
        let mut day = today.yesterday().ok();
        for _ in 0..DAYS_AHEAD + 2 {
            let Some(date) = day else { break };
            for minute in &minutes {
                let hour = i8::try_from(minute / 60).unwrap_or(0);
                let minute = i8::try_from(minute % 60).unwrap_or(0);
                let clock = date.at(hour, minute, 0, 0);
                let reading = || self.time_zone.to_ambiguous_timestamp(clock);
                turns.extend(reading().earlier());
                turns.extend(reading().later());
            }
            day = date.tomorrow().ok();
        }
        turns.retain(|turn| *turn > at);
        turns
    }
}

const MINUTES_A_DAY: u16 = 24 * 60;

fn minute(time: Time) -> u16 {
    u16::try_from(i32::from(time.hour()) * 60 + i32::from(time.minute())).unwrap_or(0)
}

/// When a route may tell: not in a window of `mute`, and in one of `active`, if there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hours {
    /// Never in these.
    pub mute: Vec<Window>,
    /// Only in these; none: always.
    pub active: Vec<Window>,
}

impl Hours {
    /// None: it may tell at `at`. Else when it may, or when to ask again, if that is more than a week away.
    pub fn mute_until(&self, at: Timestamp) -> Option<Timestamp> {
        if !self.is_mute(at) {
            return None;
        }
        let windows = self.mute.iter().chain(&self.active);
        let mut turns: Vec<Timestamp> = windows.flat_map(|window| window.turns_after(at)).collect();
        turns.sort_unstable();
        turns.dedup();
        // One that lies far ahead, such as the next clock change, is no reason to sleep past nearer ones.
        let week = at
            .saturating_add(SignedDuration::from_hours(24 * 7))
            .unwrap_or(Timestamp::MAX);
        let ends = turns.into_iter().find(|turn| !self.is_mute(*turn));
        Some(ends.map_or(week, |ends| ends.min(week)))
    }

    fn is_mute(&self, at: Timestamp) -> bool {
        let holds = |window: &Window| window.holds(at);
        self.mute.iter().any(holds) || !(self.active.is_empty() || self.active.iter().any(holds))
    }
}

#[cfg(test)]
mod tests;
