use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::json;
use sha2::Sha256;

use syncbell_simulator::receiver::{Options, Receiver};

use crate::client::http;

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

async fn post(receiver: &Receiver, id: &str, body: &str, key: &[u8]) -> u16 {
    let timestamp = Timestamp::now().as_second().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    let signature = format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()));
    let request = http()
        .post(receiver.url())
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature)
        .body(body.to_owned());
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn it_believes_signatures_fails_on_request_and_keeps_what_came() {
    let secret = Some(format!("whsec_{}", BASE64.encode(KEY)));
    let receiver = Receiver::start(Options {
        secret,
        ..Options::default()
    })
    .await
    .unwrap();
    let alert = json!({"data": {"alerts": [
        {"rule": "failed", "status": "firing", "task": {"task_id": "rst-1"}},
    ]}})
    .to_string();

    assert_eq!(post(&receiver, "m1", &alert, b"another key").await, 401);
    receiver.fail_next(1, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(post(&receiver, "m1", &alert, KEY).await, 503);
    assert_eq!(post(&receiver, "m1", &alert, KEY).await, 204);
    assert_eq!(post(&receiver, "m2", "no json", KEY).await, 400);

    let answered: Vec<u16> = receiver
        .receipts()
        .iter()
        .map(|receipt| receipt.answered)
        .collect();
    assert_eq!(answered, [401, 503, 204, 400]);
    let third = receiver.receipt(2).await.unwrap();
    assert_eq!(
        (third.webhook_id.as_str(), third.is_accepted()),
        ("m1", true)
    );
    let got = receiver.got();
    assert_eq!(got.len(), 1);
    assert_eq!(
        (got[0].task_id.as_str(), got[0].id.as_str()),
        ("rst-1", "m1")
    );

    let waiting = receiver.clone();
    let (next, stopped) = tokio::join!(waiting.receipt(4), receiver.stop());
    assert_eq!((next, stopped), (None, true));
}
