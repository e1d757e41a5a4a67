//! Whatever a delivery holds: the provider takes it, and its markup is closed.

use proptest::prelude::*;

use super::*;
use crate::render::tests::properties::any_delivery;

/// A channel that mentions people; nothing is sent.
fn channel(provider: ChatProvider) -> ChatChannel {
    let at = At {
        mobiles: vec!["13800000000".into(); 10],
        users: vec!["U0123456789".into(); 10],
        all: true,
    };
    let chat = Chat {
        at,
        ..config(provider, &format!("https://chat.example.com/{CHAT_TOKEN}"))
    };
    ChatChannel::try_new(&chat).unwrap()
}

/// What is shown of a delivery, if the provider takes it and its markup is closed.
fn shown(channel: &ChatChannel, delivery: &Delivery, language: Language) -> Result<String, String> {
    let now = samples::now();
    let message = channel.message(&renderer(language), delivery, now);
    if !message.failures.is_empty() {
        return Err(format!("{:?}", message.failures));
    }
    let provider = ChatProvider::ALL.into_iter();
    let provider = provider.clone().find(|one| one.name() == channel.name());
    let provider = provider.expect("each channel has a fake");
    let request = channel
        .provider
        .request(&message, &channel.url.known(), now);
    serde_json::from_slice::<Value>(&request.body).map_err(|error| error.to_string())?;
    let read = provider.read(&request.body);
    let (title, text) = read.map_err(|refused| format!("{refused:?}"))?;
    let hidden = |c: char| (c.is_control() && c != '\n') || ('\u{202A}'..='\u{202E}').contains(&c);
    if title.contains(hidden) || text.contains(hidden) {
        return Err(format!("{title:?} {text:?}"));
    }
    // The title of the others is plain.
    let is_markup = matches!(provider, ChatProvider::Wecom | ChatProvider::Slack);
    let title_problem = provider.markup_problem(&title).filter(|_| is_markup);
    match title_problem.or_else(|| provider.markup_problem(&text)) {
        Some(problem) => Err(problem),
        None => Ok(format!("{title}\n{text}")),
    }
}

/// Texts of a megabyte each, of everything that could break something.
fn megabyte() -> Delivery {
    let evil = "磁盘🧑‍🚀\u{202E}\u{05D0}<!channel><@all><at id=all></at>*b*[t](u)`c`~_\\|#\r\n\0\"";
    let long = evil.repeat(1024 * 1024 / evil.len());
    let mut delivery = sample("hostile texts");
    for entry in &mut delivery.entries {
        (entry.item.reason, entry.item.summary) = (long.clone(), long.clone());
        (entry.item.rule, entry.message) = (long.clone(), Some(long.clone()));
        if let Some(task) = &mut entry.item.task {
            (task.issue, task.sync_rule_id) = (Some(long.clone()), Some(long.clone()));
            task.task_id = long.as_str().into();
        }
    }
    delivery.target.receiver = long;
    delivery
}

#[test]
fn every_sample_and_a_megabyte_of_hostile_text_is_taken() {
    for provider in ChatProvider::ALL {
        let channel = channel(provider);
        for language in Language::ALL {
            for (name, delivery) in samples::all() {
                let shown = shown(&channel, &delivery, language);
                assert!(shown.is_ok(), "{provider:?} {name}: {shown:?}");
            }
            let mut many = megabyte();
            let one = shown(&channel, &many, language);
            assert!(one.is_ok(), "{provider:?}: {one:?}");
            for count in [10, 40] {
                many.entries = vec![many.entries[0].clone(); count];
                let shown = shown(&channel, &many, language);
                assert!(shown.is_ok(), "{provider:?} {count}: {shown:?}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_goes_in_whole_items_and_is_counted() {
    for provider in ChatProvider::ALL {
        let channel = channel(provider);
        let several = several();
        let shown = shown(&channel, &several, Language::En).unwrap();
        let told = (0..10)
            .filter(|n| shown.contains(&format!("rst-number-{n}")))
            .count();
        assert!(told >= 1, "{provider:?}: {shown}");
        if told < 10 {
            let more = format!("… and {} more", 10 - told);
            assert!(shown.contains(&more), "{provider:?}: {more} in {shown}");
        }
        // None of them fits ten in full into 4 KB.
        assert_eq!(
            told == 10,
            provider == ChatProvider::Feishu,
            "{provider:?}: {told}"
        );
        assert!(shown.contains("syncbell deliveries show"), "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_delivery_fits_and_is_closed_markup(delivery in any_delivery()) {
        for provider in ChatProvider::ALL {
            let channel = channel(provider);
            for language in Language::ALL {
                let shown = shown(&channel, &delivery, language);
                prop_assert!(shown.is_ok(), "{:?}: {:?}", provider, shown);
            }
        }
    }
}
