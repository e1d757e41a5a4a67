//! Which rows an answer shows, and what it says about that: where the two differ, a fault is at work.

use super::Ask;
use crate::fault::Fault;
use crate::tasks::{Order, Slice};

/// What is read and what is claimed.
#[derive(Debug)]
pub(super) struct Ways {
    /// The page that is read.
    pub(super) read_page_no: u64,
    /// The page that the answer claims to be.
    pub(super) page_no: u64,
    /// The PageSize that the answer claims.
    pub(super) page_size: usize,
    pub(super) slice: Slice,
}

impl Ways {
    pub(super) fn of(faults: &[Fault], ask: &Ask, max_page_size: usize) -> Self {
        let mut read_page_no = ask.page_no;
        let mut page_no = ask.page_no;
        let mut page_size = ask.page_size.clamp(1, max_page_size);
        let mut n_rows = page_size;
        let mut order = Order::default();
        let mut n_again = 0;
        for fault in faults {
            match fault {
                Fault::PageNoIgnored { echo_asked } => {
                    read_page_no = 1;
                    page_no = if *echo_asked { ask.page_no } else { 1 };
                }
                Fault::PagesCapped { rows, honest } => {
                    n_rows = n_rows.min((*rows).max(1));
                    if *honest {
                        page_size = n_rows;
                    }
                }
                Fault::Order(other) => order = *other,
                Fault::RowsTwice => n_again = 1,
                _ => {}
            }
        }
        // A page of one row only would never go on, were that row the last one again.
        let step = n_rows.saturating_sub(n_again).max(1);
        let skip = usize::try_from(read_page_no - 1)
            .unwrap_or(usize::MAX)
            .saturating_mul(step);
        Self {
            read_page_no,
            page_no,
            page_size,
            slice: Slice {
                order,
                skip,
                take: n_rows,
            },
        }
    }
}
