//! Bodies by a template of the operator.

use syncbell_config::{BodyTemplate as File, Console, Language, Templates};

use super::*;
use crate::deliver::email::tests::delivery;
use crate::render::Renderers;

async fn sent(template: &str, content_type: Option<&str>) -> (Option<TemplateFailure>, Seen) {
    let receiver = Receiver::default();
    let address = receiver.start(|| answering(204, &[], "")).await;
    let mut webhook = config(&format!("http://{address}/"));
    webhook.template = Some(File {
        path: "ops.json".into(),
        text: template.to_owned(),
    });
    webhook.content_type = content_type.map(str::to_owned);
    let channel = WebhookChannel::try_new(&webhook).unwrap();
    let renderers = Renderers::try_new(&Templates::default(), &Console::default()).unwrap();
    let now = Timestamp::now();
    let renderer = renderers.of(Language::En);
    let (payload, failure) = channel.payload(&renderer, &delivery(&["feedc0de"]), now);
    let outcome = channel.send(&id(), None, payload, now).await.outcome;
    assert_eq!(outcome.name(), "delivered");
    let seen = receiver.seen.lock().unwrap().remove(0);
    // What was signed is what was sent.
    let oracle = standardwebhooks::Webhook::from_bytes(SECRET.as_bytes().to_vec()).unwrap();
    oracle.verify(&seen.body, &seen.headers).unwrap();
    (failure, seen)
}

#[tokio::test]
async fn a_template_gives_the_body_and_its_content_type() {
    let (failure, seen) = sent("{\"incident\": {{ event.data.alerts[0].incident }}}", None).await;
    assert!(failure.is_none());
    assert_eq!(seen.body, "{\"incident\": \"feedc0de\"}");
    assert_eq!(seen.headers["content-type"], "application/json");
    let (failure, seen) = sent("{{ severity }}!", Some("text/plain")).await;
    assert!(failure.is_none());
    assert_eq!(seen.body, "error!");
    assert_eq!(seen.headers["content-type"], "text/plain");
}

#[tokio::test]
async fn where_a_template_fails_the_built_in_body_is_sent_and_said_to_be_what_it_is() {
    for template in ["{\"a\": {{ nothing }}}", "{\"a\": \"{{ title }}\"}"] {
        let (failure, seen) = sent(template, Some("application/vnd.ops+json")).await;
        assert_eq!(failure.unwrap().template, "webhook.body");
        assert_eq!(seen.headers["content-type"], syncbell_event::CONTENT_TYPE);
        let body: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
        assert_eq!(body["data"]["alerts"][0]["incident"], "feedc0de");
    }
}

#[test]
fn a_template_that_does_not_compile_is_no_channel() {
    let mut webhook = config("http://127.0.0.1:1/");
    webhook.template = Some(File {
        path: "ops.json".into(),
        text: "{{ title }".to_owned(),
    });
    let error = WebhookChannel::try_new(&webhook).err().unwrap();
    assert!(matches!(error, SetupError::Template(problem) if problem.line == 1));
}
