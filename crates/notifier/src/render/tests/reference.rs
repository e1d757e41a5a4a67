//! `config/templates.md` names what a template may use: all of it, and nothing else.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

fn page() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/templates.md");
    std::fs::read_to_string(path).unwrap()
}

/// The first column of every table of variables: `| `entries[].rows[].label` | ...`.
fn documented() -> BTreeSet<String> {
    let page = page();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned()))
        .filter(|name| !syncbell_config::TEMPLATE_NAMES.contains(&name.as_str()))
        .collect()
}

/// Their keys are the operator's.
const MAPS: [&str; 3] = [
    "group",
    "entries[].alert.labels",
    "entries[].alert.annotations",
];

/// The paths of all leaves.
fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if MAPS.contains(&path) => {
            assert!(fields.values().all(Value::is_string));
            found.insert(path.to_owned());
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                paths(field, &path, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                paths(item, &format!("{path}[]"), found);
            }
        }
        Value::Null => {}
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn the_reference_names_each_variable() {
    let mut seen = BTreeSet::new();
    for (_, delivery) in samples::all() {
        let view = renderer(Language::En).view(&delivery, samples::now());
        paths(&serde_json::to_value(&view).unwrap(), "", &mut seen);
    }
    let documented = documented();
    let missing: Vec<_> = seen.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&seen).collect();
    assert!(
        missing.is_empty(),
        "not in config/templates.md: {missing:#?}"
    );
    assert!(invented.is_empty(), "no sample has it: {invented:#?}");
}

#[test]
fn the_reference_names_each_file_and_its_examples_work() {
    let page = page();
    for name in syncbell_config::TEMPLATE_NAMES {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
    let mut examples = page.split("```jinja\n").skip(1);
    let mut tried = 0;
    while let Some(example) = examples.next().and_then(|rest| rest.split("```").next()) {
        tried += 1;
        for name in syncbell_config::TEMPLATE_NAMES {
            let files = Files {
                files: vec![syncbell_config::TemplateFile {
                    name,
                    language: None,
                    path: name.into(),
                    text: example.to_owned(),
                }],
            };
            let renderers = Renderers::try_new(&files, &Console::default());
            if let Err(problems) = renderers.and_then(|renderers| renderers.check()) {
                panic!("{example}\n{problems}");
            }
        }
    }
    assert!(tried >= 3, "the page has no examples");
}
