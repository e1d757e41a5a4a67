//! The operator's templates of chats.

use syncbell_config::{Console, TEMPLATE_NAMES, TemplateFile, Templates};

use super::*;
use crate::render::Renderers;

fn file(name: &str, text: &str) -> Templates {
    let known = TEMPLATE_NAMES.into_iter().find(|known| *known == name);
    Templates {
        files: vec![TemplateFile {
            name: known.expect("a name of a template"),
            language: None,
            path: name.into(),
            text: text.to_owned(),
        }],
    }
}

fn written(provider: ChatProvider, files: &Templates, sampled: &str) -> ChatMessage {
    let channel = ChatChannel::try_new(&config(provider, "https://chat.example.com/x")).unwrap();
    let renderers = Renderers::try_new(files, &Console::default()).unwrap();
    let renderer = renderers.of(Language::En);
    channel.message(&renderer, &sample(sampled), samples::now())
}

#[test]
fn one_file_takes_the_place_of_one_template_and_its_values_are_no_markup() {
    for provider in ChatProvider::ALL {
        let name = provider.name();
        let built_in = written(provider, &Templates::default(), "failed");
        let own = written(
            provider,
            &file(&format!("{name}.title"), "({{ severity }})"),
            "failed",
        );
        assert_eq!((own.title.as_str(), &own.text), ("(error)", &built_in.text));
        let text = "{{ entries[0].alert.reason }} {{ 'a<b'|strong }} {{ 'x'|link('https://h/') }} {{ 'c'|code }}";
        let own = written(
            provider,
            &file(&format!("{name}.text"), text),
            "hostile texts",
        );
        assert_eq!(own.failures, []);
        assert_ne!(own.text, built_in.text);
        assert_eq!(provider.markup_problem(&own.text), None, "{}", own.text);
        let (strong, link) = match provider {
            ChatProvider::Slack => ("*a&lt;b*", "<https://h/|x>"),
            ChatProvider::Feishu => ("**a&#60;b**", "[x](https://h/)"),
            _ => ("**a＜b**", "[x](https://h/)"),
        };
        assert!(
            own.text.contains(strong) && own.text.contains(link),
            "{}",
            own.text
        );
        // Of another chat it changes nothing.
        let other = match provider {
            ChatProvider::Slack => "wecom.text",
            _ => "slack.text",
        };
        assert_eq!(
            written(provider, &file(other, "x"), "failed").text,
            built_in.text
        );
        let framed = "Runbook\n{% include 'built-in/chat.text' %}";
        let framed = written(provider, &file(&format!("{name}.text"), framed), "failed");
        assert_eq!(framed.text, format!("Runbook\n{}", built_in.text));
    }
}

#[test]
fn one_that_fails_or_writes_too_much_gives_the_built_in_text() {
    for provider in ChatProvider::ALL {
        let name = format!("{}.text", provider.name());
        let built_in = written(provider, &Templates::default(), "blind");
        for wrong in [
            "{{ entries[0].alert.task.from.repo }}",
            "{% for i in range(9000) %}too long {% endfor %}",
        ] {
            let message = written(provider, &file(&name, wrong), "blind");
            assert_eq!(message.text, built_in.text, "{wrong}");
            let failed: Vec<&str> = message
                .failures
                .iter()
                .map(|failure| failure.template.as_str())
                .collect();
            assert_eq!(failed, [name.as_str()], "{wrong}");
        }
        // What only the whole of it makes too long is told of less.
        let long = "{% for entry in entries %}{{ entry.headline }}{{ 'x' * 1800 }}\n{% endfor %}{{ more_text }}";
        let message = written(provider, &file(&name, long), "begins and ends");
        if provider != ChatProvider::Feishu {
            assert!(message.text.contains("and 1 more"), "{}", message.text);
        }
        assert_eq!(message.failures, []);
    }
}

#[test]
fn a_slip_is_found_by_the_check() {
    for provider in ChatProvider::ALL {
        for part in ["title", "text"] {
            let files = file(&format!("{}.{part}", provider.name()), "a\n  {{ tittle }}");
            let renderers = Renderers::try_new(&files, &Console::default()).unwrap();
            let problem = renderers.check().unwrap_err().0.remove(0);
            assert_eq!((problem.line, problem.column), (2, 6));
            assert!(problem.message.contains("tittle"), "{}", problem.message);
        }
    }
}
