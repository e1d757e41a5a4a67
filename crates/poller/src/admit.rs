//! Keeps what a task may bring within what a row and an event can hold. Pure.
//!
//! In: a decoded task. Out: the same task, shortened where only words are lost, or a refusal that
//! says why. Must never happen: a failure that is not told because its row or event is too large.

use syncbell_event::SyncTask;

/// The longest task id, in bytes: it is part of a key of the store.
pub(crate) const TASK_ID_LIMIT_BYTES: usize = 512;

/// The longest issue that is kept, in bytes. Longer ones are cut.
pub(crate) const ISSUE_LIMIT_BYTES: usize = 4 * 1024;

/// The largest task, in bytes of JSON. An event holds two (before and after), and with its envelope
/// has to stay under the 64 KiB of a row.
pub(crate) const TASK_LIMIT_BYTES: usize = 24 * 1024;

/// Gives the task back if it fits, without its unknown fields if only then it does.
///
/// The cut depends on nothing but the task, so a task shown twice stays the same task.
pub(crate) fn admit(mut task: SyncTask) -> Result<SyncTask, String> {
    let id_bytes = task.task_id.as_str().len();
    if id_bytes > TASK_ID_LIMIT_BYTES {
        return Err(format!(
            "its id has {id_bytes} bytes, at most {TASK_ID_LIMIT_BYTES} are taken"
        ));
    }
    if let Some(issue) = &mut task.issue {
        cut(issue, ISSUE_LIMIT_BYTES);
    }
    if json_bytes(&task) > TASK_LIMIT_BYTES {
        task.extra.clear();
    }
    let size_bytes = json_bytes(&task);
    if size_bytes > TASK_LIMIT_BYTES {
        return Err(format!(
            "it has {size_bytes} bytes, at most {TASK_LIMIT_BYTES} are taken"
        ));
    }
    Ok(task)
}

/// The size that counts: JSON may need six bytes for one.
fn json_bytes(task: &SyncTask) -> usize {
    serde_json::to_vec(task).map_or(usize::MAX, |bytes| bytes.len())
}

fn cut(text: &mut String, limit: usize) {
    const MARK: &str = "…";
    if text.len() <= limit {
        return;
    }
    let mut end = limit - MARK.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push_str(MARK);
}

#[cfg(test)]
mod tests {
    use syncbell_event::Status;

    use super::*;

    #[test]
    fn an_ordinary_task_passes_unchanged() {
        let mut task = SyncTask::new("rst-1", Status::Error);
        task.issue = Some("NETWORK_ERROR".to_owned());
        task.extra.insert("New".to_owned(), 1.into());
        assert_eq!(admit(task.clone()), Ok(task));
    }

    #[test]
    fn a_failure_with_too_many_words_is_still_told() {
        let mut task = SyncTask::new("rst-1", Status::Error);
        task.issue = Some("é".repeat(10_000));
        task.extra
            .insert("New".to_owned(), "x".repeat(100_000).into());
        let kept = admit(task).unwrap();
        let issue = kept.issue.unwrap();
        assert!(
            issue.len() <= ISSUE_LIMIT_BYTES && issue.ends_with("é…"),
            "{}",
            issue.len()
        );
        assert!(kept.extra.is_empty());
    }

    #[test]
    fn what_cannot_be_kept_is_refused_with_its_size() {
        let long = SyncTask::new("x".repeat(513), Status::Error);
        assert!(admit(long).unwrap_err().contains("513 bytes"));
        let mut wide = SyncTask::new("rst-1", Status::Error);
        wide.link_id = Some("x".repeat(30_000));
        assert!(admit(wide).unwrap_err().contains("at most 24576"));
    }
}
