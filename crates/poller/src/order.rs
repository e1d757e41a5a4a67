//! Whether the list is in the order of creation, the newest first. Nobody promises it. Pure.
//!
//! In: when each row was created, in the order of the rows, each row once. Out: whether the order
//! held so far. Must never happen: an early stop in a list that is in another order.

/// How the rows met so far stand.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    last_ms: Option<i64>,
    held: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            last_ms: None,
            held: true,
        }
    }
}

impl Order {
    /// The next row. One whose creation is not known says nothing good about the order.
    pub(crate) fn note(&mut self, created_ms: Option<i64>) {
        let follows = match (self.last_ms, created_ms) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(last), Some(this)) => this <= last,
        };
        self.held &= follows;
        self.last_ms = created_ms.or(self.last_ms);
    }

    pub(crate) fn is_newest_first(&self) -> bool {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(rows: &[Option<i64>]) -> bool {
        let mut order = Order::default();
        for row in rows {
            order.note(*row);
        }
        order.is_newest_first()
    }

    #[test]
    fn equal_times_keep_the_order_and_a_later_or_unknown_one_breaks_it() {
        assert!(held(&[]));
        assert!(held(&[Some(3), Some(3), Some(1)]));
        assert!(!held(&[Some(3), Some(1), Some(2)]));
        assert!(!held(&[Some(3), None, Some(1)]));
    }
}
