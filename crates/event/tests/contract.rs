//! Golden files: old events must decode for ever, and the schema files follow the types.

use std::fs;
use std::path::Path;

use syncbell_event::{Alert, Envelope, schema};

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn every_event_of_v1_still_decodes_and_keeps_its_bytes() {
    let mut seen = 0;
    for entry in fs::read_dir(folder("test_data/v1")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let written: serde_json::Value = serde_json::from_str(&text).unwrap();
        let again: serde_json::Value = if name.starts_with("alert") {
            let alert: Alert = serde_json::from_str(&text).unwrap();
            serde_json::to_value(alert).unwrap()
        } else {
            let envelope =
                Envelope::decode(text.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
            serde_json::from_slice(&envelope.encode()).unwrap()
        };
        assert_eq!(again, written, "{name} changed its meaning");
        seen += 1;
    }
    assert!(seen >= 6, "the golden files are missing");
}

#[test]
fn the_schema_files_are_those_of_the_types() {
    for (file, value) in [
        ("event.v1.schema.json", schema::event()),
        ("alert.v1.schema.json", schema::alert()),
    ] {
        let path = folder("schema").join(file);
        let text = format!("{}\n", serde_json::to_string_pretty(&value).unwrap());
        if std::env::var_os("SYNCBELL_BLESS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            kept, text,
            "{file}: run the test with SYNCBELL_BLESS=1 and review the change"
        );
    }
}

#[test]
fn what_is_not_an_event_is_refused_by_name() {
    let text = fs::read_to_string(folder("test_data/v1/created.json")).unwrap();
    let refused = |from: &str, to: &str| {
        let bytes = text.replacen(from, to, 1);
        assert_ne!(bytes, text, "nothing replaced for {from}");
        Envelope::decode(bytes.as_bytes()).unwrap_err().to_string()
    };
    assert!(refused("\"1.0\"", "\"0.3\"").contains("specversion"));
    assert!(refused("sync-task.created.v1", "sync-task.created.v9").contains("created.v9"));
    assert!(refused("/acr/", "/ecr/").contains("source"));
    let of_data = |from: &str, to: &str| {
        let said = refused(from, to);
        assert!(said.contains("the data of the event"), "{said}");
        said
    };
    assert!(of_data("\"before\"", "\"before\": null, \"before\"").contains("duplicate field"));
    assert!(of_data("\"after\"", "\"changed\": 7, \"after\"").contains("line"));
    assert!(refused("\"data\"", "\"dates\"").contains("data"));
    let mut bytes = text.clone().into_bytes();
    let at = text.find("cri-").unwrap();
    bytes[at] = 0xFF;
    assert!(Envelope::decode(&bytes).is_err());
    let escaped = text.replace("cri-", "\\u0063ri-");
    assert_ne!(escaped, text);
    assert_eq!(
        Envelope::decode(escaped.as_bytes()).unwrap(),
        Envelope::decode(text.as_bytes()).unwrap()
    );
    assert!(
        Envelope::decode(b"{")
            .unwrap_err()
            .to_string()
            .contains("could not decode")
    );
}
