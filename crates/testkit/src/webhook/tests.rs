use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const LONG: Duration = Duration::from_secs(20);

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(LONG)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// A signed request; the signature is for `signed`, the body is `sent`.
fn post(receiver: &WebhookReceiver, signed: &str, sent: &'static str) -> reqwest::RequestBuilder {
    let now = Timestamp::now().as_second();
    let signer = standardwebhooks::Webhook::new(SECRET).unwrap();
    let signature = signer.sign("msg-1", now, signed.as_bytes()).unwrap();
    let post = client().post(receiver.url()).body(sent);
    post.header("webhook-id", "msg-1")
        .header("webhook-timestamp", now)
        .header("webhook-signature", signature)
}

#[tokio::test]
async fn what_came_is_kept_and_its_signature_checked() {
    let receiver = WebhookReceiver::start(SECRET).await;
    let sent = r#"{"a":1}"#;
    assert_eq!(
        post(&receiver, sent, sent).send().await.unwrap().status(),
        204
    );
    post(&receiver, "another body", sent).send().await.unwrap();
    client().get(receiver.url()).send().await.unwrap();

    let requests = receiver.wait_for(3, LONG).await;
    assert_eq!(requests[0].id, "msg-1");
    assert_eq!(requests[0].body["a"], 1);
    assert!(requests[0].timestamp.is_some() && requests[0].accepted());
    assert_eq!(requests[2].timestamp, None);
    let verified: Vec<bool> = requests.iter().map(|request| request.verified).collect();
    assert_eq!(verified, [true, false, false]);
}

#[tokio::test]
async fn it_answers_as_it_is_told_then_as_always() {
    let receiver = WebhookReceiver::start_without_secret().await;
    receiver.answer_next(1, Answer::status(503).with_header("retry-after", "7"));
    receiver.answer_next(1, Answer::close());
    receiver.answer_next(1, Answer::redirect("http://127.0.0.1:1/"));
    receiver.answer_always(Answer::status(202));
    let ask = || client().post(receiver.url()).send();

    let busy = ask().await.unwrap();
    assert_eq!(
        (busy.status().as_u16(), &busy.headers()["retry-after"]),
        (503, &"7".parse().unwrap())
    );
    let closed = ask().await.unwrap_err();
    assert!(!closed.is_timeout(), "{closed:?}");
    let moved = ask().await.unwrap();
    assert_eq!(
        (moved.status().as_u16(), &moved.headers()["location"]),
        (301, &"http://127.0.0.1:1/".parse().unwrap())
    );
    assert_eq!(ask().await.unwrap().status(), 202);

    assert_eq!(receiver.wait_for_accepted(1, LONG).await.len(), 1);
    let answered: Vec<_> = receiver
        .requests()
        .iter()
        .map(|request| request.answered)
        .collect();
    assert_eq!(answered, [Some(503), None, Some(301), Some(202)]);
}

#[tokio::test]
async fn a_client_that_gives_up_was_not_answered() {
    let receiver = WebhookReceiver::start_without_secret().await;
    receiver.answer_always(Answer::status(200).after(Duration::from_mins(10)));
    let impatient = client()
        .post(receiver.url())
        .timeout(Duration::from_millis(100));
    assert!(impatient.send().await.unwrap_err().is_timeout());
    assert_eq!(receiver.wait_for(1, LONG).await[0].answered, None);
}

#[tokio::test]
async fn it_speaks_tls_under_an_authority_of_its_own() {
    let receiver = WebhookReceiver::start_tls(SECRET).await;
    assert!(client().post(receiver.url()).send().await.is_err());
    let pem = std::fs::read(receiver.ca_pem_path()).unwrap();
    let client = reqwest::Client::builder()
        .timeout(LONG)
        .tls_certs_only([reqwest::Certificate::from_pem(&pem).unwrap()])
        .build()
        .unwrap();
    assert_eq!(
        client.post(receiver.url()).send().await.unwrap().status(),
        204
    );
    receiver.answer_next(1, Answer::close());
    assert!(client.post(receiver.url()).send().await.is_err());
}

#[tokio::test]
#[should_panic(expected = "waited in vain for 1 requests at http://127.0.0.1:")]
async fn waiting_in_vain_says_for_what() {
    let receiver = WebhookReceiver::start_without_secret().await;
    receiver.wait_for(1, Duration::from_millis(50)).await;
}
