//! The heartbeat and the watchdog, as users write them.

use std::time::Duration;

use super::*;

fn with(more: &str) -> Result<Config, Problems> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("smtp"), "hunter2-from-a-file\n").unwrap();
    let text = format!("{SMALLEST}{more}");
    parse(&text, "syncbell.yaml", folder.path(), &|name| match name {
        "OPS_WEBHOOK_SECRET" => Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
        "PING" => Some("https://deadman.example.com/ping/s3cret-from-env".to_owned()),
        "WRONG" => Some("s3cret-and-no-url".to_owned()),
        _ => None,
    })
}

#[test]
fn the_heartbeat_has_a_url_and_a_pace() {
    assert!(read(SMALLEST).unwrap().heartbeat.is_none());
    let config = with("heartbeat: {url: {env: PING}}\n").unwrap();
    assert!(!format!("{config:?}").contains("s3cret"), "{config:?}");
    let heartbeat = config.heartbeat.unwrap();
    assert_eq!(heartbeat.every, Duration::from_mins(1));
    assert!(heartbeat.url.text().expose().ends_with("/s3cret-from-env"));
    assert_eq!(heartbeat.url.file(), None);
    let config =
        with("heartbeat: {url: 'https://h/x', proxy: 'http://p:1', timeout: 2s}\negress: strict\n");
    let http = config.unwrap().heartbeat.unwrap().http;
    assert_eq!(http.timeout, Duration::from_secs(2));
    assert_eq!(http.proxy.unwrap().expose().as_str(), "http://p:1/");
    assert!(http.egress.strict);
    let problems = with("heartbeat: {url: 'https://h/x', ca_file: none.pem}\n").unwrap_err();
    assert!(problems.to_string().contains("`ca_file`"), "{problems}");
    let config = with("heartbeat: {url: 'http://127.0.0.1:9/x', every: 5s}\n").unwrap();
    assert_eq!(config.heartbeat.unwrap().every, Duration::from_secs(5));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    for (wrong, expected) in [
        ("every: 5s", "16:12 the key `url` is missing here"),
        (
            "url: 'https://x', every: 1ms",
            "16:38 `every`: expected at least `1s`",
        ),
        (
            "url: ftp://x",
            "16:18 `url`: expected an http:// or https:// URL",
        ),
        (
            "url: 'https://me:pw@x'",
            "16:18 `url`: a URL must not hold a user name or password",
        ),
        (
            "url: {env: WRONG}",
            "16:18 `url`: expected an http:// or https:// URL",
        ),
        (
            "url: {env: NONE}",
            "16:18 `url`: the environment variable NONE is not set",
        ),
    ] {
        let problems = with(&format!("heartbeat: {{{wrong}}}\n")).unwrap_err();
        let shown = problems.to_string();
        assert!(!shown.contains("s3cret"), "{shown}");
        let problem = &problems.0[0];
        let said = format!("{}:{} {}", problem.line, problem.column, problem.message);
        assert!(said.starts_with(expected), "{wrong}: {said}");
    }
}

#[test]
fn a_receiver_has_failed_for_long_after_a_quarter_of_an_hour_unless_the_file_says_when() {
    let after = |config: Config| config.watchdog.receiver_failing_for;
    assert_eq!(after(read(SMALLEST).unwrap()), Duration::from_mins(15));
    let own = with("watchdog: {receiver_failing_for: 2h}\n").unwrap();
    assert_eq!(after(own), Duration::from_hours(2));
    let problems = with("watchdog: {receiver_failing_for: 0s}\n").unwrap_err();
    assert_eq!(
        problems.0[0].message,
        "`receiver_failing_for`: expected more than `0s`"
    );
}
