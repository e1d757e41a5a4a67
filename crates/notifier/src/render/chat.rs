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
    /// The largest message of `delivery` that has a `size_bytes`; of one that is to be told in a smaller form, the
    /// largest of half that size, or else the least.
    pub(crate) fn chat(
        &self,
        form: &Form,
        delivery: &Delivery,
        now: Timestamp,
        size_bytes: impl Fn(&ChatMessage) -> Option<usize>,
    ) -> ChatMessage {
        let writing = Writing {
            renderer: self,
            form,
            delivery,
            whole: self.view(delivery, now),
        };
        let fits = |message: &ChatMessage| size_bytes(message).is_some();
        let usual = match writing.largest(fits) {
            Ok(usual) => usual,
            Err(failures) => return writing.title_alone(failures),
        };
        if !delivery.smaller {
            return usual;
        }
        let half_bytes = size_bytes(&usual).unwrap_or_default() / 2;
        let half =
            |message: &ChatMessage| size_bytes(message).is_some_and(|size| size <= half_bytes);
        match writing.largest(half) {
            Ok(message) => message,
            Err(failures) => writing.least(failures, fits),
        }
    }
}

/// A delivery on its way to one kind of chat.
struct Writing<'a> {
    renderer: &'a Renderer,
    form: &'a Form,
    delivery: &'a Delivery,
    whole: View,
}

impl Writing<'_> {
    /// The largest message that `fits`; else what failed.
    fn largest(
        &self,
        fits: impl Fn(&ChatMessage) -> bool,
    ) -> Result<ChatMessage, Vec<TemplateFailure>> {
        let mut failures = Vec::new();
        for own in [true, false] {
            let mut view = self.whole.clone();
            loop {
                let mut message = self.write(&view, own);
                if fits(&message) {
                    message.failures.splice(0..0, failures);
                    return Ok(message);
                }
                if !view.shrink(self.renderer.language) {
                    failures.extend(message.failures);
                    break;
                }
            }
            if own && self.renderer.of_chat(self.form).has_own() {
                failures.push(TemplateFailure {
                    template: self.form.templates[1].to_owned(),
                    why: "even of the least it writes more than the provider takes".to_owned(),
                });
            }
        }
        Err(failures)
    }

    /// As little as can be said of it.
    fn least(
        &self,
        failures: Vec<TemplateFailure>,
        fits: impl Fn(&ChatMessage) -> bool,
    ) -> ChatMessage {
        let mut view = self.whole.clone();
        while view.shrink(self.renderer.language) {}
        let mut message = self.write(&view, false);
        if !fits(&message) {
            return self.title_alone(failures);
        }
        message.failures = failures;
        message
    }

    fn title_alone(&self, failures: Vec<TemplateFailure>) -> ChatMessage {
        let mut message = self.write(&self.whole, false);
        message.title = super::text::clip(&message.title, SHORTEST_CHARS);
        (message.text, message.failures) = (String::new(), failures);
        message
    }

    fn write(&self, view: &View, own: bool) -> ChatMessage {
        let templates = self.renderer.of_chat(self.form);
        write(templates, self.form, view, own, self.delivery)
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
