use serde_json::Value as Json;
use syncbell_config::{Console, Language, Templates};

use super::*;
use crate::render::Renderers;

fn renderer(language: Language) -> std::sync::Arc<Renderer> {
    let renderers = Renderers::try_new(&Templates::default(), &Console::default()).unwrap();
    renderers.of(language)
}

fn template(text: &str, is_json: bool) -> Result<BodyTemplate, Problem> {
    let file = File {
        path: "ops.json".into(),
        text: text.into(),
    };
    BodyTemplate::try_new(&file, is_json)
}

fn place(problem: &Problem) -> String {
    format!("{}:{} {}", problem.line, problem.column, problem.message)
}

#[test]
fn every_sample_gives_json_whatever_the_registry_wrote_in_it() {
    let text = "{\"title\": {{ title }}, \"who\": {{ receiver | tojson }},\n\
                 \"lines\": [{% for entry in entries %}{{ entry.headline }}{{ \",\" if not loop.last }}{% endfor %}],\n\
                 \"event\": {{ event }}}";
    // A comma is a text, and texts are quoted: it must be said that it is meant as it is.
    assert!(
        template(text, true)
            .unwrap()
            .problem(&renderer(Language::En))
            .is_some()
    );
    let text = text.replace(
        "{{ \",\" if not loop.last }}",
        "{% if not loop.last %},{% endif %}",
    );
    for language in Language::ALL {
        let (template, renderer) = (template(&text, true).unwrap(), renderer(language));
        let problem = template.problem(&renderer);
        assert!(problem.is_none(), "{problem:?}");
        for (name, delivery) in samples::all() {
            let body = template
                .render(&renderer, &delivery, samples::now())
                .unwrap();
            let body: Json = serde_json::from_slice(&body).unwrap();
            let built_in: Json =
                serde_json::from_slice(&crate::render::webhook(&delivery)).unwrap();
            assert_eq!(body["event"], built_in, "{name}");
            let title = renderer.view(&delivery, samples::now()).title;
            assert_eq!(body["title"], title.as_str(), "{name}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_template_is_told_with_its_place() {
    let renderer = renderer(Language::En);
    let compiled = template("{\n  \"a\": {{ title }\n}", true).err().unwrap();
    assert!(place(&compiled).starts_with("2:"), "{}", place(&compiled));
    let cases = [
        ("{\n  \"a\": {{ titel }}\n}", "2:11 undefined value"),
        (
            "{\"a\": \"{{ title }}\"}",
            "0:0 what it gives is not JSON: ",
        ),
        ("{\"a\": {{ title }},}", "line 1 column"),
        ("", "what it gives is not JSON: EOF"),
        (
            "[{% for a in range(900) %}{% for b in range(900) %}{% endfor %}{% endfor %}]",
            "fuel",
        ),
    ];
    for (text, expected) in cases {
        let problem = template(text, true).unwrap().problem(&renderer);
        let problem = problem.as_ref().map(place).unwrap_or_default();
        assert!(problem.contains(expected), "{text}: {problem}");
        assert!(problem.contains(", with the sample `"), "{problem}");
        let (_, delivery) = samples::all().remove(0);
        let template = template(text, true).unwrap();
        let failure = template.render(&renderer, &delivery, samples::now());
        assert_eq!(failure.unwrap_err().template, BODY_TEMPLATE, "{text}");
    }
}

#[test]
fn the_example_of_the_reference_works() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/templates.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, example) = page.split_once("```json\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let template = template(example, true).unwrap();
    for language in Language::ALL {
        let problem = template.problem(&renderer(language));
        assert!(problem.is_none(), "{problem:?}");
    }
}

#[test]
fn what_is_not_said_to_be_json_may_be_anything() {
    let renderer = renderer(Language::En);
    let template = template(
        "{{ prefix }} {{ severity }}: it's {{ event.data.alerts[0].rule }}",
        false,
    );
    let template = template.unwrap();
    assert!(template.problem(&renderer).is_none());
    let (_, delivery) = samples::all().remove(0);
    let body = template
        .render(&renderer, &delivery, samples::now())
        .unwrap();
    assert_eq!(
        String::from_utf8(body).unwrap(),
        "[FIRING] error: it's failed"
    );
}
