//! The operator's templates: what `check` says of them, and what happens when one fails in the night.

use syncbell_config::{Problem, TEMPLATE_NAMES, TemplateFile};

use super::*;

fn file(name: &str, text: &str) -> Files {
    let (channel, rest) = name.split_once('.').unwrap();
    let (language, part) = match rest.split_once('.') {
        Some(("zh", part)) => (Some(Language::Zh), part),
        _ => (None, rest),
    };
    let name = format!("{channel}.{part}");
    let known = TEMPLATE_NAMES.into_iter().find(|known| **known == name);
    Files {
        files: vec![TemplateFile {
            name: known.expect("a name of a template"),
            language,
            path: format!("templates/{name}").into(),
            text: text.to_owned(),
        }],
    }
}

/// What `check` says of one file: the first problem as it is shown.
fn told(name: &str, text: &str) -> Result<(), String> {
    let shown = |found: Problems| found.0.iter().map(|one| one.render(false)).collect();
    let renderers = Renderers::try_new(&file(name, text), &Console::default());
    let checked = renderers.and_then(|renderers| renderers.check());
    checked.map_err(|found| {
        let shown: Vec<String> = shown(found);
        shown.join("\n")
    })
}

fn sent(files: &Files, language: Language, delivery: &Delivery) -> Mail {
    let renderers = Renderers::try_new(files, &Console::default()).unwrap();
    renderers.of(language).mail(delivery, samples::now())
}

fn sample(name: &str) -> Delivery {
    let mut all = samples::all().into_iter();
    all.find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn the_names_are_those_of_the_configuration() {
    let chats = FORMS.iter().flat_map(|form| form.templates);
    let mut parts: Vec<&str> = Part::MAIL
        .map(Part::name)
        .into_iter()
        .chain(chats)
        .collect();
    let mut names = TEMPLATE_NAMES;
    parts.sort_unstable();
    names.sort_unstable();
    assert_eq!(parts, names);
}

#[test]
fn a_slip_is_shown_where_it_stands() {
    insta::assert_snapshot!(
        [
            told("email.txt", "Hello\n{% if fires %}\nno end\n"),
            told("email.txt", "Hello\n  {{ title | shout }}\n"),
            told("email.html", "<p>\n  <b>{{ tittle }}</b>"),
            told(
                "email.txt",
                "{% for entry in entries %}\n{{ entry.alert.task.task_id }}\n{% endfor %}"
            ),
            told("email.subject", "{{ }}"),
            told(
                "email.txt",
                "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}"
            ),
            told(
                "email.txt",
                "{% for i in range(3000) %}{{ words.nothing_before * 3 }}{% endfor %}"
            ),
            told("email.txt", "{% include \"email.text\" %}"),
        ]
        .map(Result::unwrap_err)
        .join("\n\n")
    );
}

#[test]
fn a_template_of_one_language_is_checked_in_that_one() {
    let wrong = "{{ nothing }}";
    let shown = told("email.zh.txt", wrong).unwrap_err();
    assert_eq!(shown.matches("error").count(), 1, "{shown}");
    // What is wrong in both is said once.
    let shown = told("email.txt", wrong).unwrap_err();
    assert_eq!(shown.matches("error").count(), 1, "{shown}");
}

#[test]
fn one_file_takes_the_place_of_one_template() {
    let own = file("email.subject", "({{ severity }})\n{{ title }}\r\nBcc: x\n");
    assert!(told("email.subject", "({{ severity }})").is_ok());
    let delivery = sample("failed");
    let (mail, built_in) = (
        sent(&own, Language::En, &delivery),
        sent(&Files::default(), Language::En, &delivery),
    );
    assert!(
        mail.subject
            .starts_with("(error) team-a/shop-1:v1.4 did not reach")
    );
    assert!(
        mail.subject.ends_with(" Bcc: x"),
        "one line: {}",
        mail.subject
    );
    assert_eq!((&mail.text, &mail.html), (&built_in.text, &built_in.html));
    assert_eq!(mail.failures, []);
    // What the title says, text and HTML say.
    let own = file("email.title", "A <b> title & more");
    let mail = sent(&own, Language::En, &delivery);
    assert!(mail.text.starts_with("A <b> title & more\n"));
    assert!(mail.html.contains("A &lt;b&gt; title &amp; more</h1>"));
    // A frame around the built-in one.
    let own = file(
        "email.txt",
        "See https://wiki.example.com\n{% include 'built-in/email.txt' %}",
    );
    let mail = sent(&own, Language::En, &delivery);
    let framed = format!("See https://wiki.example.com\n{}", built_in.text);
    assert_eq!(mail.text, framed);
    // Of one language.
    let own = file("email.zh.txt", "只有中文");
    assert_eq!(sent(&own, Language::Zh, &delivery).text, "只有中文");
    assert_eq!(sent(&own, Language::En, &delivery).text, built_in.text);
}

#[test]
fn in_html_what_comes_from_outside_is_no_markup() {
    let own = file(
        "email.html",
        "{% for e in entries %}<p title=\"{{ e.instance }}\">{{ e.alert.reason }}</p>{% endfor %}",
    );
    let mail = sent(&own, Language::En, &sample("hostile texts"));
    assert_eq!(mail.failures, []);
    assert!(
        !mail.html.contains("<script>") && mail.html.contains("&lt;script&gt;"),
        "{}",
        mail.html
    );
    let own = file(
        "email.txt",
        "{% for e in entries %}{{ e.alert.reason }}{% endfor %}",
    );
    let mail = sent(&own, Language::En, &sample("hostile texts"));
    assert!(
        mail.text.contains("<script>alert('1')"),
        "plain text is not escaped"
    );
    assert!(!mail.text.contains(['\r', '\n', '\u{202E}']));
}

#[test]
fn a_template_that_fails_in_the_night_gives_the_built_in_text() {
    let no_task = sample("blind");
    let with_task = sample("failed");
    let own = file("email.txt", "{{ entries[0].alert.task.from.repo }}");
    let mail = sent(&own, Language::En, &with_task);
    assert_eq!((mail.text.as_str(), mail.failures), ("shop-1", Vec::new()));
    let mail = sent(&own, Language::En, &no_task);
    let built_in = sent(&Files::default(), Language::En, &no_task);
    assert_eq!(mail.text, built_in.text);
    let [TemplateFailure { template, why }] = mail.failures.as_slice() else {
        panic!("{:?}", mail.failures)
    };
    assert_eq!(template, "email.txt");
    assert!(
        why.contains("undefined value") && why.contains("email.txt:1"),
        "{why}"
    );
    for endless in [
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
        "{% for i in range(9999) %}{{ 'x' * 1000 }}{% endfor %}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ] {
        let mail = sent(&file("email.txt", endless), Language::En, &with_task);
        assert_eq!(mail.failures.len(), 1, "{endless}");
        assert!(mail.text.contains("rst-1"));
    }
}

#[test]
fn even_without_any_template_each_task_is_told() {
    let mut renderer =
        Renderer::try_new(Language::En, &Files::default(), &Console::default()).unwrap();
    for part in Part::MAIL {
        renderer.templates.replace(part, "{{ nothing.of.this }}");
    }
    let mut entry = firing(task("rst-<b>1", Status::Error, Some("NETWORK_ERROR")));
    entry.history = vec!["yesterday".into()];
    let mail = renderer.mail(&delivery(vec![entry]), samples::now());
    assert_eq!(mail.failures.len(), 4);
    assert!(
        mail.failures
            .iter()
            .all(|one| one.template.starts_with("built-in/"))
    );
    assert_eq!(
        mail.subject,
        "[FIRING] failed: team-a/shop:v1.4 to cn-shenzhen/cri-target"
    );
    assert!(
        mail.text
            .contains("Task: rst-<b>1 (ERROR with NETWORK_ERROR)")
    );
    assert!(mail.html.contains("rst-&lt;b&gt;1"));
    let digest = renderer.mail(&delivery(many(11)), samples::now());
    assert!(digest.text.contains("rst-10") && digest.html.contains("rst-10"));
}

#[test]
fn the_place_is_known_of_each_problem() {
    let files = file("email.txt", "磁盘 {{ nothing }}");
    let renderers = Renderers::try_new(&files, &Console::default()).unwrap();
    let Problem {
        file, line, column, ..
    } = renderers.check().unwrap_err().0.remove(0);
    assert_eq!((file.as_str(), line, column), ("templates/email.txt", 1, 7));
}
