//! What the upstream can do so that an instance cannot be read, and the reason that is then told: every
//! row of the vendor's error table, and every fault of the simulator that stops reading.

use syncbell_simulator::{ErrorFault, ErrorShape, Fault, ResetIn, known_errors};

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// With every call.
    Fault(Fault),
    /// The environment has this key and secret.
    Key(&'static str, &'static str),
}

/// A row: its name, what goes wrong, the reason that must be told.
pub(crate) type Row = (String, Trouble, &'static str);

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = answers_that_do_not_come();
    rows.extend(known());
    rows.extend(other_statuses());
    rows.extend(shapes());
    rows.extend(throttling());
    rows.extend(answers_that_are_none());
    let keys = [
        ("no key in the environment", ("", ""), "credentials"),
        (
            "the secret of another key",
            ("simulatorAccessKeyId", "x"),
            "signature",
        ),
        (
            "a key that the server does not know",
            ("unknown", "x"),
            "rejected",
        ),
    ];
    rows.extend(
        keys.map(|(name, (id, secret), reason)| {
            (name.to_owned(), Trouble::Key(id, secret), reason)
        }),
    );
    // Those that take longest come first: the next try after a denial, and giving up an answer.
    rows.sort_by_key(|(_, _, reason)| *reason != "denied");
    rows
}

fn row(name: impl Into<String>, fault: Fault, reason: &'static str) -> Row {
    (name.into(), Trouble::Fault(fault), reason)
}

/// Every code that is known of the service, with its HTTP status.
fn known() -> Vec<Row> {
    let reason = |code: &str| match code {
        "NoPrivilege" | "Forbidden" | "Forbidden.RAM" => "denied",
        "SystemError" | "InternalError" | "UnknownError" | "ServiceUnavailable" => "unavailable",
        "Throttling" | "Throttling.User" | "Throttling.Api" => "throttled",
        "SignatureDoesNotMatch" | "IncompleteSignature" => "signature",
        "InvalidTimeStamp.Expired" => "clock",
        _ => "rejected",
    };
    let known = known_errors().iter();
    let rows = known.map(|known| {
        let name = format!("{} {}", known.status, known.code);
        row(
            name,
            Fault::error(known.status, known.code),
            reason(known.code),
        )
    });
    rows.collect()
}

/// The same codes with the other statuses that were reported, and codes that nobody knows: those go by
/// their status.
fn other_statuses() -> Vec<Row> {
    let errors = [
        (403, "Forbidden.Whatever", "denied"),
        (400, "Throttling.Whatever", "throttled"),
        (429, "Throttling.User", "throttled"),
        (400, "InvalidAccessKeyId.NotFound", "rejected"),
        (403, "SignatureDoesNotMatch", "signature"),
        (400, "MissingWhatever", "rejected"),
        (400, "Whatever", "rejected"),
        (404, "Whatever", "rejected"),
        (429, "Whatever", "throttled"),
        (500, "Whatever", "unavailable"),
    ];
    let rows = errors.map(|(status, code, reason)| {
        row(
            format!("{status} {code}"),
            Fault::error(status, code),
            reason,
        )
    });
    rows.into()
}

/// The forms in which an error may come.
fn shapes() -> Vec<Row> {
    use ErrorShape::{CutOff, Html, LowerCamel, Xml};

    let errors = [
        (LowerCamel, 403, "NoPrivilege", "denied"),
        (LowerCamel, 400, "Throttling.User", "throttled"),
        (Xml, 403, "Forbidden.RAM", "denied"),
        (Xml, 400, "Throttling.User", "throttled"),
        (Xml, 503, "ServiceUnavailable", "unavailable"),
        (Html, 502, "", "unavailable"),
        (Html, 504, "", "unavailable"),
        (Html, 429, "", "throttled"),
        (Html, 403, "", "malformed"),
        (CutOff, 500, "SystemError", "unavailable"),
        (CutOff, 403, "NoPrivilege", "malformed"),
    ];
    let mut rows: Vec<Row> = errors
        .into_iter()
        .map(|(shape, status, code, reason)| {
            let error = ErrorFault {
                status: Some(status),
                code: code.to_owned(),
                shape,
                ..ErrorFault::default()
            };
            row(
                format!("{status} {code} {shape:?}"),
                Fault::Error(error),
                reason,
            )
        })
        .collect();
    for code in [
        "INSTANCE_NOT_EXIST",
        "NAMESPACE_NOT_EXIST",
        "REPO_NOT_EXIST",
    ] {
        let code = code.to_owned();
        let name = format!("200 IsSuccess: false {code}");
        rows.push(row(name, Fault::NotSuccessful { code }, "rejected"));
    }
    rows.extend([
        row("NoPrivilege", Fault::NoPrivilege, "denied"),
        row("LowerCamelError", Fault::LowerCamelError, "denied"),
        row("XmlError", Fault::XmlError, "unavailable"),
        row("SystemError", Fault::SystemError, "unavailable"),
        row("Unavailable", Fault::Unavailable, "unavailable"),
        row("BadGateway", Fault::BadGateway, "unavailable"),
    ]);
    rows
}

/// Too fast, with each way of saying for how long to wait, as the simulator's README writes them.
fn throttling() -> Vec<Row> {
    let faults = [
        r#"{"throttled": {"retry_after_ms": 300}}"#,
        r#"{"throttled": {"retry_after_ms": null}}"#,
        r#"{"too_many_requests": {"retry_after_s": 1}}"#,
        r#"{"throttling": {"x_acs_retry_after": "300"}}"#,
        r#"{"throttling": {"x_acs_retry_after": "0"}}"#,
        r#"{"throttling": {"x_acs_retry_after": "soon"}}"#,
        r#"{"throttling": {"ratelimit_user_api_ms": 300}}"#,
        r#"{"throttling": {"ratelimit_user_ms": 300}}"#,
        r#"{"throttling": {"retry_after_s": 1}}"#,
        r#"{"throttling": {"retry_after_date_s": 2}}"#,
        r#"{"throttling": {"status": 429, "retry_after_s": 1}}"#,
        r#"{"throttling": {"status": 503, "code": "ServiceUnavailable", "retry_after_s": 1}}"#,
        r#"{"error": {"code": "Whatever", "headers": {"x-acs-retry-after": "300"}}}"#,
    ];
    let rows = faults.map(|json| {
        let fault = serde_json::from_str(json).expect("a fault of the simulator");
        row(json.replace('"', ""), fault, "throttled")
    });
    rows.into()
}

fn answers_that_do_not_come() -> Vec<Row> {
    vec![
        row("Silent", Fault::Silent, "unavailable"),
        row("Closed", Fault::Closed, "unavailable"),
        row("Slow 20 s", Fault::Slow { delay_ms: 20_000 }, "unavailable"),
        row(
            "Drip",
            Fault::Drip {
                bytes: 1,
                every_ms: 500,
            },
            "unavailable",
        ),
        row(
            "Reset(Headers)",
            Fault::Reset(ResetIn::Headers),
            "unavailable",
        ),
        row("Reset(Body)", Fault::Reset(ResetIn::Body), "malformed"),
        row("Truncated", Fault::Truncated { honest: false }, "malformed"),
    ]
}

fn answers_that_are_none() -> Vec<Row> {
    let huge = Fault::Huge {
        bytes: Fault::HUGE_BYTES,
    };
    vec![
        row(
            "Truncated honest",
            Fault::Truncated { honest: true },
            "malformed",
        ),
        row("Huge", huge, "malformed"),
        row("ClockSkew +20", Fault::ClockSkew { minutes: 20 }, "clock"),
        row("ClockSkew -20", Fault::ClockSkew { minutes: -20 }, "clock"),
        row(
            "PageNoIgnored",
            Fault::PageNoIgnored { echo_asked: false },
            "unstable",
        ),
        row(
            "PageNoIgnored echoed",
            Fault::PageNoIgnored { echo_asked: true },
            "unstable",
        ),
    ]
}
