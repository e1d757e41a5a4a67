use super::*;

fn task(new: NewTask) -> Task {
    let now = Timestamp::from_millisecond(1_572_839_133_000).unwrap();
    Task::new(new, "rst-1".to_owned(), 0, now, now)
}

#[test]
fn a_row_has_every_field_of_the_vendors_page() {
    let mut new = NewTask::of("test/test", "v0.1")
        .status(Status::Success)
        .issue("NETWORK_ERROR");
    new.batch_id = Some("15DEEB56".to_owned());
    new.link_id = Some("link-1".to_owned());
    let (row, _) = row(
        &task(
            new.aged(Duration::from_secs(7))
                .took(Duration::from_secs(7)),
        ),
        RowForm::default(),
    );
    let names: Vec<&str> = row
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    for name in [
        "ModifedTime",
        "SyncRuleId",
        "SyncTaskId",
        "TaskStatus",
        "CreateTime",
        "SyncBatchTaskId",
        "CrossUser",
        "SyncTransAccelerate",
        "TaskTrigger",
        "ImageFrom",
        "ImageTo",
        "CustomLink",
        "TaskIssue",
        "LinkId",
        "Priority",
    ] {
        assert!(names.contains(&name), "{name} is missing");
    }
    assert_eq!(row["CreateTime"], 1_572_839_126_000_i64);
    assert_eq!(row["ModifedTime"], 1_572_839_133_000_i64);
    assert_eq!(row["ImageTo"]["RegionId"], DEMO_TARGET_REGION);
    assert!(row.get("ModifiedTime").is_none());
}

#[test]
fn unset_fields_are_absent_or_null() {
    let plain = task(NewTask::of("a/b", "1"));
    assert!(row(&plain, RowForm::default()).0.get("TaskIssue").is_none());
    let (nulls, shown) = row(
        &plain,
        RowForm {
            nulls: true,
            ..RowForm::default()
        },
    );
    assert!(nulls["TaskIssue"].is_null() && nulls["LinkId"].is_null());
    assert_eq!(shown, plain.shown);
}

#[test]
fn an_unknown_status_is_noted_as_it_was_shown() {
    let (value, shown) = row(
        &task(NewTask::of("a/b", "1")),
        RowForm {
            unknown: true,
            ..RowForm::default()
        },
    );
    assert_eq!(value["TaskStatus"], shown.status.as_str());
    assert!(matches!(shown.status, Status::Unknown(_)));
    let failed = task(NewTask::of("a/b", "1").status(Status::Error));
    let (value, _) = row(
        &failed,
        RowForm {
            unknown: true,
            ..RowForm::default()
        },
    );
    assert_eq!(value["TaskStatus"], "ERROR");
}

#[test]
fn a_task_with_a_part_missing_has_no_route() {
    let mut new = NewTask::of("a/b", "1");
    assert!(task(new.clone()).shown.route.is_some());
    new.to.as_mut().unwrap().region_id = None;
    assert_eq!(task(new).shown.route, None);
}
