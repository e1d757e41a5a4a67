//! What a chat says: a title, and a text in its provider's markup that is as long as fits. Pure.
//!
//! What does not fit is left out in whole items, and counted; then texts are cut; markup is never cut. Where the
//! operator's template writes too much even of the least, the built-in one stands for it.

use jiff::Timestamp;
use minijinja::value::Serde;
use syncbell_event::{AlertStatus, Severity};

use crate::delivery::Delivery;

use super::markup::Form;
use super::templates::{Part, TemplateFailure, Templates};
use super::view::View;
use super::{Renderer, TITLE_LIMIT_CHARS, severity, status};

/// Of a title of which nothing else fits.
const SHORTEST_CHARS: usize = 40;

/// A message before its provider gives it a form.
#[derive(Clone, Debug)]
pub(crate) struct ChatMessage {
    /// One line of plain text, at most 300 characters.
    pub(crate) title: String,
    /// Lines in the provider's markup.
    pub(crate) text: String,
    /// Whether something goes on at its end.
    pub(crate) fires: bool,
    /// Whether people are to be mentioned: something goes on, and this is no replay.
    pub(crate) mentions: bool,
    /// Of the gravest entry.
    pub(crate) severity: Severity,
    /// Templates in whose place something built-in was used: count them.
    pub(crate) failures: Vec<TemplateFailure>,
}

impl Renderer {
    /// The largest message of `delivery` that `fits`.
    pub(crate) fn chat(
        &self,
        form: &Form,
        delivery: &Delivery,
        now: Timestamp,
        fits: impl Fn(&ChatMessage) -> bool,
    ) -> ChatMessage {
        let whole = self.view(delivery, now);
        let templates = self.of_chat(form);
        let write = |view: &View, own: bool| write(templates, form, view, own, delivery);
        let mut failures = Vec::new();
        for own in [true, false] {
            let mut view = whole.clone();
            loop {
                let mut message = write(&view, own);
                if fits(&message) {
                    message.failures.splice(0..0, failures);
                    return message;
                }
                if !view.shrink(self.language) {
                    failures.extend(message.failures);
                    break;
                }
            }
            if own && templates.has_own() {
                failures.push(TemplateFailure {
                    template: form.templates[1].to_owned(),
                    why: "even of the least it writes more than the provider takes".to_owned(),
                });
            }
        }
        let mut message = write(&whole, false);
        message.title = super::text::clip(&message.title, SHORTEST_CHARS);
        (message.text, message.failures) = (String::new(), failures);
        message
    }
}

fn write(
    templates: &Templates,
    form: &Form,
    view: &View,
    own: bool,
    delivery: &Delivery,
) -> ChatMessage {
    let [title, text] = form.templates;
    let value = minijinja::Value::from(Serde(view));
    let mut failures = Vec::new();
    let mut part = |part: Part| templates.render_some(part, &value, own, &mut failures);
    let title = part(Part::ChatTitle(title));
    let text = part(Part::ChatText(text));
    let title = title.unwrap_or_else(|| format!("{} {}", view.prefix, view.title));
    let escaped = || {
        let lines = view.to_string();
        let lines: Vec<String> = lines.lines().map(form.markup.escape).collect();
        lines.join("\n")
    };
    let text = text.unwrap_or_else(escaped);
    let entries = &delivery.entries;
    let fires = status(entries) == AlertStatus::Firing;
    ChatMessage {
        title: super::text::line(&title, TITLE_LIMIT_CHARS),
        text: text.trim_end().to_owned(),
        fires,
        mentions: fires && delivery.replay.is_none(),
        severity: severity(entries),
        failures,
    }
}
