//! A batch: rows to put and delete that become durable together or not at all.
//!
//! In: keys and values as bytes. Out: the operations in the order they were added. A key that is
//! named twice keeps its last operation. Must never happen: a batch that is applied in part.

/// Rows to put and to delete, in order; the unit of [`Store::commit`](crate::Store::commit).
#[derive(Default, Clone, Debug)]
pub struct Batch {
    operations: Vec<Operation>,
}

/// One step of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) key: Vec<u8>,
    /// `None` deletes the row.
    pub(crate) value: Option<Vec<u8>>,
}

impl Batch {
    /// A batch without rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes the row, over what stands there. The value may have up to
    /// [`VALUE_LIMIT_BYTES`](crate::VALUE_LIMIT_BYTES); a larger one is refused at commit.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.operations.push(Operation {
            key: key.into(),
            value: Some(value.into()),
        });
    }

    /// Deletes the row; one that is not there is no error.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.operations.push(Operation {
            key: key.into(),
            value: None,
        });
    }

    /// Adds what `other` does after what this batch does.
    pub fn append(&mut self, other: Batch) {
        self.operations.extend(other.operations);
    }

    /// True when nothing was put or deleted.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// How many operations it holds (a key named twice counts twice).
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Bytes of all keys and values.
    pub(crate) fn size_bytes(&self) -> usize {
        self.operations.iter().map(Operation::size_bytes).sum()
    }

    pub(crate) fn operations(&self) -> &[Operation] {
        &self.operations
    }
}

impl Operation {
    pub(crate) fn size_bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}
