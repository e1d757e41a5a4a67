//! Any bytes as the answer to each operation: a result or an error, never a panic, and an error that is fit
//! for a log.
//!
//! The input: which operation, status and content type, one header's value with its length, the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use syncbell_acr::Operation;
use syncbell_acr::measure::{Answered, TOKEN, answer};
use syncbell_event::SyncTask;

const STATUSES: [u16; 12] = [200, 400, 403, 404, 429, 500, 502, 503, 504, 204, 301, 999];
const TYPES: [&str; 4] = ["application/json;charset=utf-8", "text/xml;charset=utf-8", "text/html", ""];
const HEADERS: [&str; 5] = [
    "x-acs-retry-after",
    "x-ratelimit-user-api",
    "x-ratelimit-user",
    "retry-after",
    "date",
];

/// Longer than any error is.
const LONGEST: usize = 4_000;

fuzz_target!(|input: &[u8]| {
    let [operation, status, content_type, header, length, rest @ ..] = input else {
        return;
    };
    let pick = |byte: u8, n: usize| usize::from(byte) % n;
    let (value, body) = rest.split_at(pick(*length, 64).min(rest.len()));
    let value = String::from_utf8_lossy(value);
    let headers = [
        ("content-type", TYPES[pick(*content_type, TYPES.len())]),
        (HEADERS[pick(*header, HEADERS.len())], &*value),
    ];
    let operation = Operation::ALL[pick(*operation, Operation::ALL.len())];
    let status = STATUSES[pick(*status, STATUSES.len())];
    match answer(operation, status, &headers, body) {
        Ok(Answered { tasks, n_taken, n_refused, n_rows }) => {
            assert!((200..300).contains(&status) || n_rows == 0 && tasks.is_empty());
            assert_eq!(n_taken + n_refused, n_rows, "a row is neither taken nor refused");
            for task in tasks {
                let text = serde_json::to_string(&task).expect("a task is JSON");
                let back: SyncTask = serde_json::from_str(&text).expect("it was a task");
                assert_eq!(back, task, "{text}");
            }
        }
        Err(error) => {
            let told = error.to_string();
            assert!(told.len() < LONGEST && !told.contains(char::is_control), "{told:?}");
            assert!(!told.contains(TOKEN), "the token is shown: {told}");
            assert!(syncbell_acr::Error::CLASSES.contains(&error.class()));
            let _ = error.retry();
        }
    }
});
