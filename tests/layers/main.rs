//! Who may depend on whom: the floor plan, held against the manifests.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Each crate with those of ours that it may use.
const LAYERS: [(&str, &[&str]); 11] = [
    ("event", &[]),
    ("config", &[]),
    ("store", &[]),
    ("service", &[]),
    ("bus", &[]),
    ("acr", &["event"]),
    ("simulator", &["acr", "event"]),
    (
        "poller",
        &["acr", "bus", "store", "config", "service", "event"],
    ),
    ("notifier", &["bus", "store", "config", "service", "event"]),
    (
        "cli",
        &[
            "poller",
            "notifier",
            "simulator",
            "config",
            "service",
            "event",
        ],
    ),
    ("testkit", &[]),
];

/// Crates from outside that only some of ours may use.
const RESERVED: [(&str, &[&str]); 4] = [
    ("rdkafka", &["bus"]),
    ("sled", &["store"]),
    ("lettre", &["notifier"]),
    ("reqwest", &["acr", "notifier", "cli"]),
];

fn packages() -> Vec<Package> {
    let metadata = MetadataCommand::new().no_deps().exec();
    metadata.expect("cargo metadata runs").packages
}

fn normal_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    packages()
        .into_iter()
        .map(|package| {
            let used = package.dependencies.into_iter();
            let used = used
                .filter(|used| used.kind == DependencyKind::Normal)
                .map(|used| used.name);
            (package.name.to_string(), used.collect())
        })
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let found = normal_dependencies();
    assert_eq!(
        found.len(),
        LAYERS.len(),
        "a crate is missing from the map: {:?}",
        found.keys()
    );
    for (name, may_use) in LAYERS {
        let ours = found[&format!("syncbell-{name}")]
            .iter()
            .filter_map(|used| used.strip_prefix("syncbell-"));
        for used in ours {
            assert!(may_use.contains(&used), "{name} may not use {used}");
        }
    }
}

#[test]
fn some_crates_have_one_home() {
    for (name, used) in normal_dependencies() {
        let name = name.strip_prefix("syncbell-").unwrap_or(&name);
        for (reserved, homes) in RESERVED {
            assert!(
                !used.contains(reserved) || homes.contains(&name),
                "{name} uses {reserved}"
            );
        }
    }
}

/// `syncbell_service::crash_point` obeys FAILPOINTS where `fail` has its feature `failpoints`: in the
/// binary of the tests, by a dev-dependency, and in none that is built for use.
#[test]
fn only_tests_can_switch_crash_points_on() {
    let mut switched_by = Vec::new();
    for package in packages() {
        for used in package
            .dependencies
            .iter()
            .filter(|used| used.name == "fail")
        {
            if used.features.iter().any(|feature| feature == "failpoints") {
                switched_by.push((package.name.to_string(), used.kind));
            }
        }
        let mut implied = package.features.values().flatten();
        assert!(
            implied.all(|implied| !implied.contains("failpoints")),
            "a feature of {} switches them on",
            package.name
        );
    }
    let expected = ("syncbell-cli".to_owned(), DependencyKind::Development);
    assert_eq!(switched_by, [expected]);
}
