//! What hides what, as users write it.

use super::*;

fn with(inhibit: &str) -> String {
    format!("{SMALLEST}inhibit:\n{inhibit}")
}

fn told(inhibit: &str) -> Vec<String> {
    let problems = read(&with(inhibit)).unwrap_err().0;
    let lines = problems
        .iter()
        .map(|p| format!("{}:{} {}", p.line, p.column, p.message));
    lines.collect()
}

#[test]
fn pairs_are_read() {
    let pair = "  - {source: ['rule=failed'], target: ['rule=issue', 'from.tag!=v1'], equal: [to.region_id]}\n";
    let config = read(&with(pair)).unwrap();
    let matcher = |text| parse_matcher(text).unwrap();
    let expected = Inhibit {
        source: vec![matcher("rule=failed")],
        target: vec![matcher("rule=issue"), matcher("from.tag!=v1")],
        equal: vec!["to.region_id".into()],
    };
    assert_eq!(config.rules.inhibit, [expected]);
    assert!(read(SMALLEST).unwrap().rules.inhibit.is_empty());
}

#[test]
fn each_mistake_has_its_place() {
    let lines = SMALLEST.lines().count() + 2;
    for (inhibit, column, message) in [
        (
            "  - {source: ['rule=failed']}",
            5,
            "the key `target` is missing here",
        ),
        (
            "  - {source: [], target: ['rule=issue']}",
            14,
            "`source` is empty: it would be everything",
        ),
        (
            "  - {source: ['rule=faild'], target: ['rule=issue']}",
            15,
            "unknown rule `faild`, did you mean `failed`?",
        ),
        (
            "  - {source: ['rule=failed'], target: ['rule=issue'], equal: [to.region]}",
            63,
            "unknown label `to.region`, did you mean `to.region_id`?",
        ),
    ] {
        assert_eq!(told(inhibit), [format!("{lines}:{column} {message}")]);
    }
}
