//! Languages, templates, links, as users write them.

use super::*;

/// `SMALLEST` with `more` behind it, beside a folder `own` with these files.
fn with(more: &str, files: &[(&str, &str)]) -> Result<Config, Problems> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("smtp"), "hunter2-from-a-file\n").unwrap();
    let own = folder.path().join("own");
    std::fs::create_dir(&own).unwrap();
    for (name, text) in files {
        std::fs::write(own.join(name), text).unwrap();
    }
    // As Kubernetes mounts a ConfigMap.
    std::fs::create_dir(own.join("..data")).unwrap();
    let text = format!("{SMALLEST}{more}");
    parse(&text, "syncbell.yaml", folder.path(), &|name| {
        (name == "OPS_WEBHOOK_SECRET").then(|| "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned())
    })
}

fn said(more: &str, files: &[(&str, &str)]) -> Vec<String> {
    let problems = with(more, files).unwrap_err().0;
    let lines = problems
        .iter()
        .map(|p| format!("{}:{} {}", p.line, p.column, p.message));
    lines.collect()
}

#[test]
fn a_receiver_has_the_language_of_the_file_unless_it_has_its_own() {
    let languages = |config: &Config| {
        let of = config.receivers.iter().map(|receiver| receiver.language);
        of.collect::<Vec<_>>()
    };
    let config = read(SMALLEST).unwrap();
    assert_eq!(languages(&config), [Language::En; 2]);
    let text = SMALLEST.replace("  - name: mail", "  - name: mail\n    language: en");
    let config = read(&format!("{text}language: zh\n")).unwrap();
    assert_eq!(languages(&config), [Language::Zh, Language::En]);
    assert_eq!(
        said("language: cn\n", &[]),
        ["16:11 `language`: unknown value `cn`, did you mean `en`?"]
    );
    assert_eq!(
        told("  - name: mail", "  - name: mail\n    language: german"),
        ["10:15 `language`: unknown value `german`, expected one of: en, zh"]
    );
}

#[test]
fn a_folder_of_templates_is_read_and_what_has_no_name_there_is_refused() {
    let files = [
        ("email.txt", "text"),
        ("email.zh.txt", "中文"),
        (".email.txt.swp", "x"),
    ];
    let templates = with("templates: {dir: own}\n", &files).unwrap().templates;
    assert_eq!(templates.files.len(), 2);
    let text = |name, language| {
        templates
            .file(name, language)
            .map(|file| file.text.as_str())
    };
    assert_eq!(text("email.txt", Language::En), Some("text"));
    assert_eq!(text("email.txt", Language::Zh), Some("中文"));
    assert_eq!(text("email.html", Language::Zh), None);

    assert_eq!(
        said(
            "templates: {dir: own}\n",
            &[("email.text", ""), ("mail.html", ""), ("email.de.txt", "")]
        ),
        [
            "16:18 no template is named `email.de.txt`, did you mean `email.txt`?",
            "16:18 no template is named `email.text`, did you mean `email.txt`?",
            "16:18 no template is named `mail.html`, did you mean `email.html`?",
        ]
    );
    let missing = said("templates: {dir: nowhere}\n", &[]);
    assert!(
        missing[0].starts_with("16:18 `dir`: cannot read "),
        "{missing:?}"
    );
    let large = "x".repeat(300 * 1024);
    let large = said("templates: {dir: own}\n", &[("email.txt", &large)]);
    assert!(large[0].contains("larger than 256 KiB"), "{large:?}");
    assert_eq!(
        said("templates: {}\n", &[]),
        ["16:12 the key `dir` is missing here"]
    );
}

#[test]
fn a_service_that_tells_nobody_needs_no_templates() {
    let text = format!("{SMALLEST}templates: {{dir: nowhere}}\n");
    let folder = tempfile::tempdir().unwrap();
    let read = |part| parse_part(&text, "syncbell.yaml", folder.path(), part, &|_| None);
    let config = read(Part::Poller).unwrap();
    let warned = |p: &Problem| p.message.ends_with("(not needed by this service)");
    assert!(
        config
            .warnings
            .iter()
            .any(|p| p.message.contains("`dir`") && warned(p))
    );
    assert!(read(Part::Notifier).is_err());
}

#[test]
fn links_are_patterns_of_what_is_known() {
    let console = read(SMALLEST).unwrap().console;
    assert_eq!(console, Console::default());
    let own =
        "console: {instance: '', repository: 'https://c.example.com/{namespace}/{repo}:{tag}'}\n";
    let console = with(own, &[]).unwrap().console;
    assert_eq!(console.instance, None);
    assert_eq!(
        console.repository.as_deref(),
        Some("https://c.example.com/{namespace}/{repo}:{tag}")
    );
    for (wrong, expected) in [
        (
            "instance: 'https://x/{repo}'",
            "nothing is known as `{repo}`",
        ),
        ("repository: 'https://x/{rpeo}'", "did you mean `repo`?"),
        ("instance: 'https://x/{region'", "a `{` without its `}`"),
        (
            "instance: 'javascript:{region}'",
            "expected an http:// or https:// URL",
        ),
        (
            "instance: '{region}'",
            "expected an http:// or https:// URL",
        ),
    ] {
        let said = said(&format!("console: {{{wrong}}}\n"), &[]);
        assert!(
            said.len() == 1 && said[0].contains(expected),
            "{wrong}: {said:?}"
        );
    }
}
