use std::time::Duration;

use serde_json::json;

use super::*;
use crate::asked::Asked;
use crate::error::Retry;
use crate::operation::{LIST_INSTANCE, LIST_REPO_SYNC_RULE, LIST_REPO_SYNC_TASK, Operation};
use crate::page;
use crate::sign::{EMPTY_SHA256, Unsigned, sign};

/// In which form a refusal comes.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// The gateway's: `Code`, `Message`, `RequestId`.
    Upper,
    /// The same in lower camel case.
    Lower,
    /// `<Error>`, with its content type.
    Xml,
    /// `<Error>`, with another's content type.
    XmlUntyped,
    /// `IsSuccess: false`.
    NotSuccess,
    /// A page of a gateway between.
    Html,
    /// JSON of which the end is missing.
    Cut,
}

use Shape::{Cut, Html, Lower, NotSuccess, Upper, Xml, XmlUntyped};

impl Shape {
    fn of(name: &str) -> Self {
        match name {
            "upper" => Upper,
            "lower" => Lower,
            "xml" => Xml,
            "untyped" => XmlUntyped,
            "not-success" => NotSuccess,
            "html" => Html,
            "cut" => Cut,
            other => panic!("no such form: {other}"),
        }
    }
}

fn asked(operation: Operation) -> Asked {
    let query = [("InstanceId", "cri-1".to_owned())];
    let unsigned = Unsigned {
        method: "POST",
        query: &query,
        headers: &[("host", "cr.cn-shanghai.aliyuncs.com".to_owned())],
        body_sha256: EMPTY_SHA256,
    };
    Asked {
        operation,
        region: "cn-shanghai".to_owned(),
        instance_id: "cri-1".to_owned(),
        canonical: sign(&unsigned, "key", "secret", |_| true).canonical,
    }
}

fn answer(code: &str, status: u16, shape: Shape) -> (Head, String) {
    let (content_type, body) = match shape {
        Upper => (
            "application/json",
            json!({"RequestId": "R-1", "HostId": "h", "Code": code, "Message": "What it says."})
                .to_string(),
        ),
        Lower => (
            "application/json",
            json!({"requestId": "R-1", "code": code, "message": "What it says."}).to_string(),
        ),
        NotSuccess => (
            "application/json",
            json!({"RequestId": "R-1", "Code": code, "IsSuccess": false, "SyncTasks": []})
                .to_string(),
        ),
        Xml | XmlUntyped => (
            if matches!(shape, Xml) {
                "text/xml;charset=utf-8"
            } else {
                "application/octet-stream"
            },
            format!(
                "<?xml version='1.0' encoding='UTF-8'?>\n<Error><RequestId>R-1</RequestId><HostId>h</HostId><Code>{code}</Code><Message>What it says.</Message></Error>"
            ),
        ),
        Html => ("text/html", format!("<html><h1>{code}</h1></html>")),
        Cut => (
            "application/json",
            format!(r#"{{"RequestId":"R-1","Code":"{code}","Mess"#),
        ),
    };
    let head = Head {
        status,
        content_type: content_type.to_owned(),
        asked: Some(asked(LIST_REPO_SYNC_TASK)),
        ..Head::default()
    };
    (head, body)
}

fn read(head: &Head, body: &str) -> Error {
    page::page(head, body.as_bytes().to_vec(), Timestamp::UNIX_EPOCH).unwrap_err()
}

/// The vendor's codes with what becomes of each: code, HTTP status, forms, class, what the poller does.
/// `ANewOne` is none of them: what nobody documents goes by the status. Without a code it is a proxy or
/// a captive portal that does not speak this API.
const TABLE: &str = "
NoPrivilege                                | 403 | upper lower xml untyped      | denied      | slowly
NoPrivilege                                | 200 | not-success                  | denied      | slowly
Forbidden                                  | 403 | upper lower xml              | denied      | slowly
Forbidden.RAM                              | 403 | upper lower xml              | denied      | slowly
Forbidden.AccountClosed                    | 403 | upper                        | denied      | slowly
SystemError                                | 500 | upper lower xml html cut     | unavailable | backoff
SystemError                                | 200 | not-success                  | unavailable | backoff
InternalError                              | 500 | upper lower xml              | unavailable | backoff
UnknownError                               | 500 | upper lower xml              | unavailable | backoff
UnknownError                               | 400 | upper                        | unavailable | backoff
ServiceUnavailable                         | 503 | upper lower xml html cut     | unavailable | backoff
502 Bad Gateway                            | 502 | html cut                     | unavailable | backoff
504 Gateway Time-out                       | 504 | html cut                     | unavailable | backoff
Throttling                                 | 400 | upper lower xml              | throttled   | backoff
Throttling                                 | 429 | upper lower xml html cut     | throttled   | backoff
Throttling.User                            | 400 | upper lower xml              | throttled   | backoff
Throttling.User                            | 200 | not-success                  | throttled   | backoff
Throttling.Api                             | 400 | upper lower xml              | throttled   | backoff
Throttling.Another                         | 503 | upper                        | throttled   | backoff
InvalidAccessKeyId.NotFound                | 404 | upper lower xml              | rejected    | slowly
InvalidAccessKeyId.NotFound                | 400 | upper                        | rejected    | slowly
InvalidAccessKeyId.Inactive                | 400 | upper lower xml              | rejected    | slowly
InvalidSecurityToken.Expired               | 400 | upper lower xml              | rejected    | slowly
InvalidSecurityToken.Malformed             | 400 | upper                        | rejected    | slowly
InvalidSecurityToken.MismatchWithAccessKey | 400 | upper                        | rejected    | slowly
SignatureDoesNotMatch                      | 400 | upper lower xml              | signature   | slowly
SignatureDoesNotMatch                      | 403 | upper                        | signature   | slowly
IncompleteSignature                        | 400 | upper lower xml              | signature   | slowly
SignatureNonceUsed                         | 400 | upper lower xml              | rejected    | slowly
InvalidTimeStamp.Expired                   | 400 | upper lower xml              | clock       | slowly
InvalidTimeStamp.Format                    | 400 | upper                        | rejected    | slowly
IllegalTimestamp                           | 400 | upper                        | rejected    | slowly
MissingTimestamp                           | 400 | upper                        | rejected    | slowly
MissingInstanceId                          | 400 | upper lower xml              | rejected    | slowly
InvalidParameter                           | 400 | upper lower xml              | rejected    | slowly
InvalidApi.NotFound                        | 404 | upper                        | rejected    | slowly
InvalidAction.NotFound                     | 404 | upper                        | rejected    | slowly
InvalidProduct.NotFound                    | 404 | upper                        | rejected    | slowly
INSTANCE_NOT_EXIST                         | 200 | not-success                  | rejected    | slowly
INSTANCE_NOT_EXIST                         | 404 | upper                        | rejected    | slowly
NAMESPACE_NOT_EXIST                        | 200 | not-success                  | rejected    | slowly
REPO_NOT_EXIST                             | 200 | not-success                  | rejected    | slowly
ANewOne                                    | 400 | upper lower xml              | rejected    | slowly
ANewOne                                    | 409 | upper                        | rejected    | slowly
ANewOne                                    | 500 | upper                        | unavailable | backoff
ANewOne                                    | 599 | upper html                   | unavailable | backoff
ANewOne                                    | 429 | upper                        | throttled   | backoff
ForbiddenFruit                             | 400 | upper                        | rejected    | slowly
                                           | 400 | upper lower                  | malformed   | backoff
                                           | 200 | not-success html cut         | malformed   | backoff
403 Forbidden                              | 403 | html cut                     | malformed   | backoff
404 Not Found                              | 404 | html                         | malformed   | backoff
";

#[test]
fn each_code_of_the_vendor_has_its_class_and_its_retry() {
    let rows = TABLE.lines().filter(|row| !row.is_empty());
    for row in rows {
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        let [code, status, shapes, class, retry] = columns[..] else {
            panic!("five columns: {row}");
        };
        let retry = match retry {
            "slowly" => Retry::Slowly,
            "backoff" => Retry::Backoff,
            other => panic!("no such retry: {other}"),
        };
        for shape in shapes.split(' ').filter(|shape| !shape.is_empty()) {
            let (head, body) = answer(code, status.parse().unwrap(), Shape::of(shape));
            let error = read(&head, &body);
            let told = format!("{code} {status} {shape}: {error}");
            assert_eq!((error.class(), error.retry()), (class, retry), "{told}");
            assert!(Error::CLASSES.contains(&error.class()));
            if !matches!(shape, "html" | "cut") && class != "malformed" {
                let told = error.to_string();
                assert!(told.contains(code) && told.contains("R-1"), "{told}");
            }
        }
    }
}

#[test]
fn the_vendors_header_makes_any_error_a_throttle_and_its_delay_is_kept() {
    for (code, status, shape) in [
        ("Throttling.User", 400, Upper),
        ("NoPrivilege", 403, Lower),
        ("ANewOne", 400, Xml),
        ("SystemError", 500, Upper),
        ("INSTANCE_NOT_EXIST", 200, NotSuccess),
        ("", 502, Html),
        ("", 400, Cut),
    ] {
        let (mut head, body) = answer(code, status, shape);
        head.asks_to_wait = true;
        head.retry_after = Some(Duration::from_millis(1_234));
        let retry = read(&head, &body).retry();
        assert_eq!(retry, Retry::After(Duration::from_millis(1_234)), "{code}");
    }
    // Of a success it says nothing.
    let head = Head {
        status: 200,
        asks_to_wait: true,
        ..Head::default()
    };
    assert!(page::page(&head, b"{\"SyncTasks\":[]}".to_vec(), Timestamp::UNIX_EPOCH).is_ok());
}

fn denied(operation: Operation, detail: &Value) -> String {
    let head = Head {
        status: 403,
        asked: Some(asked(operation)),
        ..Head::default()
    };
    let body = json!({"Code": "NoPrivilege", "Message": "No.", "RequestId": "R-1", "AccessDeniedDetail": detail});
    read(&head, &body.to_string()).to_string()
}

#[test]
fn a_denial_names_the_statement_that_is_missing() {
    let mine =
        json!({"AuthPrincipalOwnerId": "1000000000000001", "AuthAction": "cr:GetRepositorySync"});
    assert_eq!(
        denied(LIST_REPO_SYNC_TASK, &mine),
        "denied: NoPrivilege: No.: the RAM policy needs cr:GetRepositorySync on \
         acs:cr:cn-shanghai:1000000000000001:repository/cri-1 (request R-1)"
    );
    for (operation, detail, statement) in [
        (
            LIST_REPO_SYNC_TASK,
            Value::Null,
            "cr:GetRepositorySync on acs:cr:cn-shanghai:*:repository/cri-1",
        ),
        (
            LIST_REPO_SYNC_RULE,
            Value::Null,
            "cr:ListSyncRule on acs:cr:cn-shanghai:*:repository/cri-1",
        ),
        (LIST_INSTANCE, Value::Null, "cr:ListInstance on * (request"),
        (LIST_INSTANCE, mine, "cr:GetRepositorySync on * (request"),
        // The server knows better what it wants, as long as it is one of its own words.
        (
            LIST_REPO_SYNC_RULE,
            json!({"AuthAction": "cr:ListRepoSyncRule"}),
            "cr:ListRepoSyncRule on",
        ),
        (
            LIST_REPO_SYNC_RULE,
            json!({"AuthAction": "ram:* on *, cr:x"}),
            "cr:ListSyncRule on",
        ),
        (
            LIST_REPO_SYNC_TASK,
            json!({"AuthPrincipalOwnerId": "*/../x"}),
            "cn-shanghai:*:repository",
        ),
        (
            LIST_REPO_SYNC_TASK,
            json!("a text"),
            "cr:GetRepositorySync on",
        ),
        (
            LIST_REPO_SYNC_TASK,
            json!({"authPrincipalOwnerId": 17}),
            "acs:cr:cn-shanghai:17:repository",
        ),
    ] {
        let told = denied(operation, &detail);
        assert!(told.contains(statement), "{told}");
    }
}

#[test]
fn xml_has_its_entities_and_its_detail() {
    let (mut head, _) = answer("", 403, Xml);
    head.date = None;
    let body = "<Error><Code>Forbidden.RAM</Code><Message>a &amp;lt; b</Message><RequestId>R-1</RequestId>\
        <AccessDeniedDetail><AuthPrincipalOwnerId>42</AuthPrincipalOwnerId></AccessDeniedDetail></Error>";
    let told = read(&head, body).to_string();
    assert!(
        told.contains("a &lt; b") && told.contains("cn-shanghai:42:"),
        "{told}"
    );
}

#[test]
fn a_wrong_signature_says_what_to_look_at() {
    let (head, _) = answer("", 400, Upper);
    let ours = head.asked.as_ref().unwrap().canonical.expose().to_owned();
    let told = |theirs: &str| {
        let message = format!(
            "Specified signature is not matched with our calculation. server string to sign is:{theirs}"
        );
        let body = json!({"Code": "SignatureDoesNotMatch", "Message": message, "RequestId": "R-1"});
        read(&head, &body.to_string()).to_string()
    };
    let equal = told(&ours);
    assert!(
        equal.contains("the access key's secret is wrong"),
        "{equal}"
    );
    let changed = told(&ours.replace("cr.cn-shanghai.aliyuncs.com", "gateway"));
    assert!(changed.contains("the header host was"), "{changed}");
}
