//! Who may depend on whom: the floor plan, held against the manifests.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

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

fn normal_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new()
        .no_deps()
        .exec()
        .expect("cargo metadata runs");
    let packages = metadata.packages.into_iter();
    packages
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
