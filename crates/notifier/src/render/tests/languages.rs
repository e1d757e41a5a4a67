//! Every kind of message in both languages, for a reader's eye.

use std::fmt::Write as _;

use serde_json::Value;

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
    assert_snapshot!("samples.zh", all(Language::Zh));
}

/// What stays English in a Chinese mail is not ours: names, ids, values, and what others said.
const NOT_OURS: &str = "Syncbell UTC HTTP ID IP NTP DNS SUCCESS ERROR cr GetRepositorySync rules silent within health \
                        ready poll_every data_dir sha256 runbook NoPrivilege Access denied Bad Gateway segments are \
                        missing crc notifier prod_waits";

/// The words of `text` that are not names of its delivery, nor in addresses, commands and markup.
fn english(text: &str, delivery: &Delivery) -> Vec<String> {
    let words = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let letters = |word: &str| word.chars().filter(char::is_ascii_alphabetic).count();
        words
            .filter(|word| letters(word) > 1)
            .map(str::to_owned)
            .collect()
    };
    let mut known = words(NOT_OURS);
    for entry in &delivery.entries {
        let mut item = serde_json::to_value(&entry.item).unwrap();
        for said in ["summary", "rule", "status", "severity"] {
            item.as_object_mut().unwrap().remove(said);
        }
        let named = entry
            .history
            .iter()
            .map(|line| line.rsplit(' ').next().unwrap());
        known.extend(named.flat_map(words));
        known.extend(values(&item).iter().flat_map(|value| words(value)));
    }
    known.extend(words(&delivery.target.receiver));
    known.extend(
        delivery
            .instead_of
            .iter()
            .flat_map(|receiver| words(receiver)),
    );
    let failing = delivery.group.get(FAILING_RECEIVER);
    known.extend(failing.into_iter().flat_map(|receiver| words(receiver)));
    let mut plain = String::new();
    // Whole addresses, `code` and the command at the end are for machines.
    for (n, part) in text.split('`').enumerate() {
        if n % 2 == 0 {
            plain += part;
        }
    }
    for entry in &delivery.entries {
        // Programs know it by its name, which stands beside the words for people.
        plain = plain.replace(&format!(" {}（", entry.item.rule), "（");
    }
    let plain = plain.split("syncbell deliveries show").next().unwrap();
    let mut left: Vec<String> = plain
        .split_whitespace()
        .filter(|word| !word.contains("https://"))
        .flat_map(words)
        .collect();
    left.retain(|word| !known.contains(word));
    left
}

/// All texts in it.
fn values(json: &Value) -> Vec<String> {
    match json {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(values).collect(),
        Value::Object(fields) => fields.values().flat_map(values).collect(),
        _ => Vec::new(),
    }
}

/// The page as a reader sees it.
fn seen(html: &str) -> String {
    let body = html.split("<body").nth(1).unwrap();
    let mut text = String::new();
    for part in body.split('<') {
        text += part.split_once('>').map_or("", |(_, shown)| shown);
        text.push(' ');
    }
    for (escape, meant) in [
        ("&#x2f;", "/"),
        ("&#x27;", "'"),
        ("&quot;", "\""),
        ("&amp;", "&"),
    ] {
        text = text.replace(escape, meant);
    }
    text
}

#[test]
fn no_english_slips_into_a_chinese_mail() {
    let renderer = renderer(Language::Zh);
    for (name, mut delivery) in samples::all() {
        if name == "hostile texts" {
            continue;
        }
        for several in [false, true] {
            if several {
                // As a list of what a digest names, whatever it is about.
                let entry = delivery.entries[0].clone();
                delivery.entries = vec![entry; 12];
            }
            let mail = renderer.mail(&delivery, samples::now());
            let view = renderer.view(&delivery, samples::now()).to_string();
            for text in [&mail.subject, &mail.text, &seen(&mail.html), &view] {
                assert_eq!(english(text, &delivery), [""; 0], "{name}: {text}");
            }
        }
    }
    // It would be seen.
    let (_, delivery) = samples::all().remove(0);
    assert_eq!(
        english("任务 rst-1 broken，Since", &delivery),
        ["broken", "Since"]
    );
}

#[test]
fn the_page_is_in_the_receivers_language() {
    let (_, delivery) = samples::all().remove(0);
    let mail = renderer(Language::Zh).mail(&delivery, samples::now());
    assert!(mail.html.contains("<html lang=\"zh\">"));
    assert!(mail.html.contains(">原因</th>"));
}
