//! Bodies of webhooks by a template of the operator. Compiled once, rendered within limits, checked to be what its
//! content type says.
//!
//! In: a delivery. Out: a body, or why there is none: then the built-in one is sent. Must never happen: a value of the
//! registry that ends a JSON string.

use jiff::Timestamp;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value, context};
use serde::de::IgnoredAny;
use syncbell_config::{BodyTemplate as File, Problem};

use crate::delivery::Delivery;

use super::markup::PLAIN;
use super::templates::{self, Source, TemplateFailure};
use super::{Renderer, alert, samples, text};

/// As of the built-in one.
const LIMIT_BYTES: usize = 256 * 1024;
const SHOWN_CHARS: usize = 80;

/// What it is called in metrics and logs.
pub(crate) const BODY_TEMPLATE: &str = "webhook.body";

/// A compiled template of one receiver.
pub(crate) struct BodyTemplate {
    environment: Environment<'static>,
    file: File,
    is_json: bool,
}

/// Why it gave no body.
enum Failure {
    Template(minijinja::Error),
    /// What it gave is not JSON: why and where in what it gave.
    Json(String),
}

impl BodyTemplate {
    /// Compiles it. `is_json`: what it gives must be JSON, and values are written as JSON.
    pub(crate) fn try_new(file: &File, is_json: bool) -> Result<Self, Problem> {
        let mut environment = templates::environment(PLAIN);
        environment.set_auto_escape_callback(move |_| {
            if is_json {
                AutoEscape::Json
            } else {
                AutoEscape::None
            }
        });
        let added = environment.add_template_owned(BODY_TEMPLATE, file.text.clone());
        added.map_err(|error| source(file).problem(&error, ""))?;
        Ok(Self {
            environment,
            file: file.clone(),
            is_json,
        })
    }

    /// The body of `delivery`.
    pub(crate) fn render(
        &self,
        renderer: &Renderer,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Vec<u8>, TemplateFailure> {
        let body = self.body(renderer, delivery, now);
        body.map(String::into_bytes).map_err(|failure| {
            let why = match failure {
                Failure::Template(error) => templates::in_words(&error, true),
                Failure::Json(why) => why,
            };
            TemplateFailure {
                template: BODY_TEMPLATE.to_owned(),
                why: text::line(&why, 300),
            }
        })
    }

    /// The first problem with samples of every kind of message.
    pub(crate) fn problem(&self, renderer: &Renderer) -> Option<Problem> {
        samples::all().into_iter().find_map(|(name, delivery)| {
            let failure = self.body(renderer, &delivery, samples::now()).err()?;
            let of = format!(", with the sample `{name}`");
            Some(match failure {
                Failure::Template(error) => source(&self.file).problem(&error, &of),
                Failure::Json(why) => source(&self.file).problem_at(0, 0, format!("{why}{of}")),
            })
        })
    }

    fn body(
        &self,
        renderer: &Renderer,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<String, Failure> {
        let event = alert::bounded(delivery);
        let view = Value::from(Serde(&renderer.view(delivery, now)));
        let values = context! { event => Value::from(Serde(&event)), ..view };
        let template = self.environment.get_template(BODY_TEMPLATE);
        let body =
            template.and_then(|template| templates::bounded(&template, &values, LIMIT_BYTES));
        let body = body.map_err(Failure::Template)?;
        if self.is_json
            && let Err(error) = serde_json::from_str::<IgnoredAny>(&body)
        {
            return Err(Failure::Json(not_json(&error, &body)));
        }
        Ok(body)
    }
}

/// Where in what the template gave, as there is no such place in the template.
fn not_json(error: &serde_json::Error, body: &str) -> String {
    let line = body.lines().nth(error.line().saturating_sub(1));
    let line = text::line(line.unwrap_or_default(), SHOWN_CHARS);
    format!("what it gives is not JSON: {error} of that: `{line}`")
}

fn source(file: &File) -> Source<'_> {
    Source {
        name: BODY_TEMPLATE,
        path: &file.path,
        text: &file.text,
    }
}

#[cfg(test)]
mod tests;
