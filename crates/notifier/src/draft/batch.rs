//! The end of a turn: its changes as one batch.

use syncbell_store::{Batch, Error};

use super::Draft;
use crate::mirror::AllChanges;
use crate::rows;

impl Draft<'_> {
    /// The batch, and what it changes of what is known in memory.
    pub(crate) fn into_batch(mut self) -> Result<(Batch, AllChanges), Error> {
        for (key, group) in std::mem::take(&mut self.groups) {
            self.put(key, &group);
        }
        let mut batch = Batch::new();
        // Under numbers of their own: nothing stands there.
        if let Some(row) = self.ids.row() {
            let key = rows::read_ids(self.numbers.next());
            rows::put(&mut batch, &key, &row, 0);
        }
        for row in self.trails.into_rows() {
            let key = rows::trail(self.numbers.next());
            rows::put(&mut batch, &key, &row, 0);
        }
        let mut changes = AllChanges {
            read_ids: self.ids.into_changes(),
            ..AllChanges::default()
        };
        let stood = self.stood.into_inner();
        for (key, change) in self.changed {
            if let Some(incident) = rows::incident_digest(&key) {
                let incidents = &mut changes.incidents;
                let side = if change.is_some() {
                    &mut incidents.came
                } else {
                    &mut incidents.went
                };
                side.insert(incident);
            }
            let before = match stood.get(&key) {
                Some(stood) => *stood,
                None if self.rare.is_none(self.reader, &key)? => None,
                None => self.reader.get(&key)?.as_deref().map(rows::n_pieces),
            };
            match (change, before) {
                (Some(bytes), before) => {
                    rows::put(&mut batch, &key, &bytes, before.unwrap_or_default());
                }
                (None, Some(n_pieces)) => rows::delete(&mut batch, &key, n_pieces),
                (None, None) => {}
            }
        }
        Ok((batch, changes))
    }
}
