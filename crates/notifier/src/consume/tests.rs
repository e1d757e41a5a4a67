//! Turns of the ledger: what events and time make of it.

mod begin;
mod bench;
mod sight;
mod splits;

use syncbell_event::{Status, SyncTask};

use super::*;
use crate::decide::Rule;

#[tokio::test]
async fn an_incident_in_which_nothing_happens_expires_and_a_younger_one_does_not() {
    let ledger = Ledger::open(syncbell_store::Store::memory()).await.unwrap();
    let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
    let days = |days: i64| SignedDuration::from_hours(24 * days);
    let expired = ledger.turn(move |draft| {
        for (task, age) in [("old", days(8)), ("young", days(6))] {
            let subject = Subject::of("cri-1", &SyncTask::new(task, Status::Error));
            let incident = Incident::open(Rule::Failed, subject, "cri-1", now - age);
            draft.put(rows::incident(&incident.id), &incident);
        }
        Ok(())
    });
    expired.await.unwrap();
    ledger
        .turn(move |draft| expire(draft, days(7), now))
        .await
        .unwrap();
    let rows_of = ledger.store.read(|reader| {
        let rows = reader.scan(b"i/", None, 10)?;
        rows.iter()
            .map(|(key, row)| rows::read::<Incident>(reader, key, row))
            .collect()
    });
    let incidents: Vec<Incident> = rows_of.await.unwrap();
    let open: Vec<bool> = incidents.iter().map(Incident::is_open).collect();
    assert_eq!(
        open.iter().filter(|open| **open).count(),
        1,
        "{incidents:?}"
    );
    assert!(
        incidents
            .iter()
            .any(|i| i.is_open() && i.opened_at > now - days(7))
    );
}
