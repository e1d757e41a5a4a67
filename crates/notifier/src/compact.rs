//! The rows of which there are millions, in few bytes: tasks that ended well, and what is remembered of a
//! route. What does not fit the short form stands as JSON, which begins with a brace. Pure.
//!
//! In: a state, or a row's bytes. Out: the other. Must never happen: a state that comes back as another one.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use syncbell_event::{EventId, Status, TaskId};

use crate::decide::{Subject, SubjectState, TaskState, Well, summary};
use crate::rows;

/// The first byte of the short form.
const SHORT: u8 = 1;

const STATUSES: [Status; 3] = [Status::Success, Status::Error, Status::Canceled];
const STATUS_BITS: u8 = 0b11;
const TOLD: u8 = 1 << 2;
const MODIFIED: u8 = 1 << 3;
const SILENT: u8 = 1 << 4;

const WELL: u8 = 1;
const CREATED: u8 = 1 << 1;
const SEEN: u8 = 1 << 2;

/// In the place of a line's length: it says that the well task went well.
const WELL_LINE: u16 = u16::MAX;

/// The row of a task.
pub(crate) fn task(state: &TaskState) -> Vec<u8> {
    short_task(state).unwrap_or_else(|| rows::json(state))
}

/// What [`task`] wrote; none if these bytes are none.
pub(crate) fn read_task(row: &[u8]) -> Option<TaskState> {
    match row.split_first()? {
        (&SHORT, rest) => long_task(rest),
        _ => json(row),
    }
}

/// Whether the row is that of a task that ended well: nothing was told of it, or is to be.
pub(crate) fn is_short(row: &[u8]) -> bool {
    row.first() == Some(&SHORT)
}

/// The row of what is remembered of `subject`.
pub(crate) fn subject(subject: &Subject, state: &SubjectState) -> Vec<u8> {
    short_subject(subject, state).unwrap_or_else(|| rows::json(state))
}

/// What [`subject`] wrote of the same subject; none if these bytes are none.
pub(crate) fn read_subject(subject: &Subject, row: &[u8]) -> Option<SubjectState> {
    match row.split_first()? {
        (&SHORT, rest) => long_subject(subject, rest),
        _ => json(row),
    }
}

/// When something of the subject was last seen, whichever subject it is; none if the row does not say.
pub(crate) fn subject_seen_at(row: &[u8]) -> Option<Timestamp> {
    match row.split_first()? {
        (&SHORT, mut rest) => {
            let [flags] = take(&mut rest)?;
            if flags & SEEN == 0 {
                return None;
            }
            time(&mut rest)
        }
        _ => json::<SubjectState>(row)?.seen_at,
    }
}

fn short_task(state: &TaskState) -> Option<Vec<u8>> {
    let status = STATUSES.iter().position(|known| *known == state.status)?;
    let is_over = state.issue.is_none()
        && state.broken.is_none()
        && state.incidents.is_empty()
        && !state.stuck
        && !state.vanished
        && state.open_since.is_none()
        && state.timer.is_none()
        && state.held.is_empty();
    if !is_over {
        return None;
    }
    let mut flags = u8::try_from(status).ok()?;
    flags |= if state.told { TOLD } else { 0 };
    flags |= state.modified_at.map_or(0, |_| MODIFIED);
    flags |= state.silent_until.map_or(0, |_| SILENT);
    let mut row = vec![SHORT, flags];
    for at in [
        Some(state.observed_at),
        state.modified_at,
        state.silent_until,
    ] {
        put_time(&mut row, at)?;
    }
    row.extend(state.instance.as_bytes());
    Some(row)
}

fn long_task(mut row: &[u8]) -> Option<TaskState> {
    let [flags] = take(&mut row)?;
    let status = STATUSES.get(usize::from(flags & STATUS_BITS))?.clone();
    let observed_at = time(&mut row)?;
    let mut optional = |flag: u8| (flags & flag != 0).then(|| time(&mut row));
    let modified_at = optional(MODIFIED);
    let silent_until = optional(SILENT);
    Some(TaskState {
        status,
        issue: None,
        modified_at: present(modified_at)?,
        observed_at,
        broken: None,
        told: flags & TOLD != 0,
        incidents: Vec::new(),
        stuck: false,
        vanished: false,
        open_since: None,
        timer: None,
        held: Vec::new(),
        silent_until: present(silent_until)?,
        instance: std::str::from_utf8(row).ok()?.to_owned(),
    })
}

fn short_subject(subject: &Subject, state: &SubjectState) -> Option<Vec<u8>> {
    let mut flags = state.seen_at.map_or(0, |_| SEEN);
    let mut row = vec![SHORT, 0];
    put_time(&mut row, state.seen_at)?;
    if let Some(well) = &state.newest_well {
        // Its route is that of the subject: no need to say it.
        let Subject::Route(route) = subject else {
            return None;
        };
        if well.route.as_ref() != Some(route) {
            return None;
        }
        flags |= WELL | well.created_at.map_or(0, |_| CREATED);
        put_time(&mut row, well.created_at)?;
        let id = rows::hex_bytes(&well.event_id.0)?;
        row.extend(id);
        put_text(&mut row, &well.task_id.0)?;
    }
    row[1] = flags;
    for line in &state.history {
        let well = state.newest_well.as_ref();
        match well.and_then(|well| well_minutes(line, well)) {
            Some(minutes) => {
                row.extend(WELL_LINE.to_be_bytes());
                row.extend(minutes.to_be_bytes());
            }
            None => put_text(&mut row, line)?,
        }
    }
    Some(row)
}

fn long_subject(subject: &Subject, mut row: &[u8]) -> Option<SubjectState> {
    let [flags] = take(&mut row)?;
    let seen_at = present((flags & SEEN != 0).then(|| time(&mut row)))?;
    let mut newest_well = None;
    if flags & WELL != 0 {
        let Subject::Route(route) = subject else {
            return None;
        };
        let created_at = present((flags & CREATED != 0).then(|| time(&mut row)))?;
        let event_id: [u8; 16] = take(&mut row)?;
        newest_well = Some(Well {
            created_at,
            event_id: EventId(rows::hex(&event_id)),
            task_id: TaskId(text(&mut row)?),
            route: Some(route.clone()),
        });
    }
    let mut history = Vec::new();
    while !row.is_empty() {
        history.push(match row {
            [0xFF, 0xFF, rest @ ..] => {
                row = rest;
                let minutes = u32::from_be_bytes(take(&mut row)?);
                well_line(minutes, newest_well.as_ref()?)?
            }
            _ => text(&mut row)?,
        });
    }
    Some(SubjectState {
        newest_well,
        history,
        seen_at,
    })
}

/// The minutes since 1970 of `line`, if it only says that `well` went well.
fn well_minutes(line: &str, well: &Well) -> Option<u32> {
    let (day, rest) = line.split_once(' ')?;
    let (clock, _) = rest.split_once(' ')?;
    let at: Timestamp = format!("{day}T{clock}:00Z").parse().ok()?;
    let minutes = u32::try_from(at.as_second() / 60).ok()?;
    (well_line(minutes, well)? == line).then_some(minutes)
}

fn well_line(minutes: u32, well: &Well) -> Option<String> {
    let at = Timestamp::from_second(i64::from(minutes) * 60).ok()?;
    let (minute, status) = (summary::minute(at), Status::Success);
    Some(format!("{minute} {status}, task {}", well.task_id))
}

fn json<T: DeserializeOwned + Serialize>(row: &[u8]) -> Option<T> {
    serde_json::from_slice(row).ok()
}

/// A time that is not there needs no byte; one that does not fit in 64 bits of ns has no short form.
fn put_time(row: &mut Vec<u8>, at: Option<Timestamp>) -> Option<()> {
    if let Some(at) = at {
        let ns = i64::try_from(at.as_nanosecond()).ok()?;
        row.extend(ns.to_be_bytes());
    }
    Some(())
}

fn time(row: &mut &[u8]) -> Option<Timestamp> {
    let ns = i64::from_be_bytes(take(row)?);
    Timestamp::from_nanosecond(i128::from(ns)).ok()
}

fn put_text(row: &mut Vec<u8>, text: &str) -> Option<()> {
    let length = u16::try_from(text.len()).ok()?;
    if length == WELL_LINE {
        return None;
    }
    row.extend(length.to_be_bytes());
    row.extend(text.as_bytes());
    Some(())
}

fn text(row: &mut &[u8]) -> Option<String> {
    let length = u16::from_be_bytes(take(row)?);
    let (text, rest) = row.split_at_checked(usize::from(length))?;
    *row = rest;
    Some(std::str::from_utf8(text).ok()?.to_owned())
}

fn take<const N: usize>(row: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = row.split_first_chunk::<N>()?;
    *row = rest;
    Some(*head)
}

/// None where something that should be there could not be read.
#[expect(clippy::option_option, reason = "what is there, of what may be there")]
fn present<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use syncbell_event::{Image, Route, SyncTask};

    use super::*;
    use crate::decide::Rule;

    fn any_time() -> impl Strategy<Value = Timestamp> {
        (-377_705_023_201_i64..=253_402_207_200, 0..1_000_000_000)
            .prop_map(|(second, ns)| Timestamp::new(second, ns).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    fn near_time() -> impl Strategy<Value = Timestamp> {
        (0_i64..4_000_000_000, 0..1_000_000_000).prop_map(|(s, ns)| Timestamp::new(s, ns).unwrap())
    }

    fn route() -> Route {
        let part = |text: &str| Some(text.to_owned());
        let image = Image {
            region_id: part("cn-a"),
            instance_id: part("cri-1"),
            namespace: part("team"),
            repo: part("shop"),
            tag: part("v1"),
        };
        let mut task = SyncTask::new("x", Status::Success);
        (task.from, task.to) = (Some(image.clone()), Some(image));
        task.route().unwrap()
    }

    prop_compose! {
        fn any_task()(
            instance in ".{0,30}", status in 0..5_usize, issue in proptest::option::of("[A-Z]{0,9}"),
            modified_at in proptest::option::of(any_time()), observed_at in any_time(),
            silent_until in proptest::option::of(any_time()), told in any::<bool>(), odd in 0..9_u8,
        ) -> TaskState {
            let all = [Status::Success, Status::Error, Status::Canceled, Status::Pending, Status::Unknown("X".into())];
            TaskState {
                held: Vec::new(),
                instance, status: all[status].clone(), issue, modified_at, observed_at, silent_until, told,
                broken: (odd == 1).then_some(Rule::Failed),
                incidents: if odd == 2 { vec!["i".into()] } else { vec![] },
                stuck: odd == 3, vanished: odd == 4, open_since: (odd == 5).then_some(observed_at), timer: None,
            }
        }
    }

    prop_compose! {
        fn any_subject()(
            task_id in ".{0,30}", id in "[0-9a-f]{32}|.{0,40}", created_at in proptest::option::of(any_time()),
            seen_at in proptest::option::of(near_time()), well in any::<bool>(), same_route in any::<bool>(),
            at in near_time(), lines in proptest::collection::vec(".{0,70}", 0..5), at_line in 0..5_usize,
        ) -> SubjectState {
            let line = format!("{} SUCCESS, task {task_id}", summary::minute(at));
            let mut history = lines;
            history.insert(at_line.min(history.len()), line);
            let known = Well {
                task_id: TaskId(task_id), route: same_route.then(route), created_at, event_id: EventId(id),
            };
            SubjectState { newest_well: well.then_some(known), history, seen_at }
        }
    }

    proptest! {
        #[test]
        fn a_task_comes_back_as_it_was(state in any_task()) {
            prop_assert_eq!(read_task(&task(&state)), Some(state));
        }

        #[test]
        fn a_subject_comes_back_as_it_was(state in any_subject()) {
            let route = Subject::Route(route());
            let row = subject(&route, &state);
            prop_assert_eq!(subject_seen_at(&row), state.seen_at);
            prop_assert_eq!(read_subject(&route, &row), Some(state));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(mut row in proptest::collection::vec(any::<u8>(), 0..90)) {
            let route = Subject::Route(route());
            let _ = (read_task(&row), read_subject(&route, &row), subject_seen_at(&row));
            row.insert(0, SHORT);
            let _ = (read_task(&row), read_subject(&route, &row), subject_seen_at(&row));
        }
    }

    #[test]
    fn what_went_well_takes_few_bytes() {
        let at: Timestamp = "2026-01-02T03:04:05.678901234Z".parse().unwrap();
        let state = TaskState {
            instance: "cri-kmsiwlxxdcva0001".into(),
            status: Status::Success,
            issue: None,
            modified_at: Some(at),
            observed_at: at,
            broken: None,
            told: true,
            incidents: vec![],
            stuck: false,
            vanished: false,
            open_since: None,
            timer: None,
            held: Vec::new(),
            silent_until: None,
        };
        assert_eq!(task(&state).len(), 38);
        let task_id: TaskId = "rst-4kfd7fk6pohk1234".into();
        let state = SubjectState {
            history: vec![format!("2026-01-02 03:04 UTC SUCCESS, task {task_id}")],
            newest_well: Some(Well {
                task_id,
                route: Some(route()),
                created_at: Some(at),
                event_id: EventId("00112233445566778899aabbccddeeff".into()),
            }),
            seen_at: Some(at),
        };
        assert_eq!(subject(&Subject::Route(route()), &state).len(), 62);
    }
}
