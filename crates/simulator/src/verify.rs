//! Checks a call's signature as the vendor's gateway does.
//!
//! In: the call as it came over the wire, the key that is valid, the server's clock. Out: yes, or
//! why not. Shares no code with the client that Syncbell has: two readings of one specification.
//! Must never happen: an early return that depends on how much of a signature was right.
//!
//! Specification: the vendor's SDKs, as written down with vectors A1-A4 (ACS3-HMAC-SHA256) and B1,
//! B2 (SignatureVersion 1.0); the tests prove it against those.

use std::fmt;

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use sha1::Sha1;
use sha2::{Digest, Sha256};

const ALGORITHM: &str = "ACS3-HMAC-SHA256";
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
/// How far a call's date may be from the server's clock.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(15);
/// What an ACS3 call must sign at least; the rest of its list is up to the caller.
const MUST_SIGN: [&str; 6] = [
    "host",
    "x-acs-action",
    "x-acs-content-sha256",
    "x-acs-date",
    "x-acs-signature-nonce",
    "x-acs-version",
];

/// A call as it came.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Decoded; query first, then a form body's.
    pub(crate) parameters: Vec<(Vec<u8>, Vec<u8>)>,
    /// How many of `parameters` came in the query.
    pub(crate) n_query: usize,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn new(
        method: &str,
        path: &str,
        raw_query: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Self {
        let mut parameters = decode_pairs(raw_query.as_bytes());
        let n_query = parameters.len();
        let content_type = headers
            .get("content-type")
            .map_or(&b""[..], |value| value.as_bytes());
        if content_type.starts_with(b"application/x-www-form-urlencoded") {
            parameters.extend(decode_pairs(&body));
        }
        let (method, path) = (method.to_owned(), path.to_owned());
        Self {
            method,
            path,
            parameters,
            n_query,
            headers,
            body,
        }
    }

    /// A parameter's value; absent and empty are the same to the service.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters
            .iter()
            .find(|(key, _)| key == name.as_bytes())
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    }

    /// The action or another common parameter, which may be a header or a query parameter.
    pub(crate) fn common(&self, header: &str, parameter: &str) -> Option<String> {
        self.header(header)
            .map(str::to_owned)
            .or_else(|| self.parameter(parameter))
    }
}

/// The key that the service knows.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
    /// With STS credentials: what the caller must present.
    pub(crate) security_token: Option<String>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.id).finish()
    }
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No signature at all.
    Unsigned,
    /// A signature of a kind or form that the service does not know.
    Incomplete,
    /// Not the key that the service knows.
    UnknownKey,
    /// Another security token than the key's.
    Token,
    /// A key that was good until a while ago.
    Expired,
    /// No date, or not `YYYY-MM-DDThh:mm:ssZ`.
    DateFormat,
    /// More than 15 minutes off.
    DateExpired,
    /// The signature is of something else, or by another secret.
    Mismatch { string_to_sign: String },
}

/// Checks everything but the nonce, which is given back for the caller to compare with those before.
pub(crate) fn verify(call: &Call, key: &Key, now: Timestamp) -> Result<String, Refusal> {
    match call.header("authorization") {
        Some(authorization) => verify_acs3(call, authorization, key, now),
        None if call.parameter("Signature").is_some() => verify_v1(call, key, now),
        None => Err(Refusal::Unsigned),
    }
}

/// The key that the call claims to be signed with.
pub(crate) fn key_id(call: &Call) -> Option<String> {
    match call.header("authorization") {
        Some(text) => Some(Authorization::parse(text)?.credential),
        None => call.parameter("AccessKeyId"),
    }
}

fn verify_acs3(
    call: &Call,
    authorization: &str,
    key: &Key,
    now: Timestamp,
) -> Result<String, Refusal> {
    let authorization = Authorization::parse(authorization).ok_or(Refusal::Incomplete)?;
    if authorization.credential != key.id {
        return Err(Refusal::UnknownKey);
    }
    let token = call.header("x-acs-security-token");
    if token != key.security_token.as_deref() {
        return Err(Refusal::Token);
    }
    let signs = |name: &str| {
        authorization
            .signed_headers
            .iter()
            .any(|signed| signed == name)
    };
    if !MUST_SIGN.iter().all(|name| signs(name))
        || (token.is_some() && !signs("x-acs-security-token"))
    {
        return Err(Refusal::Incomplete);
    }
    check_date(call.header("x-acs-date"), now)?;
    let nonce = call
        .header("x-acs-signature-nonce")
        .unwrap_or_default()
        .to_owned();
    let string_to_sign = acs3_string_to_sign(call, &authorization.signed_headers);
    let mut mac = Hmac::<Sha256>::new_from_slice(key.secret.as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(string_to_sign.as_bytes());
    match hex::decode(&authorization.signature) {
        Ok(signature) if mac.verify_slice(&signature).is_ok() => Ok(nonce),
        _ => Err(Refusal::Mismatch { string_to_sign }),
    }
}

/// What the service would have signed for this call; `None` if the call is not signed at all.
pub(crate) fn string_to_sign(call: &Call) -> Option<String> {
    match call.header("authorization") {
        Some(text) => {
            let authorization = Authorization::parse(text)?;
            Some(acs3_string_to_sign(call, &authorization.signed_headers))
        }
        None => call.parameter("Signature").map(|_| v1_string_to_sign(call)),
    }
}

struct Authorization {
    credential: String,
    /// Sorted, lower case.
    signed_headers: Vec<String>,
    signature: String,
}

impl Authorization {
    fn parse(text: &str) -> Option<Self> {
        let fields = text.strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for field in fields.split(',') {
            let (name, value) = field.trim().split_once('=')?;
            match name {
                "Credential" => credential = Some(value.to_owned()),
                "SignedHeaders" => signed_headers = Some(value),
                "Signature" => signature = Some(value.to_owned()),
                _ => return None,
            }
        }
        let mut names: Vec<String> = signed_headers?
            .split(';')
            .map(str::to_ascii_lowercase)
            .collect();
        names.sort();
        names.dedup();
        Some(Self {
            credential: credential?,
            signed_headers: names,
            signature: signature?,
        })
    }
}

fn acs3_string_to_sign(call: &Call, signed_headers: &[String]) -> String {
    let request = canonical_request(call, signed_headers);
    format!("{ALGORITHM}\n{}", hex::encode(Sha256::digest(request)))
}

fn canonical_request(call: &Call, signed_headers: &[String]) -> Vec<u8> {
    let mut text = format!(
        "{}\n{}\n{}\n",
        call.method,
        call.path,
        canonical_query(&call.parameters[..call.n_query])
    )
    .into_bytes();
    for name in signed_headers {
        let mut values: Vec<&[u8]> = call
            .headers
            .get_all(name)
            .iter()
            .map(|value| value.as_bytes().trim_ascii())
            .collect();
        values.sort_unstable();
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        text.extend(values.join(&b","[..]));
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend_from_slice(signed_headers.join(";").as_bytes());
    text.push(b'\n');
    // Of the body that came, not of the header that claims to be it.
    text.extend_from_slice(hex::encode(Sha256::digest(&call.body)).as_bytes());
    text
}

fn verify_v1(call: &Call, key: &Key, now: Timestamp) -> Result<String, Refusal> {
    let is = |name: &str, wanted: &str| call.parameter(name).as_deref() == Some(wanted);
    if !is("SignatureMethod", "HMAC-SHA1") || !is("SignatureVersion", "1.0") {
        return Err(Refusal::Incomplete);
    }
    if !is("AccessKeyId", &key.id) {
        return Err(Refusal::UnknownKey);
    }
    if call.parameter("SecurityToken") != key.security_token {
        return Err(Refusal::Token);
    }
    check_date(call.parameter("Timestamp").as_deref(), now)?;
    let nonce = call
        .parameter("SignatureNonce")
        .ok_or(Refusal::Incomplete)?;
    let string_to_sign = v1_string_to_sign(call);
    let mut mac = Hmac::<Sha1>::new_from_slice(format!("{}&", key.secret).as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(string_to_sign.as_bytes());
    match BASE64.decode(call.parameter("Signature").unwrap_or_default()) {
        Ok(signature) if mac.verify_slice(&signature).is_ok() => Ok(nonce),
        _ => Err(Refusal::Mismatch { string_to_sign }),
    }
}

fn v1_string_to_sign(call: &Call) -> String {
    let signed: Vec<_> = call
        .parameters
        .iter()
        .filter(|(key, _)| key != b"Signature")
        .cloned()
        .collect();
    format!(
        "{}&%2F&{}",
        call.method,
        encode(canonical_query(&signed).as_bytes())
    )
}

fn check_date(date: Option<&str>, now: Timestamp) -> Result<(), Refusal> {
    let date = date.ok_or(Refusal::DateFormat)?;
    let well_formed = date.len() == "YYYY-MM-DDThh:mm:ssZ".len() && date.ends_with('Z');
    let date: Timestamp = match date.parse() {
        Ok(date) if well_formed => date,
        _ => return Err(Refusal::DateFormat),
    };
    if now.duration_since(date).abs() > TOLERANCE {
        return Err(Refusal::DateExpired);
    }
    Ok(())
}

/// Sorted by byte value, each side percent-encoded with the unreserved set only.
fn canonical_query(parameters: &[(Vec<u8>, Vec<u8>)]) -> String {
    let mut sorted: Vec<_> = parameters.iter().collect();
    sorted.sort();
    let pairs: Vec<String> = sorted
        .iter()
        .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
        .collect();
    pairs.join("&")
}

fn encode(bytes: &[u8]) -> String {
    percent_encode(bytes, UNRESERVED).to_string()
}

/// `a=b&c=d` as SDKs send it: percent-encoded, and a space may be a `+`.
fn decode_pairs(raw: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let decode = |part: &[u8]| -> Vec<u8> {
        let spaced: Vec<u8> = part
            .iter()
            .map(|&byte| if byte == b'+' { b' ' } else { byte })
            .collect();
        percent_decode(&spaced).collect()
    };
    raw.split(|&byte| byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let cut = pair
                .iter()
                .position(|&byte| byte == b'=')
                .unwrap_or(pair.len());
            (
                decode(&pair[..cut]),
                decode(pair.get(cut + 1..).unwrap_or_default()),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests;
