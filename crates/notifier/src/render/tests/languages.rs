//! Every kind of message in both languages, for a reader's eye.

use std::fmt::Write as _;

use super::*;

fn all(language: Language) -> String {
    let renderer = renderer(language);
    let mut told = String::new();
    for (name, delivery) in samples::all() {
        // Snapshots of their own.
        if name == "hostile texts" || name.starts_with("a digest") {
            continue;
        }
        let mail = renderer.mail(&delivery, samples::now());
        assert_eq!(mail.failures, [], "{name}");
        let body = mail.text.split("\n-- \n").next().unwrap().to_owned();
        let subject = mail.subject;
        write!(told, "=== {name}\n{subject}\n\n{}\n", body.trim_end()).unwrap();
    }
    told
}

#[test]
fn every_kind_reads_well_in_english() {
    assert_snapshot!("samples.en", all(Language::En));
}

#[test]
fn every_kind_reads_well_in_chinese() {
    let told = all(Language::Zh);
    assert_snapshot!("samples.zh", told);
    // What stays English is not ours: ids, names, what the registry said.
    let lines = told.lines().filter(|line| !line.starts_with("==="));
    let told = lines.collect::<Vec<_>>().join("\n");
    for word in [
        "Task",
        "Since",
        "FIRING",
        "did not",
        " ago",
        "minutes",
        "Meanwhile",
        "firing",
    ] {
        assert!(!told.contains(word), "{word}");
    }
}

#[test]
fn the_page_is_in_the_receivers_language() {
    let (_, delivery) = samples::all().remove(0);
    let mail = renderer(Language::Zh).mail(&delivery, samples::now());
    assert!(mail.html.contains("<html lang=\"zh\">"));
    assert!(mail.html.contains(">原因</th>"));
}
