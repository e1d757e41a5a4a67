//! A client that signs calls with ACS3-HMAC-SHA256.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use reqwest::{Method, Response};
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use syncbell_simulator::{DEMO_INSTANCE, Handle, Options, Simulator};

/// A call that can be spoilt before it is sent.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) key_id: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
    pub(crate) version: &'static str,
    pub(crate) action: String,
    pub(crate) date: Timestamp,
    pub(crate) nonce: String,
    /// Unencoded; ASCII letters, digits, `-` and `.` only.
    pub(crate) query: Vec<(String, String)>,
}

pub(crate) fn call(query: &[(&str, &str)]) -> Call {
    Call {
        method: Method::POST,
        key_id: "simulatorAccessKeyId".to_owned(),
        secret: "simulatorAccessKeySecret".to_owned(),
        token: None,
        version: "2018-12-01",
        action: "ListRepoSyncTask".to_owned(),
        date: Timestamp::now(),
        nonce: hex::encode(rand::random::<[u8; 16]>()),
        query: query
            .iter()
            .map(|&(k, v)| (k.to_owned(), v.to_owned()))
            .collect(),
    }
}

pub(crate) async fn start() -> Handle {
    Simulator::start(Options::default()).await.unwrap()
}

pub(crate) fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap()
}

impl Call {
    pub(crate) async fn send(&self, handle: &Handle) -> reqwest::Result<Response> {
        let mut pairs: Vec<String> = self.query.iter().map(|(k, v)| format!("{k}={v}")).collect();
        pairs.sort();
        let (query, body_hash) = (pairs.join("&"), hex::encode(Sha256::digest(b"")));
        let date = self.date.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let host = handle.addr().to_string();
        let mut headers = vec![
            ("host", host.as_str()),
            ("x-acs-action", &self.action),
            ("x-acs-content-sha256", &body_hash),
            ("x-acs-date", &date),
            ("x-acs-signature-nonce", &self.nonce),
            ("x-acs-version", self.version),
        ];
        headers.extend(
            self.token
                .iter()
                .map(|token| ("x-acs-security-token", token.as_str())),
        );
        headers.sort_unstable();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let signed = names.join(";");
        let lines = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"));
        let block: String = lines.collect();
        let canonical = format!(
            "{}\n/\n{query}\n{block}\n{signed}\n{body_hash}",
            self.method
        );
        let to_sign = format!(
            "ACS3-HMAC-SHA256\n{}",
            hex::encode(Sha256::digest(canonical.as_bytes()))
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).unwrap();
        mac.update(to_sign.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let mut request = http().request(self.method.clone(), format!("{}/?{query}", handle.url()));
        for (name, value) in &headers[1..] {
            request = request.header(*name, *value);
        }
        let authorization = format!(
            "ACS3-HMAC-SHA256 Credential={},SignedHeaders={signed},Signature={signature}",
            self.key_id
        );
        request.header("authorization", authorization).send().await
    }

    /// The same call with SignatureVersion 1.0: everything is a parameter.
    pub(crate) async fn json_v1(&self, handle: &Handle) -> (u16, Value) {
        let url = format!("{}/?{}", handle.url(), self.query_v1());
        let request = http().request(self.method.clone(), url);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// The same with everything in a form.
    pub(crate) async fn json_v1_form(&self, handle: &Handle) -> (u16, Value) {
        let request = http()
            .request(self.method.clone(), handle.url())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(self.query_v1());
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    fn query_v1(&self) -> String {
        let date = self.date.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let common = [
            ("Action", self.action.as_str()),
            ("Version", self.version),
            ("Format", "json"),
            ("Timestamp", &date),
            ("SignatureNonce", &self.nonce),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("AccessKeyId", &self.key_id),
        ];
        let own = self.query.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let mut pairs: Vec<_> = own
            .chain(common)
            .chain(
                self.token
                    .iter()
                    .map(|token| ("SecurityToken", token.as_str())),
            )
            .map(|(k, v)| format!("{k}={}", encoded(v)))
            .collect();
        pairs.sort();
        let query = pairs.join("&");
        let encoded = query
            .replace('%', "%25")
            .replace('=', "%3D")
            .replace('&', "%26");
        let key = format!("{}&", self.secret);
        let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(format!("{}&%2F&{encoded}", self.method).as_bytes());
        let signature = BASE64
            .encode(mac.finalize().into_bytes())
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3D");
        format!("{query}&Signature={signature}")
    }

    /// Status and JSON body.
    pub(crate) async fn json(&self, handle: &Handle) -> (u16, Value) {
        let response = self.send(handle).await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Status and the error's code.
    pub(crate) async fn code(&self, handle: &Handle) -> (u16, String) {
        let (status, body) = self.json(handle).await;
        (status, body["Code"].as_str().unwrap_or_default().to_owned())
    }
}

/// Of the signs that the tests use.
fn encoded(text: &str) -> String {
    let signs = [(":", "%3A"), ("/", "%2F"), ("+", "%2B"), ("=", "%3D")];
    signs.iter().fold(text.to_owned(), |text, (sign, code)| {
        text.replace(sign, code)
    })
}

/// A call of another operation.
pub(crate) fn call_of(action: &str, query: &[(&str, &str)]) -> Call {
    Call {
        action: action.to_owned(),
        ..call(query)
    }
}

/// One page of the demo instance.
pub(crate) async fn page(handle: &Handle, page_no: u32, page_size: u32) -> Value {
    let (page_no, page_size) = (page_no.to_string(), page_size.to_string());
    let query = [
        ("InstanceId", DEMO_INSTANCE),
        ("PageNo", &page_no),
        ("PageSize", &page_size),
    ];
    let (status, body) = call(&query).json(handle).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["IsSuccess"], true, "{body}");
    body
}

pub(crate) fn ids(page: &Value) -> Vec<String> {
    let rows = page["SyncTasks"].as_array().unwrap();
    rows.iter()
        .filter_map(|row| row["SyncTaskId"].as_str())
        .map(str::to_owned)
        .collect()
}
