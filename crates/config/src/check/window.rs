//! Windows: days, months and times of day as people write them.

use std::ops::RangeInclusive;

use jiff::tz::TimeZone;
use serde_saphyr::{Location, Spanned};

use super::Checker;
use crate::problem::suggestion;
use crate::raw;
use crate::{TimeRange, Window};

const DAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Windows in one file; more than anybody names.
const WINDOWS_LIMIT: usize = 100;

/// Parts of one window.
const RANGES_LIMIT: usize = 50;

impl Checker<'_> {
    /// Those that are right; of two with one name the first.
    pub(super) fn windows(&mut self, raw: Option<Vec<Spanned<raw::Window>>>) -> Vec<Window> {
        let mut windows: Vec<Window> = Vec::new();
        for raw in raw.unwrap_or_default() {
            let (at, raw) = (raw.referenced, raw.value);
            if windows.len() == WINDOWS_LIMIT {
                let message = format!("more than {WINDOWS_LIMIT} windows");
                self.error(at, message);
                break;
            }
            let Some(name) = self.required("name", raw.name.clone(), at) else {
                continue;
            };
            if windows.iter().any(|known| known.name == name.value) {
                let message = format!("a window named `{}` stands here twice", name.value);
                self.error(name.referenced, message);
                continue;
            }
            windows.push(self.window(name.value, raw, at));
        }
        windows
    }

    fn window(&mut self, name: String, raw: raw::Window, at: Location) -> Window {
        let time_zone = self.time_zone(raw.time_zone);
        let lists = [
            &raw.days_of_week,
            &raw.days_of_month,
            &raw.months,
            &raw.times,
        ];
        let n_parts: usize = lists
            .iter()
            .map(|list| list.as_ref().map_or(0, Vec::len))
            .sum();
        if n_parts == 0 {
            let what =
                "the window is always: name `days_of_week`, `days_of_month`, `months` or `times`";
            self.error(at, what);
        } else if n_parts > RANGES_LIMIT {
            self.error(at, format!("more than {RANGES_LIMIT} parts"));
        }
        Window {
            name,
            time_zone,
            days_of_week: self.ranges(raw.days_of_week, day_of_week),
            days_of_month: self.ranges(raw.days_of_month, days_of_month),
            months: self.ranges(raw.months, month),
            times: self.ranges(raw.times, times),
        }
    }

    fn time_zone(&mut self, raw: raw::Text) -> TimeZone {
        let Some(raw) = raw else { return TimeZone::UTC };
        // A bare offset would not follow the clock changes of the place that is meant.
        let found = TimeZone::get(&raw.value)
            .ok()
            .filter(|zone| zone.iana_name().is_some());
        found.unwrap_or_else(|| {
            let known: Vec<String> = jiff::tz::db()
                .available()
                .map(|name| name.to_string())
                .collect();
            let close = known
                .iter()
                .map(|name| (strsim::damerau_levenshtein(&raw.value, name), name))
                .min()
                .filter(|(distance, _)| *distance <= 3);
            let hint = close.map_or_else(
                || "expected an IANA name such as `Asia/Shanghai`".to_owned(),
                |(_, name)| format!("did you mean `{name}`?"),
            );
            self.error(
                raw.referenced,
                format!("no time zone is named `{}`, {hint}", raw.value),
            );
            TimeZone::UTC
        })
    }

    fn ranges<T>(
        &mut self,
        raw: Option<Vec<Spanned<String>>>,
        read: fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let mut ranges = Vec::new();
        for text in raw.unwrap_or_default() {
            match read(text.value.trim()) {
                Ok(range) => ranges.push(range),
                Err(message) => self.error(text.referenced, message),
            }
        }
        ranges
    }
}

/// `a` or `a-b` of named things that are numbered from 1.
fn named(text: &str, names: &[&str], what: &str) -> Result<RangeInclusive<i8>, String> {
    let number = |word: &str| -> Result<i8, String> {
        let word = word.trim().to_lowercase();
        let at = names.iter().position(|name| *name == word);
        let digits = || word.parse().ok().filter(|n| (1..=names.len()).contains(n));
        let number = at.map(|at| at + 1).or_else(digits);
        number
            .and_then(|number| i8::try_from(number).ok())
            .ok_or_else(|| format!("unknown {what} `{word}`{}", suggestion(&word, names)))
    };
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let range = number(from)?..=number(to)?;
    if range.is_empty() {
        return Err(format!("`{text}` ends before it begins: write two ranges"));
    }
    Ok(range)
}

fn day_of_week(text: &str) -> Result<RangeInclusive<i8>, String> {
    named(text, &DAYS, "day of the week")
}

fn month(text: &str) -> Result<RangeInclusive<i8>, String> {
    named(text, &MONTHS, "month")
}

/// `1`, `-1`, `1-7`, `-7--1`, `28--1`.
fn days_of_month(text: &str) -> Result<RangeInclusive<i8>, String> {
    let expected = || format!("`{text}`: expected days such as `1`, `1-7` or `-1` for the last");
    let day = |text: &str| -> Result<i8, String> {
        let day: i8 = text.trim().parse().map_err(|_| expected())?;
        if day == 0 || !(-31..=31).contains(&day) {
            return Err(expected());
        }
        Ok(day)
    };
    // The sign of the first number is no dash between two.
    let dash = text
        .char_indices()
        .skip(1)
        .find(|(_, c)| *c == '-')
        .map(|(at, _)| at);
    let (from, to) = dash.map_or((text, text), |at| (&text[..at], &text[at + 1..]));
    let range = day(from)?..=day(to)?;
    if (*range.start() > 0) == (*range.end() > 0) && range.is_empty() {
        return Err(format!("`{text}` ends before it begins"));
    }
    Ok(range)
}

/// `09:00-17:30`, `22:00-07:00`, `18:00-24:00`.
fn times(text: &str) -> Result<TimeRange, String> {
    let expected = || format!("`{text}`: expected times such as `09:00-17:30`");
    let minute = |text: &str| -> Result<u16, String> {
        let (hour, minute) = text.trim().split_once(':').ok_or_else(expected)?;
        let part = |text: &str, limit: u16| -> Result<u16, String> {
            let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            let number = text.parse().ok().filter(|n| digits && *n < limit);
            number.ok_or_else(expected)
        };
        if (hour, minute) == ("24", "00") {
            return Ok(24 * 60);
        }
        Ok(part(hour, 24)? * 60 + part(minute, 60)?)
    };
    let (from, to) = text.split_once('-').ok_or_else(expected)?;
    let (from_minute, to_minute) = (minute(from)?, minute(to)?);
    if from_minute == to_minute || from_minute == 24 * 60 {
        return Err(format!(
            "`{text}`: it has no length; a whole day is `00:00-24:00`"
        ));
    }
    // Up to midnight is up to the end of the day.
    let to_minute = if to_minute == 0 { 24 * 60 } else { to_minute };
    Ok(TimeRange {
        from_minute,
        to_minute,
    })
}
