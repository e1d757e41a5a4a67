//! Who would be told what, asked of the built binary.

use std::path::{Path, PathBuf};

use crate::syncbell;

const CONFIG: &str = "\
instances:
  - { id: cri-a, region: cn-shanghai }
receivers:
  - { name: ops, webhook: { url: 'http://127.0.0.1:1/' } }
  - { name: dba, webhook: { url: 'http://127.0.0.1:1/' } }
route:
  receivers: [ops]
  routes:
    - { match: ['labels.team=db'], receivers: [dba, ops], group_by: [from.repo] }
rules:
  own:
    - { name: db_waits, match: [task_status=PENDING, 'from.repo=~my.*'], for: 30m, labels: { team: db } }
";

const PENDING: &str =
    r#"{"task_id": "rst-1", "status": "PENDING", "from": {"repo": "mysql", "tag": "8"}}"#;

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

fn plain(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// The exit code, and what was said on stdout and on stderr.
fn ask(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = syncbell(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn route_test_says_who_is_told_by_which_rule_and_route() {
    let files = Files::new();
    let (config, event) = (
        files.write("syncbell.yaml", CONFIG),
        files.write("event.json", PENDING),
    );
    let test = |more: &[&str]| {
        let arguments = ["route", "test", "-c", plain(&config), "-f", plain(&event)];
        ask(&[&arguments[..], more].concat())
    };
    let (code, told, said) = test(&["--expect", ""]);
    assert_eq!((code, told.as_str()), (Some(0), ""), "{said}");
    assert!(said.contains("no rule is broken: nobody is told"), "{said}");

    let (code, told, said) = test(&["--after", "30m", "--expect", "ops,dba"]);
    assert_eq!(code, Some(0), "{said}");
    let words: Vec<Vec<&str>> = told
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        words[0],
        [
            "RULE",
            "SEVERITY",
            "ROUTE",
            "RECEIVER",
            "GROUP",
            "MUTE_UNTIL"
        ]
    );
    let row = |receiver| {
        vec![
            "db_waits",
            "warning",
            "route.routes[0]",
            receiver,
            "from.repo=mysql",
        ]
    };
    assert_eq!(words[1..], [row("dba"), row("ops")]);

    let (code, told, said) = test(&["--after", "1h", "--expect", "ops", "-o", "json"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("expected ops, told: dba, ops"), "{said}");
    let json: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(json[0]["labels"]["team"], "db");
    assert_eq!(json[0]["told"][1]["route"], "route.routes[0]");

    let (code, _, said) = test(&["--expect", "pager"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no receiver is named `pager`"), "{said}");
    files.write("event.json", "{}");
    let (code, _, said) = test(&[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("neither an event nor a sync task"), "{said}");
}

#[test]
fn check_tries_the_tests_of_the_file() {
    let files = Files::new();
    let tests = |expect: &str| {
        let text = format!(
            "{CONFIG}tests:\n  - name: the database waits\n    task: {PENDING}\n    after: 1h\n    \
             expect: {expect}\n  - {{name: nobody, task: {PENDING}, expect: {{receivers: []}}}}\n"
        );
        let config = files.write("syncbell.yaml", &text);
        ask(&["check", "-c", plain(&config)])
    };
    let (code, told, said) = tests("{ receivers: [dba, ops], rule: db_waits, severity: warning }");
    assert_eq!(code, Some(0), "{said}");
    assert!(told.contains("2 receivers, 2 tests: ok"), "{told}");
    let (code, _, said) = tests("{ receivers: [ops], rule: stuck, severity: error }");
    assert_eq!(code, Some(78), "{said}");
    let expected = "syncbell.yaml:14:5: the test `the database waits`: expected receivers ops, told: dba, ops; \
                    expected rule stuck, got db_waits; expected severity error, got warning \
                    (dba by route.routes[0], ops by route.routes[0])";
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("1 of 2 tests do not hold"), "{said}");
}
