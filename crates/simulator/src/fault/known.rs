//! The errors that are known of the service: its page, other products' common tables, and reports.

/// An error that the service or its gateway may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownError {
    /// `Code`.
    pub code: &'static str,
    /// The HTTP status that comes with it.
    pub status: u16,
    /// `Message`.
    pub message: &'static str,
}

/// All of them. `SignatureDoesNotMatch` ends with the server's string to sign.
pub fn known_errors() -> &'static [KnownError] {
    &KNOWN
}

/// The one with this code.
pub(crate) fn known_error(code: &str) -> Option<&'static KnownError> {
    KNOWN.iter().find(|known| known.code == code)
}

const fn known(code: &'static str, status: u16, message: &'static str) -> KnownError {
    KnownError {
        code,
        status,
        message,
    }
}

const DENIED: &str = "Access denied for this user.";
const NOT_AUTHORIZED: &str = "User not authorized to operate on the specified resource.";
const FLOW_CONTROL: &str = "Request was denied due to user flow control.";
const API_FLOW_CONTROL: &str = "Request was denied due to api flow control.";
const TEMPORARY: &str = "The request has failed due to a temporary failure of the server.";
const UNKNOWN: &str = "The request processing has failed due to some unknown error.";
const API_NOT_FOUND: &str = "Specified api is not found, please check your url and method.";

static KNOWN: [KnownError; 34] = [
    known("NoPrivilege", 403, DENIED),
    known("Forbidden", 403, NOT_AUTHORIZED),
    known("Forbidden.RAM", 403, NOT_AUTHORIZED),
    known("SystemError", 500, "Unknown error."),
    known("InternalError", 500, UNKNOWN),
    known("UnknownError", 500, UNKNOWN),
    known("ServiceUnavailable", 503, TEMPORARY),
    known("Throttling", 400, FLOW_CONTROL),
    known("Throttling.User", 400, FLOW_CONTROL),
    known("Throttling.Api", 400, API_FLOW_CONTROL),
    known(
        "InvalidAccessKeyId.NotFound",
        404,
        "Specified access key is not found.",
    ),
    known(
        "InvalidAccessKeyId.Inactive",
        400,
        "Specified access key is disabled.",
    ),
    known(
        "InvalidSecurityToken.Expired",
        400,
        "Specified SecurityToken is expired.",
    ),
    known(
        "InvalidSecurityToken.Malformed",
        400,
        "Specified SecurityToken is malformed.",
    ),
    known(
        "InvalidSecurityToken.MismatchWithAccessKey",
        400,
        "Specified SecurityToken is mismatched with the AccessKey.",
    ),
    known(
        "SignatureDoesNotMatch",
        400,
        "Specified signature is not matched with our calculation. server string to sign is:",
    ),
    known(
        "IncompleteSignature",
        400,
        "The request signature does not conform to Aliyun standards.",
    ),
    known(
        "SignatureNonceUsed",
        400,
        "Specified signature nonce was used already.",
    ),
    known(
        "InvalidTimeStamp.Expired",
        400,
        "Specified time stamp or date value is expired.",
    ),
    known(
        "InvalidTimeStamp.Format",
        400,
        "Specified time stamp or date value is not well formatted.",
    ),
    known(
        "IllegalTimestamp",
        400,
        "The input parameter Timestamp that is mandatory for processing this request is not supplied.",
    ),
    known(
        "MissingTimestamp",
        400,
        "Timestamp is mandatory for this action.",
    ),
    known(
        "MissingAccessKeyId",
        400,
        "AccessKeyId is mandatory for this action.",
    ),
    known(
        "MissingInstanceId",
        400,
        "InstanceId is mandatory for this action.",
    ),
    known(
        "MissingSyncTaskId",
        400,
        "SyncTaskId is mandatory for this action.",
    ),
    known(
        "InvalidParameter",
        400,
        "The specified parameter is not valid.",
    ),
    known("InvalidApi.NotFound", 404, API_NOT_FOUND),
    known("InvalidAction.NotFound", 404, API_NOT_FOUND),
    known(
        "InvalidProduct.NotFound",
        404,
        "Cannot find product according to your specified domain.",
    ),
    known(
        "InvalidVersion",
        400,
        "Specified parameter Version is not valid.",
    ),
    known(
        "INSTANCE_NOT_EXIST",
        404,
        "The specified instance does not exist.",
    ),
    known(
        "NAMESPACE_NOT_EXIST",
        404,
        "The specified namespace does not exist.",
    ),
    known(
        "REPO_NOT_EXIST",
        404,
        "The specified repository does not exist.",
    ),
    known(
        "SYNC_TASK_NOT_EXIST",
        400,
        "The specified synchronization task does not exist.",
    ),
];
