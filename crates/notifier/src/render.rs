//! Turns a delivery into what its channel sends: the JSON of a webhook, or the texts of a mail.
//!
//! In: a delivery, frozen; for mail also now, because "12 minutes ago" ages. Out: bytes and texts. It
//! cannot fail: where a template of the operator does not render, the built-in one does, and that is said.
//!
//! Must never happen: a name from the registry that ends a line, adds a header or becomes markup; a
//! message of unbounded size; a task that is told without its id.

mod alert;
mod body;
mod view;
mod digest;
mod headline;
mod phrases;
mod words;
mod notice;
mod notice_zh;
mod links;
mod markup;
mod chat;
mod templates;
pub(crate) mod samples;
pub(crate) mod text;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use minijinja::value::Serde;
use syncbell_config::{Console, Language, Problem, Problems, Templates as Files};
use syncbell_event::{AlertStatus, Severity};

use crate::deliver::FORMS;
use crate::delivery::{Delivery, Entry};

use templates::{Part, Templates};
use view::{Manner, View};

pub(crate) use body::{BODY_TEMPLATE, BodyTemplate};
pub(crate) use chat::ChatMessage;
pub(crate) use markup::{Form, Markup, ZERO_WIDTH_SPACE, markdown, markdown_code, markdown_link};
pub(crate) use templates::TemplateFailure;

const SUBJECT_LIMIT_CHARS: usize = 150;
const TITLE_LIMIT_CHARS: usize = 300;

/// The rule of what the notifier tells of itself: nothing reaches a receiver.
pub(crate) const RECEIVER_FAILING: &str = "receiver_failing";

/// The label of its group that names the receiver.
pub(crate) const FAILING_RECEIVER: &str = "receiver";

/// The texts of a mail, without its headers.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    /// One line, at most 150 characters.
    pub(crate) subject: String,
    /// Plain text.
    pub(crate) text: String,
    /// A whole HTML page with nothing to load.
    pub(crate) html: String,
    /// Templates in whose place something built-in was used: count them.
    pub(crate) failures: Vec<TemplateFailure>,
}

/// Renders deliveries in one language. Build it once.
pub(crate) struct Renderer {
    language: Language,
    console: Console,
    templates: Templates,
    /// Of each chat, by its name.
    chats: BTreeMap<&'static str, Templates>,
}

/// A renderer for each language.
#[derive(Clone)]
pub(crate) struct Renderers {
    en: Arc<Renderer>,
    zh: Arc<Renderer>,
}

impl Renderers {
    /// Compiles the operator's templates. The problems are for people: show them, exit 78.
    pub(crate) fn try_new(files: &Files, console: &Console) -> Result<Self, Problems> {
        let [en, zh] = Language::ALL.map(|language| Renderer::try_new(language, files, console));
        match (en, zh) {
            (Ok(en), Ok(zh)) => Ok(Self {
                en: Arc::new(en),
                zh: Arc::new(zh),
            }),
            (en, zh) => Err(problems(
                [en.err(), zh.err()].into_iter().flatten().flatten(),
            )),
        }
    }

    /// The one of a language.
    pub(crate) fn of(&self, language: Language) -> Arc<Renderer> {
        match language {
            Language::En => self.en.clone(),
            Language::Zh => self.zh.clone(),
        }
    }

    /// Renders samples with the operator's templates, in both languages. The problems are for people.
    pub(crate) fn check(&self) -> Result<(), Problems> {
        let found = [&self.en, &self.zh].map(|renderer| renderer.check());
        let found = problems(found.into_iter().flatten());
        if found.0.is_empty() {
            Ok(())
        } else {
            Err(found)
        }
    }
}

/// A file without a language in its name is read for both: what is wrong with it is said once.
fn problems(found: impl IntoIterator<Item = Problem>) -> Problems {
    let mut told: Vec<Problem> = Vec::new();
    for problem in found {
        if !told.iter().any(|known| known.place() == problem.place()) {
            told.push(problem);
        }
    }
    Problems(told)
}

/// The body of a generic webhook: JSON of the alert CloudEvent, at most 256 KiB. What does not fit is
/// left out in whole items and counted in `more`.
pub(crate) fn webhook(delivery: &Delivery) -> Vec<u8> {
    alert::json(delivery)
}

/// Messages of every kind, each with a name for people.
pub(crate) fn samples() -> Vec<(&'static str, Delivery)> {
    samples::all()
}

impl Renderer {
    fn try_new(language: Language, files: &Files, console: &Console) -> Result<Self, Vec<Problem>> {
        let mail = Templates::try_new(files, language, &Part::MAIL, markup::PLAIN);
        let (mut chats, mut problems) = (BTreeMap::new(), Vec::new());
        for form in FORMS {
            match Templates::try_new(files, language, &parts(form), form.markup) {
                Ok(templates) => {
                    chats.insert(form.name, templates);
                }
                Err(found) => problems.extend(found),
            }
        }
        let templates = match mail {
            Ok(templates) if problems.is_empty() => templates,
            mail => {
                problems.extend(mail.err().into_iter().flatten());
                return Err(problems);
            }
        };
        Ok(Self {
            language,
            console: console.clone(),
            templates,
            chats,
        })
    }

    fn of_chat(&self, form: &Form) -> &Templates {
        &self.chats[form.name]
    }

    /// The texts of a mail that is sent at `now`.
    pub(crate) fn mail(&self, delivery: &Delivery, now: Timestamp) -> Mail {
        let mut view = self.view(delivery, now);
        let mut failures = Vec::new();
        let mut part = |view: &View, part: Part| {
            let value = minijinja::Value::from(Serde(view));
            self.templates.render(part, &value, &mut failures)
        };
        if let Some(title) = part(&view, Part::Title) {
            view.title = text::line(&title, TITLE_LIMIT_CHARS);
        }
        let subject = part(&view, Part::Subject);
        let subject = subject.unwrap_or_else(|| format!("{} {}", view.prefix, view.subject));
        let instead_of = delivery.instead_of.as_deref();
        let not_taken = instead_of.map(|receiver| phrases::not_taken(self.language, receiver));
        let subject = not_taken.unwrap_or_default() + &subject;
        let text = part(&view, Part::Text);
        let html = part(&view, Part::Html);
        Mail {
            subject: text::line(&subject, SUBJECT_LIMIT_CHARS),
            text: text.unwrap_or_else(|| view.to_string()),
            html: html.unwrap_or_else(|| plain_html(&view)),
            failures,
        }
    }

    fn view(&self, delivery: &Delivery, now: Timestamp) -> View {
        let manner = Manner {
            language: self.language,
            console: &self.console,
        };
        View::of(delivery, manner, now)
    }

    /// The first problem of each of the operator's templates.
    fn check(&self) -> Vec<Problem> {
        let samples: Vec<_> = samples::all()
            .into_iter()
            .map(|(name, delivery)| {
                let view = self.view(&delivery, samples::now());
                (name, minijinja::Value::from(Serde(&view)))
            })
            .collect();
        let of = |templates: &Templates, part: Part| {
            let mut found = samples.iter();
            found.find_map(|(name, view)| templates.problem(part, view, name))
        };
        let mail = Part::MAIL.map(|part| of(&self.templates, part));
        let chats = FORMS
            .iter()
            .flat_map(|form| parts(form).map(|part| of(self.of_chat(form), part)));
        mail.into_iter().chain(chats).flatten().collect()
    }
}

fn parts(form: &Form) -> [Part; 2] {
    let [title, text] = form.templates;
    [Part::ChatTitle(title), Part::ChatText(text)]
}

/// What is sent when even the built-in template fails: everything that the view holds, without any beauty.
fn plain_html(view: &View) -> String {
    let escaped = view
        .to_string()
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    format!("<!doctype html>\n<meta charset=\"utf-8\">\n<pre>{escaped}</pre>\n")
}

/// The receiver that a delivery about [`RECEIVER_FAILING`] is about.
fn receiver_of(delivery: &Delivery) -> String {
    let named = delivery.group.get(FAILING_RECEIVER);
    text::line(named.map_or("?", String::as_str), 200)
}

/// Whether a mail with these entries is about trouble that goes on: some incident fires at its end.
pub(crate) fn status(entries: &[Entry]) -> AlertStatus {
    let goes_on = entries.iter().enumerate().any(|(at, entry)| {
        let same = |later: &Entry| later.item.incident == entry.item.incident;
        entry.fires()
            && !entries[at + 1..]
                .iter()
                .any(|later| same(later) && !later.fires())
    });
    if goes_on {
        AlertStatus::Firing
    } else {
        AlertStatus::Resolved
    }
}

/// The gravest of the entries.
pub(crate) fn severity(entries: &[Entry]) -> Severity {
    entries
        .iter()
        .map(|entry| entry.item.severity)
        .max()
        .unwrap_or(Severity::Info)
}

/// The incident that all entries are about, if there is only one.
pub(crate) fn only_incident(entries: &[Entry]) -> Option<&str> {
    let incident = entries.first()?.item.incident.as_str();
    entries
        .iter()
        .all(|entry| entry.item.incident == incident)
        .then_some(incident)
}
