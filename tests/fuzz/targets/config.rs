//! Any text as a configuration: accepted, or refused with at least one problem that can be shown.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // No file of this machine is to be read, whatever path the text names.
    if text.contains("file") {
        return;
    }
    let env = |name: &str| (!name.contains("NOT")).then(|| "value".to_owned());
    match syncbell_config::parse(text, "syncbell.yaml", Path::new("no-such-folder"), &env) {
        Ok(config) => assert!(!format!("{config:?}").is_empty()),
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
});
