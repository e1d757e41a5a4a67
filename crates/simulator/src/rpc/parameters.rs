//! The parameters that several operations have.

use serde_json::{Map, Value, json};

use super::Asked;
use crate::answer::Reply;

/// Documented for the lists of tasks (by its samples) and of instances.
const DEFAULT_PAGE_SIZE: usize = 30;
/// Documented for `ListRepository` of the same product.
const MAX_PAGE_SIZE: usize = 100;

/// A parameter is missing or wrong.
pub(crate) enum Bad {
    Missing(&'static str),
    Invalid(&'static str),
}

/// Which page.
#[derive(Clone, Copy)]
pub(super) struct Page {
    /// From 1.
    pub(super) no: u64,
    /// Not yet capped.
    pub(super) size: usize,
}

impl Asked<'_> {
    pub(crate) fn required(&self, name: &'static str) -> Result<String, Bad> {
        self.call.parameter(name).ok_or(Bad::Missing(name))
    }

    pub(super) fn page(&self) -> Result<Page, Bad> {
        let number = |name: &'static str, default: usize| match self.call.parameter(name) {
            None => Ok(default as u64),
            Some(text) => text
                .parse()
                .ok()
                .filter(|&number: &u64| number > 0)
                .ok_or(Bad::Invalid(name)),
        };
        Ok(Page {
            no: number("PageNo", 1)?,
            size: usize::try_from(number("PageSize", DEFAULT_PAGE_SIZE)?).unwrap_or(usize::MAX),
        })
    }

    pub(crate) fn bad(&self, bad: &Bad) -> Reply {
        match bad {
            Bad::Missing(name) => self.context.error(
                400,
                &format!("Missing{name}"),
                &format!("{name} is mandatory for this action."),
            ),
            Bad::Invalid(name) => self.context.error(
                400,
                "InvalidParameter",
                &format!("The specified parameter {name} is not valid."),
            ),
        }
    }

    /// A page of a short list of rows, whose TotalCount is a number (as the SDKs declare it for these).
    pub(super) fn rows(&self, name: &str, page: Page, rows: &[Value]) -> Reply {
        let size = page.size.clamp(1, MAX_PAGE_SIZE);
        let skip = usize::try_from(page.no - 1)
            .unwrap_or(usize::MAX)
            .saturating_mul(size);
        let shown: Vec<&Value> = rows.iter().skip(skip).take(size).collect();
        let mut body = Map::new();
        body.insert("PageNo".to_owned(), json!(page.no));
        body.insert("PageSize".to_owned(), json!(size));
        body.insert("TotalCount".to_owned(), json!(rows.len()));
        body.insert(name.to_owned(), json!(shown));
        self.context.success(body)
    }
}
