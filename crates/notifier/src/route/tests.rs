//! The tree against the cases of Alertmanager's documentation, and against the configuration.

mod amtool;

use std::path::Path;

use syncbell_config::Config;

use super::*;

/// The example of <https://prometheus.io/docs/alerting/latest/configuration/#route>, and beside it what the
/// text there says of `continue`, of matchers and of what a route takes from the one around it. Alertmanager's
/// labels are ours by another name: service is `from.repo`, team `from.namespace`, cluster `from.region_id`.
const DOCUMENTATION: &str = "
receivers:
  - {name: default-receiver, webhook: {url: 'http://127.0.0.1:1'}}
  - {name: database-pager, webhook: {url: 'http://127.0.0.1:1'}}
  - {name: frontend-pager, webhook: {url: 'http://127.0.0.1:1'}}
  - {name: audit, webhook: {url: 'http://127.0.0.1:1'}}
  - {name: mysql, webhook: {url: 'http://127.0.0.1:1'}}
instances: [{id: cri-a, region: cn-shanghai}]
route:
  receivers: [default-receiver]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 4h
  group_by: [from.region_id, rule]
  routes:
    - receivers: [database-pager]
      group_wait: 10s
      match: ['from.repo=~mysql|cassandra']
      routes:
        - {receivers: [mysql], match: ['from.repo=mysql', 'from.tag=~v[0-9]+'], group_by: ['...']}
    - {receivers: [audit], match: ['from.region_id!~cn-.+', 'from.region_id!='], continue: true}
    - receivers: [frontend-pager]
      group_by: [to.region_id, batch_id]
      match: ['from.namespace=frontend']
";

fn config(text: &str) -> Config {
    let read = syncbell_config::parse(text, "x", Path::new("."), &|_| None);
    read.unwrap_or_else(|problems| panic!("{problems}"))
}

fn routes(text: &str) -> Routes {
    let config = config(text);
    Routes::new(&config.route, &config.receivers)
}

/// `label=value …` of an entry that fires.
fn entry(labels: &str) -> Entry {
    crate::label::entry_with(labels)
}

fn told(routes: &Routes, labels: &str) -> Vec<String> {
    let entry = entry(labels);
    let found = routes.of(&entry);
    found
        .iter()
        .map(|one| format!("{} {}", one.path, one.name))
        .collect()
}

#[test]
fn the_documented_tree_gives_what_the_documentation_says() {
    let routes = routes(DOCUMENTATION);
    for (labels, expected) in [
        // What matches no route within stays with the topmost.
        ("", &["route default-receiver"][..]),
        ("from.repo=web", &["route default-receiver"]),
        // The first that matches takes it.
        ("from.repo=mysql", &["route.routes[0] database-pager"]),
        (
            "from.repo=cassandra from.namespace=frontend",
            &["route.routes[0] database-pager"],
        ),
        // Patterns are anchored at both ends.
        ("from.repo=mysqld", &["route default-receiver"]),
        ("from.repo=my-cassandra", &["route default-receiver"]),
        // The deepest that matches; all of its matchers must hold.
        (
            "from.repo=mysql from.tag=v12",
            &["route.routes[0].routes[0] mysql"],
        ),
        (
            "from.repo=mysql from.tag=v12-rc",
            &["route.routes[0] database-pager"],
        ),
        (
            "from.repo=cassandra from.tag=v12",
            &["route.routes[0] database-pager"],
        ),
        // `continue` looks at the routes behind it too; if none of them matches, that was all.
        ("from.region_id=eu-1", &["route.routes[1] audit"]),
        (
            "from.region_id=eu-1 from.namespace=frontend",
            &["route.routes[1] audit", "route.routes[2] frontend-pager"],
        ),
        (
            "from.region_id=cn-1 from.namespace=frontend",
            &["route.routes[2] frontend-pager"],
        ),
        // A label that is absent is an empty one.
        (
            "from.namespace=frontend",
            &["route.routes[2] frontend-pager"],
        ),
    ] {
        assert_eq!(told(&routes, labels), expected, "{labels}");
    }
}

#[test]
fn a_route_takes_from_the_one_around_it_what_it_does_not_say() {
    let routes = routes(DOCUMENTATION);
    let policy = |name: &str| routes.named(name).unwrap().policy.clone();
    let names = |policy: &Policy| -> Option<Vec<String>> {
        let labels = policy.group_by.as_ref()?;
        Some(
            labels
                .iter()
                .map(|label| label.name().into_owned())
                .collect(),
        )
    };
    let seconds = |policy: &Policy| {
        [
            policy.group_wait,
            policy.group_interval,
            policy.repeat_interval,
        ]
        .map(|d| d.as_secs())
    };
    let top = policy("default-receiver");
    assert_eq!(names(&top).unwrap(), ["from.region_id", "rule"]);
    assert_eq!(seconds(&top), [30, 300, 14_400]);
    let database = policy("database-pager");
    assert_eq!(names(&database).unwrap(), ["from.region_id", "rule"]);
    assert_eq!(seconds(&database), [10, 300, 14_400]);
    let mysql = policy("mysql");
    assert_eq!((names(&mysql), seconds(&mysql)), (None, [10, 300, 14_400]));
    let frontend = policy("frontend-pager");
    assert_eq!(names(&frontend).unwrap(), ["to.region_id", "batch_id"]);
    assert_eq!(seconds(&frontend), [30, 300, 14_400]);
}

/// Each label that the configuration takes says what stands in the entry, and no other one does.
#[test]
fn every_label_can_be_matched_and_grouped_by() {
    let names = crate::label::Field::ALL.map(|(name, _)| name);
    for name in
        names
            .into_iter()
            .chain(["instance", "reason", "incident", "resolved_by", "extra.Foo"])
    {
        let value = match name {
            "priority" => "3",
            "created_at" | "modified_at" => "2026-01-02T03:04:00Z",
            "cross_user" | "custom_link" | "accelerated" => "true",
            _ => "x-1",
        };
        let text = format!(
            "instances: [{{id: a, region: b}}]\n\
             receivers: [{{name: r, webhook: {{url: 'http://x'}}}}]\n\
             route: {{receivers: [r], match: ['{name}={value}'], group_by: ['{name}']}}\n"
        );
        let routes = routes(&text);
        assert_eq!(
            told(&routes, &format!("{name}={value}")),
            ["route r"],
            "{name}"
        );
        assert!(told(&routes, "").is_empty(), "{name}");
        let by = routes.named("r").unwrap().policy.group_by.clone().unwrap();
        let labels = crate::group::labels(&by, &entry(&format!("{name}={value}")));
        // An end goes with its beginning.
        let grouped = (name != "resolved_by").then_some(value);
        assert_eq!(labels.get(name).map(String::as_str), grouped, "{name}");
    }
}

/// The configuration checks labels against a list of its own: it may not depend on this crate.
#[test]
fn the_configuration_knows_every_rule_and_every_label() {
    let labels = Label::OF_ENTRIES.map(|(name, _)| format!("{name}=~.*"));
    let fields = crate::label::Field::ALL.map(|(name, _)| format!("{name}=~.*"));
    let rules = crate::decide::Rule::ALL.map(|rule| format!("rule={}", rule.as_str()));
    for matcher in labels.into_iter().chain(fields).chain(rules) {
        let text = format!(
            "instances: [{{id: a, region: b}}]\n\
             receivers: [{{name: r, webhook: {{url: 'http://x'}}}}]\n\
             route: {{receivers: [r], match: ['{matcher}']}}\n"
        );
        config(&text);
    }
}

#[test]
fn two_routes_to_one_receiver_tell_it_once_by_the_first() {
    let routes = routes(
        "instances: [{id: a, region: b}]\n\
         receivers: [{name: r, webhook: {url: 'http://x'}}, {name: s, webhook: {url: 'http://x'}}]\n\
         route:\n  receivers: [s]\n  fallback: s\n  routes:\n    \
           - {receivers: [r], match: [rule=failed], continue: true}\n    \
           - {receivers: [r, s]}\n",
    );
    let both = ["route.routes[0] r", "route.routes[1] s"];
    assert_eq!(told(&routes, "rule=failed"), both);
    let second = ["route.routes[1] r", "route.routes[1] s"];
    assert_eq!(told(&routes, "rule=stuck"), second);
    let fallback = |path, name| routes.at(path, name).unwrap().fallback.len();
    assert_eq!(fallback("route.routes[0]", "r"), 1);
    assert_eq!(
        fallback("route.routes[1]", "s"),
        0,
        "no receiver is its own fallback"
    );
}

/// What waits in a group of a route that left the configuration goes where the receiver is now.
#[test]
fn a_recipient_is_found_by_its_route_else_by_its_name() {
    let routes = routes(DOCUMENTATION);
    let path = |path, name| routes.at(path, name).map(|found| found.path.clone());
    assert_eq!(
        path("route.routes[0]", "database-pager").unwrap(),
        "route.routes[0]"
    );
    assert_eq!(
        path("route.routes[7]", "database-pager").unwrap(),
        "route.routes[0]"
    );
    assert_eq!(path("route", "nobody"), None);
}

#[test]
fn a_chat_groups_as_mail_does_and_its_rate_lowers_the_cap() {
    let of = |rate: &str| {
        let text = format!(
            "receivers: [{{name: chat, slack: {{url: 'http://127.0.0.1:1'{rate}}}}}]\n\
             instances: [{{id: cri-a, region: cn-shanghai}}]\n\
             route: {{receivers: [chat]}}\n"
        );
        routes(&text).named("chat").unwrap().policy.clone()
    };
    let (people, policy) = (Policy::people(), of(""));
    assert!(policy.group_by.is_some());
    assert_eq!(policy.group_interval, people.group_interval);
    assert_eq!(
        policy.cap, 10,
        "Slack's 60 a minute are more than people read"
    );
    assert_eq!(of(", rate: [4/m]").cap, 4);
    assert_eq!(of(", rate: [100/m, 30/h]").cap, 1);
}
