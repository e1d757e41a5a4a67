//! What the upstream can do without hiding anything: odd rows, odd pages, single failures, operations
//! that Syncbell can do without.

use std::time::Duration;

use syncbell_simulator::{Action, Extent, Fault, Order, Target, TotalCount};

/// A row: its name, what is odd, with which calls, for how long.
pub(crate) type Row = (String, Fault, Target, Extent);

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = odd_lists();
    rows.extend(odd_answers());
    rows.extend(single_failures());
    rows.extend(other_operations());
    rows
}

fn always(fault: Fault) -> Row {
    (
        format!("{fault:?}"),
        fault,
        Target::default(),
        Extent::Always,
    )
}

fn odd_lists() -> Vec<Row> {
    let drift = Fault::Drift {
        seed: 1,
        inserts_per_mille: 300,
        removals_per_mille: 300,
    };
    let faults = [
        drift,
        Fault::RowsTwice,
        Fault::PagesCapped {
            rows: 7,
            honest: true,
        },
        Fault::PagesCapped {
            rows: 7,
            honest: false,
        },
        Fault::Order(Order::OldestFirst),
        Fault::Order(Order::Shuffled { seed: 1 }),
        Fault::TotalCount(TotalCount::Number),
        Fault::TotalCount(TotalCount::Text),
        Fault::TotalCount(TotalCount::Missing),
        Fault::TotalCount(TotalCount::Null),
        Fault::TotalCount(TotalCount::Lagging { rows: 3 }),
    ];
    faults.into_iter().map(always).collect()
}

fn odd_answers() -> Vec<Row> {
    let faults = [
        Fault::TaskWithoutId,
        Fault::NullFields,
        Fault::UnknownValues,
        Fault::Slow { delay_ms: 300 },
        Fault::Drip {
            bytes: 1_024,
            every_ms: 10,
        },
        Fault::Huge { bytes: 1 << 20 },
        Fault::ClockSkew { minutes: 10 },
        Fault::ClockSkew { minutes: -10 },
    ];
    faults.into_iter().map(always).collect()
}

fn single_failures() -> Vec<Row> {
    let nonce = Fault::error(400, "SignatureNonceUsed");
    let once = [nonce, Fault::SystemError, Fault::Closed].map(|fault| {
        let name = format!("once {fault:?}");
        (name, fault, Target::default(), Extent::Calls(1))
    });
    let short = Fault::Throttled {
        retry_after_ms: Some(100),
    };
    let mut rows = Vec::from(once);
    rows.push((
        "Throttled for a moment".to_owned(),
        short,
        Target::default(),
        Extent::For(Duration::from_millis(100)),
    ));
    rows
}

fn other_operations() -> Vec<Row> {
    use Action::{GetRepoSyncTask, ListInstance, ListRepoSyncRule};

    let faults = [
        (GetRepoSyncTask, Fault::NoPrivilege),
        (GetRepoSyncTask, Fault::SystemError),
        (GetRepoSyncTask, Fault::Truncated { honest: true }),
        (GetRepoSyncTask, Fault::Silent),
        (ListRepoSyncRule, Fault::NoPrivilege),
        (ListRepoSyncRule, Fault::SystemError),
        (ListRepoSyncRule, Fault::Silent),
        (ListInstance, Fault::NoPrivilege),
    ];
    let rows = faults.map(|(action, fault)| {
        let name = format!("{fault:?} only of {action:?}");
        (name, fault, Target::from(action), Extent::Always)
    });
    rows.into()
}
