//! Turns a delivery into what its channel sends: the JSON of a webhook, or the texts of a mail.
//!
//! In: a delivery, frozen; for mail also now, because "12 minutes ago" ages. Out: bytes and texts. It
//! cannot fail: a template that does not render gives the built-in plain text instead, and says so.
//!
//! Must never happen: a name from the registry that ends a line, adds a header or becomes markup; a
//! message of unbounded size; a task that is told without its id.

mod alert;
mod notice;
pub(crate) mod text;
mod view;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use minijinja::{AutoEscape, Environment};
use syncbell_event::{AlertStatus, Severity};

use crate::delivery::{Delivery, Entry};

use view::View;

/// Instructions that one template may run. The largest mail, a full digest, takes under 5,000.
const FUEL: u64 = 100_000;
const SUBJECT_LIMIT_CHARS: usize = 150;

const TEMPLATES: [(&str, &str); 3] = [
    (
        "mail.subject",
        include_str!("render/templates/mail.subject"),
    ),
    ("mail.txt", include_str!("render/templates/mail.txt")),
    ("mail.html", include_str!("render/templates/mail.html")),
];

/// The texts of a mail, without its headers.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    /// One line, at most 150 characters.
    pub(crate) subject: String,
    /// Plain text.
    pub(crate) text: String,
    /// A whole HTML page with nothing to load.
    pub(crate) html: String,
    /// A template failed and this is the built-in plain text: count it.
    pub(crate) plain_fallback: bool,
}

/// Renders deliveries. Build it once.
pub(crate) struct Renderer {
    templates: Environment<'static>,
}

impl Renderer {
    /// With the built-in templates.
    pub(crate) fn new() -> Self {
        let mut templates = environment();
        for (name, source) in TEMPLATES {
            templates
                .add_template(name, source)
                .expect("the built-in templates parse: every test of this room renders them");
        }
        Self { templates }
    }

    /// The body of a generic webhook: JSON of the alert CloudEvent, at most 256 KiB. What does not fit is
    /// left out in whole items and counted in `more`.
    #[expect(
        clippy::unused_self,
        reason = "all renderings are asked of the renderer"
    )]
    pub(crate) fn webhook(&self, delivery: &Delivery) -> Vec<u8> {
        alert::json(delivery)
    }

    /// The texts of a mail that is sent at `now`.
    pub(crate) fn mail(&self, delivery: &Delivery, now: Timestamp) -> Mail {
        let view = View::of(delivery, now);
        match self.render_mail(&view) {
            Ok(mail) => mail,
            Err(error) => {
                tracing::warn!(
                    delivery.id = %delivery.id,
                    error = &error as &dyn std::error::Error,
                    "could not render the mail, sending the built-in plain text"
                );
                plain(&view)
            }
        }
    }

    fn render_mail(&self, view: &View) -> Result<Mail, minijinja::Error> {
        let render = |name| {
            self.templates
                .get_template(name)?
                .render(minijinja::value::Serde(view))
        };
        Ok(Mail {
            subject: text::line(&render("mail.subject")?, SUBJECT_LIMIT_CHARS),
            text: render("mail.txt")?,
            html: render("mail.html")?,
            plain_fallback: false,
        })
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    let mut syntax = minijinja::syntax::SyntaxConfig::builder();
    syntax
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true);
    environment.set_syntax(
        syntax
            .build()
            .expect("whitespace options alone cannot conflict"),
    );
    environment.set_auto_escape_callback(|name| {
        if name == "mail.html" {
            AutoEscape::Html
        } else {
            AutoEscape::None
        }
    });
    environment.add_filter("pad", |text: String| format!("{text:<10}"));
    environment
}

/// What is sent when a template fails: everything that the view holds, without any beauty.
fn plain(view: &View) -> Mail {
    let text = view.to_string();
    let escaped = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    Mail {
        subject: text::line(
            &format!("{} {}", view.prefix, view.subject),
            SUBJECT_LIMIT_CHARS,
        ),
        html: format!("<!doctype html>\n<meta charset=\"utf-8\">\n<pre>{escaped}</pre>\n"),
        text,
        plain_fallback: true,
    }
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
