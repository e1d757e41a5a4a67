//! The routes: who is told what, by which labels, how often, when.

use serde_saphyr::{Location, Spanned};

use super::{Checker, label};
use crate::config::Route;
use crate::problem::suggestion;
use crate::raw;
use crate::{Hours, Matcher, Window};

/// Routes within routes.
const DEPTH_LIMIT: usize = 8;

/// Routes in all.
const ROUTES_LIMIT: usize = 1_000;

/// What the rest of the file names.
pub(super) struct Known<'a> {
    /// All receivers in the file.
    receivers: Vec<&'a str>,
    windows: &'a [Window],
}

impl<'a> Known<'a> {
    pub(super) fn of(receivers: &'a [String], windows: &'a [Window]) -> Self {
        Self {
            receivers: receivers.iter().map(String::as_str).collect(),
            windows,
        }
    }
}

impl Checker<'_> {
    pub(super) fn route(&mut self, raw: Option<Spanned<raw::Route>>, known: &Known<'_>) -> Route {
        let Some(raw) = raw else {
            self.error(
                Location::UNKNOWN,
                "the key `route` is missing: nobody would be told",
            );
            return Route::default();
        };
        if raw.value.receivers.is_none() {
            let message = "the key `receivers` is missing here: nobody would be told";
            self.error(raw.referenced, message);
        }
        if let Some(continues) = &raw.value.continues {
            let message = "`continue` at the top: there is no route behind it";
            self.error(continues.referenced, message);
        }
        let mut left = ROUTES_LIMIT;
        self.node(raw, &Route::default(), known, DEPTH_LIMIT, &mut left)
    }

    /// One route, with what it leaves out taken from `around`.
    fn node(
        &mut self,
        raw: Spanned<raw::Route>,
        around: &Route,
        known: &Known<'_>,
        depth: usize,
        left: &mut usize,
    ) -> Route {
        let (at, raw) = (raw.referenced, raw.value);
        let matchers = self.matchers(raw.matchers);
        let told = raw.receivers.map(|receivers| self.told(receivers, known));
        let (around_mute, around_active) = (&around.hours.mute, &around.hours.active);
        let hours = Hours {
            mute: self
                .hours(raw.mute, known)
                .unwrap_or_else(|| around_mute.clone()),
            active: self
                .hours(raw.active, known)
                .unwrap_or_else(|| around_active.clone()),
        };
        let group_by = raw.group_by.map(|labels| self.group_by(labels));
        let fallback = raw
            .fallback
            .and_then(|name| self.named_receiver(name, known));
        let mut route = Route {
            receivers: told.unwrap_or_else(|| around.receivers.clone()),
            matchers,
            continues: raw.continues.is_some_and(|continues| continues.value),
            group_by: group_by.or_else(|| around.group_by.clone()),
            group_wait: self
                .optional_duration("group_wait", raw.group_wait)
                .or(around.group_wait),
            group_interval: self
                .optional_duration("group_interval", raw.group_interval)
                .or(around.group_interval),
            repeat_interval: self
                .positive("repeat_interval", raw.repeat_interval)
                .or(around.repeat_interval),
            hours,
            fallback: fallback.or_else(|| around.fallback.clone()),
            routes: Vec::new(),
        };
        let children = raw.routes.unwrap_or_default();
        if depth == 1 && !children.is_empty() {
            let message = format!("routes within routes: at most {DEPTH_LIMIT} levels");
            self.error(at, message);
            return route;
        }
        for child in children {
            if *left == 0 {
                self.error(child.referenced, format!("more than {ROUTES_LIMIT} routes"));
                break;
            }
            *left -= 1;
            let at = child.referenced;
            let child = self.node(child, &route, known, depth - 1, left);
            self.reachable(&route.routes, &child, at);
            route.routes.push(child);
        }
        route
    }

    /// An earlier route that takes all that this one could match leaves it nothing.
    fn reachable(&mut self, before: &[Route], route: &Route, at: Location) {
        let takes_all = |earlier: &Route| {
            let mut matchers = earlier.matchers.iter();
            !earlier.continues && matchers.all(|matcher| route.matchers.contains(matcher))
        };
        if let Some(number) = before.iter().position(takes_all) {
            let what = if before[number].matchers.is_empty() {
                "has no `match` and takes everything"
            } else {
                "takes everything that this one matches"
            };
            let message = format!(
                "this route can never match: `routes[{number}]` before it {what}; put it first, \
                 or give that one `continue: true`"
            );
            self.error(at, message);
        }
    }

    pub(super) fn matchers(&mut self, raw: Option<Vec<Spanned<String>>>) -> Vec<Matcher> {
        let mut matchers = Vec::new();
        for text in raw.unwrap_or_default() {
            match label::matcher(&text.value) {
                Ok(matcher) => matchers.push(matcher),
                Err(message) => self.error(text.referenced, message),
            }
        }
        matchers
    }

    fn told(&mut self, raw: Spanned<Vec<Spanned<String>>>, known: &Known<'_>) -> Vec<String> {
        let mut told: Vec<String> = Vec::new();
        if raw.value.is_empty() {
            self.error(raw.referenced, "`receivers` is empty: nobody is told");
        }
        for name in raw.value {
            if let Some(name) = self.named_receiver(name, known)
                && !told.contains(&name)
            {
                told.push(name);
            }
        }
        told
    }

    fn named_receiver(&mut self, name: Spanned<String>, known: &Known<'_>) -> Option<String> {
        if known.receivers.contains(&name.value.as_str()) {
            return Some(name.value);
        }
        let hint = suggestion(&name.value, &known.receivers);
        let message = format!("no receiver is named `{}`{hint}", name.value);
        self.error(name.referenced, message);
        None
    }

    fn hours(
        &mut self,
        raw: Option<Vec<Spanned<String>>>,
        known: &Known<'_>,
    ) -> Option<Vec<Window>> {
        let mut windows = Vec::new();
        for name in raw? {
            let of_name = |window: &&Window| window.name == name.value;
            if let Some(window) = known.windows.iter().find(of_name) {
                windows.push(window.clone());
                continue;
            }
            let names = known.windows.iter().map(|window| window.name.as_str());
            let names: Vec<&str> = names.collect();
            let hint = if names.is_empty() {
                ": there is no key `windows`".to_owned()
            } else {
                suggestion(&name.value, &names)
            };
            let message = format!("no window is named `{}`{hint}", name.value);
            self.error(name.referenced, message);
        }
        Some(windows)
    }

    fn group_by(&mut self, raw: Vec<Spanned<String>>) -> Vec<String> {
        let mut labels: Vec<String> = Vec::new();
        let only = raw.len() == 1;
        for label in raw {
            if label.value == "..." {
                if !only {
                    self.error(label.referenced, "`...` is every label: it stands alone");
                }
            } else if let Err(message) = label::exists(&label.value) {
                self.error(label.referenced, message);
            }
            if !labels.contains(&label.value) {
                labels.push(label.value);
            }
        }
        labels
    }
}
