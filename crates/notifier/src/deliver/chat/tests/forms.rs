//! What each provider shows, for people to look at.

use super::*;

fn shown(provider: ChatProvider, sampled: &str, language: Language) -> String {
    let channel = ChatChannel::try_new(&config(provider, "https://chat.example.com/x")).unwrap();
    let now = samples::now();
    let message = channel.message(&renderer(language), &sample(sampled), now);
    let request = channel
        .provider
        .request(&message, &channel.url.known(), now);
    let (title, text) = provider.read(&request.body).unwrap();
    format!("{title}\n~\n{text}").replace(crate::render::ZERO_WIDTH_SPACE, "^")
}

#[test]
fn messages_look_so() {
    for provider in ChatProvider::ALL {
        let all = [
            ("failed", Language::En),
            ("resolved", Language::Zh),
            ("begins and ends", Language::En),
            ("a digest", Language::Zh),
        ]
        .map(|(sampled, language)| shown(provider, sampled, language));
        insta::assert_snapshot!(provider.name(), all.join("\n\n=====\n\n"));
    }
}
