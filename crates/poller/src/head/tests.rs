use super::*;

/// Plays pages `total: id@created …`, two rows a page (`!` after one that is not quiet). Gives the
/// pages asked for after page 1, then how it ended.
fn check(quiet_before: Option<i64>, pages: &[&str], expected: &str) {
    let mut head = Head::new(quiet_before);
    let mut told = Vec::new();
    for (page, page_no) in pages.iter().zip(1..) {
        let (total, rows) = page.split_once(':').unwrap();
        let rows: Vec<(&str, &str)> = rows
            .split_whitespace()
            .map(|row| row.split_once('@').unwrap())
            .collect();
        let ids: Vec<IdHash> = rows.iter().map(|(id, _)| IdHash::of(id)).collect();
        let created_ms: Vec<Option<i64>> = rows
            .iter()
            .map(|(_, at)| at.trim_end_matches('!').parse().ok())
            .collect();
        let step = head.answered(&HeadPage {
            page_no: Some(page_no),
            page_size: Some(2),
            total_count: total.parse().ok(),
            ids: &ids,
            created_ms: &created_ms,
            n_rows: ids.len(),
            is_quiet: !rows.iter().any(|(_, at)| at.ends_with('!')),
        });
        match step {
            HeadStep::Ask(page_no) => told.push(page_no.to_string()),
            HeadStep::Sure | HeadStep::Unsure => {
                told.push(format!("{step:?}"));
                break;
            }
        }
    }
    assert_eq!(told.join(" "), expected, "{pages:?}");
}

#[test]
fn it_stops_at_a_quiet_page_that_is_old_enough() {
    let pages = ["9:a@90 b@80", "9:c@70 d@60", "9:e@50 f@40", "9:g@30 h@20"];
    check(Some(65), &pages, "2 Sure");
    check(Some(85), &pages, "Sure");
    check(Some(60), &pages, "2 3 Sure");
    check(None, &pages[..2], "2 3");
    let news = ["9:a@90! b@80", "9:c@70 d@60!", "9:e@50 f@40"];
    check(Some(95), &news, "2 3 Sure");
}

#[test]
fn a_list_that_ends_is_known_to_its_end() {
    check(None, &["1:a@90!"], "Sure");
    check(None, &["0:"], "Sure");
    check(None, &["3:a@90! b@80", "3:c@70"], "2 Sure");
    check(None, &["5:a@90! b@80", "5:c@70"], "2 3");
}

#[test]
fn another_order_or_unknown_times_are_for_a_full_sweep() {
    check(Some(99), &["9:a@80 b@90"], "Unsure");
    check(Some(99), &["9:a@80 b@?"], "Unsure");
    // Rows that moved down while it read are met twice, and are no new order.
    let moved = ["9:a@90! b@80!", "9:b@80 c@70!", "9:d@60 e@50"];
    check(Some(65), &moved, "2 3 Sure");
}

#[test]
fn pages_that_repeat_are_not_trusted() {
    check(Some(10), &["9:a@90 b@80", "9:a@90 b@80"], "2 Unsure");
}

#[test]
fn it_reads_on_to_open_tasks_but_not_for_ever() {
    let mut head = Head::new(Some(1_000));
    let row = |n: i64| (IdHash::of(&n.to_string()), Some(900 - n));
    let mut n = 0;
    let mut page = |head: &mut Head| {
        let (ids, created): (Vec<_>, Vec<_>) = [row(n), row(n + 1)].into_iter().unzip();
        n += 2;
        head.answered(&HeadPage {
            page_no: None,
            page_size: Some(2),
            total_count: Some(1_000_000),
            ids: &ids,
            created_ms: &created,
            n_rows: 2,
            is_quiet: true,
        })
    };
    assert_eq!(page(&mut head), HeadStep::Sure);
    assert_eq!(head.read_on_to(3), HeadStep::Ask(2));
    assert_eq!(page(&mut head), HeadStep::Ask(3));
    assert_eq!(page(&mut head), HeadStep::Sure);

    let mut endless = Head::new(None);
    let mut asked = 1;
    while let HeadStep::Ask(page_no) = page(&mut endless) {
        asked = page_no;
    }
    assert_eq!(asked, HEAD_PAGES);
}
