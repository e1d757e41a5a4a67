//! What hides what, checked.

use crate::Matcher;

/// While an alert that matches `source` is open, those that match `target` and say the same in `equal` are held
/// back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inhibit {
    /// What hides; at least one, all must hold.
    pub source: Vec<Matcher>,
    /// What is hidden; at least one, all must hold.
    pub target: Vec<Matcher>,
    /// Names of labels. One that both lack is equal.
    pub equal: Vec<String>,
}
