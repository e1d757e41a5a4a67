//! The policy that deploy/ gives to operators allows what the client asks, and nothing else.

use std::collections::BTreeSet;

use serde_json::Value;
use syncbell_acr::Operation;

const POLICY: &str = include_str!("../../../deploy/ram-policy.json");
const README: &str = include_str!("../../../deploy/README.md");

fn texts(value: &Value) -> Vec<&str> {
    let list = value.as_array().expect("a list");
    list.iter()
        .map(|text| text.as_str().expect("a text"))
        .collect()
}

#[test]
fn it_allows_each_permission_that_a_denial_can_name_in_a_statement_of_its_own() {
    let policy: Value = serde_json::from_str(POLICY).expect("it is JSON");
    assert_eq!(policy["Version"], "1");
    let mut allowed = BTreeSet::new();
    for statement in policy["Statement"].as_array().expect("a list") {
        assert_eq!(statement["Effect"], "Allow");
        let actions = texts(&statement["Action"]);
        assert_eq!(
            actions.len(),
            1,
            "one feature a statement, to be dropped alone"
        );
        // ListInstance is granted for all resources or not at all.
        let resource = match actions[0] {
            "cr:ListInstance" => "*",
            _ => "acs:cr:*:*:repository/*",
        };
        assert_eq!(texts(&statement["Resource"]), [resource]);
        assert!(
            allowed.insert(actions[0]),
            "{} stands there twice",
            actions[0]
        );
    }
    let asked: BTreeSet<_> = Operation::ALL.iter().map(|one| one.permission).collect();
    assert_eq!(allowed, asked);
}

#[test]
fn the_page_beside_it_says_what_each_is_for() {
    for operation in Operation::ALL {
        assert!(
            README.contains(operation.permission),
            "{}",
            operation.permission
        );
        assert!(README.contains(operation.name), "{}", operation.name);
    }
}
