//! Each robot refuses what its vendor's page says it refuses, in the words that stand there.

use serde_json::json;

use super::*;

const SECRET: &str = "this is secret";

/// A body that the provider takes.
fn body(provider: ChatProvider) -> Value {
    match provider {
        ChatProvider::Dingtalk => {
            json!({"msgtype": "markdown", "markdown": {"title": "t", "text": "x"}})
        }
        ChatProvider::Feishu => json!({"msg_type": "interactive", "card": {
            "schema": "2.0",
            "header": {"title": {"tag": "plain_text", "content": "t"}, "template": "red"},
            "body": {"elements": [{"tag": "markdown", "content": "x"}]},
        }}),
        ChatProvider::Wecom => json!({"msgtype": "markdown", "markdown": {"content": "t\nx"}}),
        ChatProvider::Slack => {
            json!({"text": "t", "attachments": [{"color": "#D00000", "text": "x"}]})
        }
    }
}

async fn post(url: &str, body: &str) -> String {
    let client = reqwest::Client::builder()
        .tls_certs_only([])
        .build()
        .expect("a client");
    let request = client.post(url).header("content-type", "application/json");
    let response = request
        .body(body.to_owned())
        .send()
        .await
        .expect("an answer");
    response.text().await.expect("a text")
}

#[tokio::test]
async fn what_is_right_is_taken_and_shown() {
    for provider in ChatProvider::ALL {
        let server = ChatServer::start(ChatOptions::of(provider)).await;
        let answer = post(server.url(), &body(provider).to_string()).await;
        let yes = answer == "ok" || answer.contains("\"errcode\":0") || answer.contains("success");
        assert!(yes, "{provider:?}: {answer}");
        assert_eq!(server.messages()[0].text(), "t\nx", "{provider:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused_in_the_vendor_s_words() {
    let [dingtalk, feishu, wecom, slack] = ChatProvider::ALL;
    let long = "x".repeat(21_000);
    let cases = [
        (
            dingtalk,
            "access_token=T0KEN",
            "access_token=other",
            None,
            "300005",
        ),
        (dingtalk, "", "", Some("{}".to_owned()), "400105"),
        (dingtalk, "", "", Some(long.clone()), "exceed 20000 bytes"),
        (feishu, "hook/T0KEN", "hook/other", None, "19001"),
        (feishu, "", "", Some("{}".to_owned()), "19002"),
        (feishu, "", "", Some(long), "19036"),
        (wecom, "key=T0KEN", "key=other", None, "93000"),
        (wecom, "", "", Some("{}".to_owned()), "40008"),
        (
            wecom,
            "",
            "",
            Some(
                json!({"msgtype": "markdown", "markdown": {"content": "磁".repeat(1366)}})
                    .to_string(),
            ),
            "40058",
        ),
        (slack, "/T0KEN", "/T0KENother", None, "invalid_token"),
        (slack, "", "", Some("no json".to_owned()), "invalid_payload"),
        (slack, "", "", Some("{}".to_owned()), "no_text"),
    ];
    for (provider, from, to, sent, expected) in cases {
        let server = ChatServer::start(ChatOptions::of(provider)).await;
        let url = server
            .url()
            .replacen(from, to, usize::from(!from.is_empty()));
        let sent = sent.unwrap_or_else(|| body(provider).to_string());
        let answer = post(&url, &sent).await;
        assert!(
            answer.contains(expected),
            "{provider:?} {expected}: {answer}"
        );
        assert!(server.messages().is_empty());
    }
}

#[tokio::test]
async fn what_is_not_signed_or_lacks_the_word_is_refused() {
    for provider in ChatProvider::ALL.into_iter().filter(|one| one.signs()) {
        let options = ChatOptions::of(provider);
        let signing = ChatServer::start(ChatOptions {
            secret: Some(SECRET.to_owned()),
            ..options.clone()
        })
        .await;
        let answer = post(signing.url(), &body(provider).to_string()).await;
        assert!(answer.contains("timestamp"), "{answer}");
        let asking = ChatServer::start(ChatOptions {
            keyword: Some("word".to_owned()),
            ..options
        })
        .await;
        let answer = post(asking.url(), &body(provider).to_string()).await;
        assert!(answer.to_lowercase().contains("key"), "{answer}");
    }
}

#[test]
fn signatures_are_those_of_the_vendors_pages() {
    assert_eq!(
        hmac(
            SECRET.as_bytes(),
            format!("1704067200000\n{SECRET}").as_bytes()
        ),
        "dP9mCg9FwTewq+eA/VwyLSqokv4ybdqzxKl+ukiQa68="
    );
    assert_eq!(
        hmac(b"1599360473\ndemo", b""),
        "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="
    );
}

#[tokio::test]
async fn one_too_many_is_refused() {
    for provider in ChatProvider::ALL {
        let server = ChatServer::start(ChatOptions::of(provider)).await;
        let (most, _) = provider.rates()[0];
        let mut refused = 0;
        for _ in 0..=most {
            post(server.url(), &body(provider).to_string()).await;
            refused = server.requests().len() - server.messages().len();
        }
        // A second passes quickly on a busy machine, a minute does not.
        let is_slow = provider.rates()[0].1 > SECOND;
        assert!(refused == 1 || !is_slow, "{provider:?}: {refused}");
    }
}

#[test]
fn open_markup_is_found_and_closed_markup_is_not() {
    let [dingtalk, feishu, wecom, slack] = ChatProvider::ALL;
    let closed = [
        (
            dingtalk,
            "#### t\n**a**: [x](https://h/) `c` \u{200B}[ \u{200B}*",
        ),
        (feishu, "**a**: &#60; <at id=all></at> `c`"),
        (wecom, "### <font color=\"warning\">t</font> <@user> ＜"),
        (slack, "*a*: &lt;!channel&gt; <https://h/|x> \u{200B}*"),
    ];
    for (provider, text) in closed {
        assert_eq!(provider.markup_problem(text), None);
    }
    let open = [
        (dingtalk, "**a"),
        (dingtalk, "[x](javascript:y)"),
        (dingtalk, "a [b"),
        (dingtalk, "<b>"),
        (feishu, "<at id=all"),
        (feishu, "`a"),
        (wecom, "<font color=\"warning\">t"),
        (wecom, "<font color=\"red\">t</font>"),
        (slack, "a & b"),
        (slack, "<!here>"),
        (slack, "*a"),
        (slack, "a > b"),
    ];
    for (provider, text) in open {
        assert!(provider.markup_problem(text).is_some(), "{text}");
    }
}
