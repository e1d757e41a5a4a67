//! A disk that becomes full, for tests.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex};

/// Makes the next writes stop after so many bytes, one entry a write. Shared with the log it was
/// given to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fault(Arc<Mutex<Vec<usize>>>);

impl Fault {
    pub(crate) fn next_write_stops_after(&self, bytes: usize) {
        self.0.lock().unwrap().push(bytes);
    }

    /// Writes the part and fails, where a fault is due.
    pub(super) fn strike(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let Some(n) = self.0.lock().unwrap().pop() else {
            return Ok(());
        };
        file.write_all(&bytes[..n.min(bytes.len())])?;
        Err(io::ErrorKind::StorageFull.into())
    }
}
