//! Templates through the built binary: what `check` says, and what lies in the mailbox.

use std::borrow::Cow;

use mail_parser::MessageParser;
use syncbell_event::Status;
use syncbell_simulator::NewTask;
use syncbell_testkit::binary::Source;
use syncbell_testkit::{Mail, eventually};

use crate::bad_input::metrics;
use crate::house::{House, WAIT};

fn own(house: &House, files: &[(&str, &str)]) {
    let folder = house.folder.path().join("own");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.join(name), text).expect("a template");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_shows_where_a_template_is_wrong_and_a_service_does_not_start_with_it() {
    let mut house = House::build().await;
    house.more = "templates: {dir: own}\n";
    own(&house, &[("email.txt", "{{ title }}\nof {{ severty }}\n")]);
    let config = house.config("127.0.0.1:0");
    let check = house.launcher("check", "127.0.0.1:0");
    let mut check = check.start();
    let status = check.wait_for_exit(WAIT).await;
    let said = check.text(Source::Stderr);
    assert_eq!(status.code(), Some(78), "{said}");
    for part in [
        "`severty` is undefined",
        "own/email.txt:2:7",
        "2 | of {{ severty }}",
        "^^^^^^^",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    // A name that no template has is a slip of the configuration file.
    own(&house, &[("email.text", "")]);
    let mut check = house.launcher("check", "127.0.0.1:0").start();
    assert_eq!(check.wait_for_exit(WAIT).await.code(), Some(78));
    let said = check.text(Source::Stderr);
    let place = format!("{}:", config.display());
    assert!(
        said.contains("did you mean `email.txt`?") && said.contains(&place),
        "{said}"
    );
    std::fs::remove_file(house.folder.path().join("own/email.text")).expect("it is there");
    // What does not even compile keeps a service from starting.
    own(&house, &[("email.txt", "{% if %}")]);
    let mut run = house.launch("127.0.0.1:0");
    let status = run.wait_for_exit(WAIT).await;
    assert_eq!(status.code(), Some(78), "{:?}", run.lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_in_the_language_and_the_form_that_were_asked_for() {
    let mut house = House::build().await;
    house.more = "language: zh\ntemplates: {dir: own}\n\
                  console: {repository: 'https://console.example.test/{region}/{repo}'}\n";
    house.receivers = "[mail]";
    // The second one cannot be rendered for a task without an issue.
    let html = "<p>{{ entries[0].alert.task.issue }}</p>";
    own(
        &house,
        &[
            ("email.zh.subject", "《{{ subject }}》"),
            ("email.html", html),
        ],
    );
    house.start().await;
    house.baseline().await;
    for (name, issue) in [("one", Some("NETWORK_ERROR")), ("two", None)] {
        let task = NewTask::of(&format!("mail/{name}"), "v1").status(Status::Error);
        let task = match issue {
            Some(issue) => task.issue(issue),
            None => task,
        };
        house
            .simulator
            .world()
            .add_task(task.id(&format!("rst-{name}")));
        let what = format!("the mail about {name}");
        eventually(&what, WAIT, async || {
            let mails = house.mailbox.mails();
            let mut texts = mails.iter().map(decoded);
            texts.find(|text| text.contains(&format!("rst-{name}")))
        })
        .await;
    }
    let mails = house.mailbox.mails();
    let texts: Vec<String> = mails.iter().map(decoded).collect();
    let of = |name: &str| {
        texts
            .iter()
            .find(|text| text.contains(&format!("mail/{name}")))
            .expect("it came")
    };
    assert!(
        of("one").contains("《同步失败：mail/one:v1"),
        "{}",
        of("one")
    );
    assert!(of("one").contains("未能同步到"), "{}", of("one"));
    assert!(of("one").contains("<p>NETWORK_ERROR</p>"));
    assert!(of("one").contains("https://console.example.test/"));
    // In place of what failed stands the built-in page.
    assert!(of("two").contains("<html lang=\"zh\">"), "{}", of("two"));
    let binary = house.binary.lock().await;
    let running = binary.as_ref().expect("it runs");
    let line = running.wait_for_line("a template failed", WAIT).await.text;
    assert!(
        line.contains("email.html") && line.contains("undefined value"),
        "{line}"
    );
    let metrics = metrics(running).await;
    let counted = "syncbell_template_failures_total{template=\"email.html\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    drop(binary);
    assert!(house.stop().await.success());
}

/// Subject, text and page of a mail.
fn decoded(mail: &Mail) -> String {
    let mail = MessageParser::default().parse(&mail.raw).expect("a mail");
    let part = |text: Option<Cow<'_, str>>| text.unwrap_or_default().into_owned();
    format!(
        "{}\n{}\n{}",
        mail.subject().unwrap_or_default(),
        part(mail.body_text(0)),
        part(mail.body_html(0))
    )
}
