//! The rules as users write them.

use std::time::Duration;

use super::*;

fn with(rules: &str) -> String {
    format!("{SMALLEST}rules:\n{rules}")
}

fn told(rules: &str) -> Vec<String> {
    let problems = read(&with(rules)).unwrap_err().0;
    let lines = problems
        .iter()
        .map(|p| format!("{}:{} {}", p.line, p.column, p.message));
    lines.collect()
}

#[test]
fn what_is_not_said_is_as_the_design_says() {
    let rules = read(SMALLEST).unwrap().rules;
    assert_eq!(rules, RuleSwitches::default());
    assert!(rules.stuck && rules.vanished && rules.unknown_status && rules.blind);
    assert!(!rules.slow && !rules.canceled && rules.silent.is_none());
    let after = [rules.stuck_after, rules.blind_after, rules.slow_after];
    assert_eq!(after, [7_200, 120, 3_600].map(Duration::from_secs));
}

#[test]
fn each_key_does_what_it_says_and_nothing_else() {
    type Change = fn(&mut RuleSwitches);
    let cases: [(&str, Change); 9] = [
        ("stuck: {enabled: false}", |rules| rules.stuck = false),
        ("stuck: {after: 30m}", |rules| {
            rules.stuck_after = Duration::from_mins(30);
        }),
        ("vanished: {enabled: false}", |rules| rules.vanished = false),
        ("unknown_status: {enabled: false}", |rules| {
            rules.unknown_status = false;
        }),
        ("blind: {enabled: false}", |rules| rules.blind = false),
        ("blind: {after: 10s}", |rules| {
            rules.blind_after = Duration::from_secs(10);
        }),
        ("slow: {enabled: true}", |rules| rules.slow = true),
        ("slow: {enabled: true, after: 5m}", |rules| {
            (rules.slow, rules.slow_after) = (true, Duration::from_mins(5));
        }),
        (
            "silent: {enabled: true, within: 2h, sync_rules: [crsr-1], repos: [team-a/web]}",
            |rules| {
                let watch = |subject| SilentWatch {
                    instance: "cri-kmsiwlxxdcva0001".into(),
                    subject,
                };
                rules.silent = Some(Silent {
                    within: Duration::from_hours(2),
                    watched: vec![
                        watch(SilentSubject::SyncRule("crsr-1".into())),
                        watch(SilentSubject::Repo {
                            namespace: "team-a".into(),
                            repo: "web".into(),
                        }),
                    ],
                });
            },
        ),
    ];
    for (text, change) in cases {
        let mut expected = RuleSwitches::default();
        change(&mut expected);
        let config = read(&with(&format!("  {text}\n"))).unwrap();
        assert_eq!(config.rules, expected, "{text}");
    }
}

#[test]
fn mistakes_in_rules_are_named_at_their_place() {
    let cases = [
        (
            "  stuck: {after: 0s}\n",
            "17:18 `after`: expected more than `0s`",
        ),
        (
            "  blind: {after: soon}\n",
            "17:18 `after`: expected a duration such as `30s`, `5m`, `2h` or `1h30m`",
        ),
        (
            "  stuk: {enabled: true}\n",
            "17:3 unknown key `stuk`, did you mean `stuck`?",
        ),
        (
            "  silent: {enabled: true}\n",
            "17:11 `silent` is on and watches nothing: name `sync_rules` or `repos`",
        ),
        (
            "  silent: {enabled: true, within: 0s, repos: [a/b]}\n",
            "17:35 `within`: expected more than `0s`",
        ),
        (
            "  silent: {enabled: true, repos: [web]}\n",
            "17:35 expected `NAMESPACE/REPO` or `INSTANCE/NAMESPACE/REPO`",
        ),
        (
            "  silent: {enabled: true, sync_rules: [cri-kmsiwlxxdcva0002/crsr-1]}\n",
            "17:40 no instance has the id `cri-kmsiwlxxdcva0002`, did you mean `cri-kmsiwlxxdcva0001`?",
        ),
        (
            "  silent: {enabled: true, repos: [a/b, cri-kmsiwlxxdcva0001/a/b]}\n",
            "17:40 `cri-kmsiwlxxdcva0001/a/b` stands here twice",
        ),
        // What is switched off is read all the same.
        (
            "  silent: {enabled: false, sync_rules: ['']}\n",
            "17:41 expected `SYNC_RULE_ID` or `INSTANCE/SYNC_RULE_ID`",
        ),
    ];
    for (rules, expected) in cases {
        assert_eq!(told(rules), [expected], "{rules}");
    }
}

#[test]
fn where_several_instances_are_watched_silent_names_one() {
    let two = "instances:\n  - {id: cri-b, region: cn-shenzhen}\n";
    let text = |entry: &str| {
        with(&format!(
            "  silent: {{enabled: true, sync_rules: [{entry}]}}\n"
        ))
        .replacen("instances:\n", two, 1)
    };
    let problems = read(&text("crsr-1")).unwrap_err().to_string();
    assert!(
        problems.contains("any of 2 instances: expected `SYNC_RULE_ID` or `INSTANCE/"),
        "{problems}"
    );
    let silent = read(&text("cri-b/crsr-1")).unwrap().rules.silent.unwrap();
    assert_eq!(silent.watched[0].instance, "cri-b");
}

#[test]
fn a_route_can_name_each_rule() {
    for rule in check::RULES {
        let text = SMALLEST.replace(
            "[ops, mail]",
            &format!("[ops, mail]\n  match: ['rule={rule}']"),
        );
        assert!(read(&text).is_ok(), "{rule}");
    }
}

#[test]
fn what_rules_carry_and_rules_of_ones_own() {
    let text = "  failed: {severity: critical, labels: {team: core}}
  stuck: {after: 1h, annotations: {runbook: 'https://wiki/stuck'}}
  silent: {severity: error}
  canceled: {}
  own:
    - name: prod_failed
      match: ['task_status=ERROR', 'to.namespace=~prod-.+', 'extra.Foo=']
      for: 30m
      severity: critical
      labels: {team: payments}
      annotations: {runbook: https://wiki/sync}
    - {name: by-hand, match: [trigger=INITIATIVE]}
";
    let text = with(text).replace(
        "[ops, mail]",
        "[ops, mail]\n  match: [rule=by-hand, 'labels.team!=x']\n  group_by: [labels.team]",
    );
    let rules = read(&text).unwrap().rules;
    let marks = |severity, labels: &[(&str, &str)], annotations: &[(&str, &str)]| {
        let texts = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, text)| ((*name).into(), (*text).into()));
            pairs.collect()
        };
        Marks {
            severity,
            labels: texts(labels),
            annotations: texts(annotations),
        }
    };
    let runbook = [("runbook", "https://wiki/stuck")];
    let built_in = [
        (
            "failed",
            marks(Some(Severity::Critical), &[("team", "core")], &[]),
        ),
        ("silent", marks(Some(Severity::Error), &[], &[])),
        ("stuck", marks(None, &[], &runbook)),
    ];
    assert_eq!(rules.marks, built_in.into());
    assert!(!rules.canceled && rules.failed && rules.silent.is_none());
    let [prod, by_hand] = rules.own.as_slice() else {
        panic!("{rules:?}")
    };
    assert_eq!(
        (prod.name.as_str(), prod.matchers.len()),
        ("prod_failed", 3)
    );
    assert_eq!(prod.held_for, Some(Duration::from_mins(30)));
    let runbook = [("runbook", "https://wiki/sync")];
    assert_eq!(
        prod.marks,
        marks(Some(Severity::Critical), &[("team", "payments")], &runbook)
    );
    assert_eq!(
        (by_hand.held_for, &by_hand.marks),
        (None, &marks(Some(Severity::Warning), &[], &[]))
    );
}

#[test]
fn mistakes_in_rules_of_ones_own_are_named_at_their_place() {
    let cases = [
        (
            "name: failed, match: [issue=X]",
            "17:16 `failed` is a built-in rule: say it as `rules.failed`",
        ),
        (
            "name: Prod, match: [issue=X]",
            "17:16 `Prod`: expected small letters, digits, `_` and `-`, at most 32",
        ),
        ("match: [issue=X]", "17:9 the key `name` is missing here"),
        (
            "name: a",
            "17:9 the key `match` is missing here, or empty: every task would match",
        ),
        (
            "name: a, match: [status=ERROR]",
            "17:27 `status` is of the alert: the task's own are `task_status` and `issue`",
        ),
        (
            "name: a, match: [instance=cri-a]",
            "17:27 `instance` is of the alert, and a task may be listed by two: its own are `from.instance_id` and \
             `to.instance_id`",
        ),
        (
            "name: a, match: [bach_id=X]",
            "17:27 `bach_id` is no label of a task, did you mean `batch_id`?",
        ),
        (
            "name: a, match: ['issue=~(']",
            "17:27 `(` is no regular expression: unclosed group",
        ),
        (
            "name: a, match: [issue=X], for: 0s",
            "17:42 `for`: expected more than `0s`",
        ),
        (
            "name: a, match: [issue=X], severity: fatal",
            "17:47 unknown severity `fatal`, expected one of: critical, error, warning, info",
        ),
        (
            "name: a, match: [issue=X], labels: {a-b: x}",
            "17:51 label `a-b`: expected letters, digits and `_`, at most 64",
        ),
    ];
    for (own, expected) in cases {
        assert_eq!(told(&format!("  own: [{{{own}}}]\n")), [expected], "{own}");
    }
    let twice = told("  own: [{name: a, match: [issue=X]}, {name: a, match: [issue=Y]}]\n");
    assert_eq!(twice, ["17:45 a rule named `a` stands here twice"]);
    let route = SMALLEST.replace("[ops, mail]", "[ops, mail]\n  match: ['labels.tem=x']");
    let text = format!("{route}rules: {{failed: {{labels: {{team: a}}}}}}\n");
    let problems = read(&text).unwrap_err().to_string();
    assert!(
        problems.contains("no rule gives the label `tem`, did you mean `team`?"),
        "{problems}"
    );
}
