//! Templates: the built-in ones, and the operator's in place of some. Compiled once, rendered within limits.
//!
//! In: sources, a view. Out: a text, or the name of the template that failed and why. Must never happen: markup from
//! outside in HTML, a template that runs without end or writes without bound.

use std::io;
use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::{
    AutoEscape, Environment, State, Template, UndefinedBehavior, Value, escape_formatter,
};
use syncbell_config::{Language, Problem, TemplateFile, Templates as Files};

use super::markup::Markup;

/// The escaping of what chats read.
const CHAT: &str = "chat";
/// Instructions that one template may run. The largest mail, a full digest, takes under 5,000.
const FUEL: u64 = 100_000;
/// Of a subject or a title, before it is made one line.
const LINE_LIMIT_BYTES: usize = 8 * 1024;
/// Of a text or a page. A digest of a flood is a fifth of this.
const TEXT_LIMIT_BYTES: usize = 256 * 1024;
/// A template nests its blocks and calls no deeper than this.
const DEPTH: usize = 100;

const BUILT_IN: [(Part, &str); 6] = [
    (Part::Subject, include_str!("templates/email.subject")),
    (Part::Title, include_str!("templates/email.title")),
    (Part::Text, include_str!("templates/email.txt")),
    (Part::Html, include_str!("templates/email.html")),
    (
        Part::ChatTitle("chat.title"),
        include_str!("templates/chat.title"),
    ),
    (
        Part::ChatText("chat.text"),
        include_str!("templates/chat.text"),
    ),
];

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Subject,
    Title,
    Text,
    Html,
    /// Of a chat; by the name of its file. Plain.
    ChatTitle(&'static str),
    /// Of a chat; by the name of its file. Markup.
    ChatText(&'static str),
}

impl Part {
    /// Those of a mail, in the order in which they are rendered: what comes later sees the title.
    pub(super) const MAIL: [Self; 4] = [Self::Title, Self::Subject, Self::Text, Self::Html];

    /// The name of its file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Subject => "email.subject",
            Self::Title => "email.title",
            Self::Text => "email.txt",
            Self::Html => "email.html",
            Self::ChatTitle(name) | Self::ChatText(name) => name,
        }
    }

    fn limit_bytes(self) -> usize {
        match self {
            Self::Subject | Self::Title | Self::ChatTitle(_) => LINE_LIMIT_BYTES,
            Self::Text | Self::Html | Self::ChatText(_) => TEXT_LIMIT_BYTES,
        }
    }

    /// What the built-in one is called, for `include` and in messages.
    fn built_in(self) -> String {
        match self {
            Self::ChatTitle(_) => "built-in/chat.title".to_owned(),
            Self::ChatText(_) => "built-in/chat.text".to_owned(),
            mail => format!("built-in/{}", mail.name()),
        }
    }
}

/// A template that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateFailure {
    /// `email.txt`, or its name with `built-in/` before it.
    pub(crate) template: String,
    /// Where and why, one line.
    pub(crate) why: String,
}

/// The compiled templates for one language.
pub(super) struct Templates {
    environment: Environment<'static>,
    own: Vec<(Part, TemplateFile)>,
}

impl Templates {
    /// Compiles the built-in ones, and the operator's of these parts; the problems are of the latter.
    pub(super) fn try_new(
        files: &Files,
        language: Language,
        parts: &[Part],
        markup: Markup,
    ) -> Result<Self, Vec<Problem>> {
        let mut environment = environment(markup);
        for (part, source) in BUILT_IN {
            environment
                .add_template_owned(part.built_in(), source)
                .expect("the built-in templates parse: every test of this room renders them");
        }
        let (mut own, mut problems) = (Vec::new(), Vec::new());
        for part in parts.iter().copied() {
            let Some(file) = files.file(part.name(), language) else {
                continue;
            };
            let added = environment.add_template_owned(part.name(), file.text.clone());
            match added {
                Ok(()) => own.push((part, file.clone())),
                Err(error) => problems.push(problem(part, file, &error, "")),
            }
        }
        if problems.is_empty() {
            Ok(Self { environment, own })
        } else {
            Err(problems)
        }
    }

    /// The part of `view`: by the operator's template; where that fails, by the built-in one. None: that failed too.
    pub(super) fn render(
        &self,
        part: Part,
        view: &Value,
        failures: &mut Vec<TemplateFailure>,
    ) -> Option<String> {
        self.render_some(part, view, true, failures)
    }

    /// The same; not by the operator's template unless `own`.
    pub(super) fn render_some(
        &self,
        part: Part,
        view: &Value,
        own: bool,
        failures: &mut Vec<TemplateFailure>,
    ) -> Option<String> {
        let own = self.own(part).filter(|_| own);
        let own = own.map(|_| part.name().to_owned());
        for name in own.into_iter().chain([part.built_in()]) {
            match self.render_named(&name, part, view) {
                Ok(text) => return Some(text),
                Err(error) => failures.push(TemplateFailure {
                    template: name,
                    why: super::text::line(&in_words(&error, true), 300),
                }),
            }
        }
        None
    }

    /// What is wrong with the operator's template of this part for this view, which `sample` names; none: it has no
    /// such template, or that is good.
    pub(super) fn problem(&self, part: Part, view: &Value, sample: &str) -> Option<Problem> {
        let file = self.own(part)?;
        let error = self.render_named(part.name(), part, view).err()?;
        let of = format!(", with the sample `{sample}`");
        Some(problem(part, file, &error, &of))
    }

    /// Whether the operator wrote any.
    pub(super) fn has_own(&self) -> bool {
        !self.own.is_empty()
    }

    fn own(&self, part: Part) -> Option<&TemplateFile> {
        let mut own = self.own.iter();
        own.find(|(of, _)| *of == part).map(|(_, file)| file)
    }

    fn render_named(
        &self,
        name: &str,
        part: Part,
        view: &Value,
    ) -> Result<String, minijinja::Error> {
        let template = self.environment.get_template(name)?;
        bounded(&template, view, part.limit_bytes())
    }

    /// Puts another source in the place of a built-in template.
    #[cfg(test)]
    pub(super) fn replace(&mut self, part: Part, source: &'static str) {
        let replaced = self.environment.add_template_owned(part.built_in(), source);
        replaced.expect("it parses");
    }
}

/// What `template` gives, if it is no longer than `limit_bytes`.
pub(super) fn bounded(
    template: &Template<'_, '_>,
    values: &Value,
    limit_bytes: usize,
) -> Result<String, minijinja::Error> {
    let mut written = Bounded {
        bytes: Vec::new(),
        limit: limit_bytes,
    };
    template.render_captured_to(values.clone(), &mut written)?;
    Ok(String::from_utf8_lossy(&written.bytes).into_owned())
}

/// Takes so many bytes.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            let what = format!("it writes more than {} KiB", self.limit / 1024);
            return Err(io::Error::other(what));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Limits, syntax and filters.
pub(super) fn environment(markup: Markup) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(DEPTH);
    // A misspelt name is an error, so that `check` finds it; `if` may ask for what is not there.
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    // Errors say in which column.
    environment.set_debug(true);
    let mut syntax = SyntaxConfig::builder();
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
        let extension = Path::new(name).extension();
        match extension.and_then(std::ffi::OsStr::to_str) {
            Some("html") => AutoEscape::Html,
            Some("text") => AutoEscape::Custom(CHAT.into()),
            _ => AutoEscape::None,
        }
    });
    environment.set_formatter(move |out, state, value| match state.auto_escape() {
        AutoEscape::Custom(_) => Ok(out.write_str(&marked(value, markup))?),
        _ => escape_formatter(out, state, value),
    });
    let is_chat = |state: &State<'_, '_>| matches!(state.auto_escape(), AutoEscape::Custom(_));
    environment.add_filter("strong", move |state: &State<'_, '_>, value: Value| {
        if is_chat(state) {
            Value::from_safe_string((markup.strong)(&marked(&value, markup)))
        } else {
            value
        }
    });
    environment.add_filter(
        "link",
        move |state: &State<'_, '_>, value: Value, url: Value| match (is_chat(state), url.as_str())
        {
            (true, Some(url)) => Value::from_safe_string((markup.link)(&value.to_string(), url)),
            _ => value,
        },
    );
    environment.add_filter("code", move |state: &State<'_, '_>, value: Value| {
        if is_chat(state) {
            Value::from_safe_string((markup.code)(&value.to_string()))
        } else {
            value
        }
    });
    environment.add_filter("pad", |text: String| super::text::padded(&text, 10));
    environment
}

/// As it stands in a chat's text: escaped, unless it is markup already.
fn marked(value: &Value, markup: Markup) -> String {
    let text = value.to_string();
    if value.is_safe() || value.is_none() {
        return text;
    }
    (markup.escape)(&text)
}

fn problem(part: Part, file: &TemplateFile, error: &minijinja::Error, of: &str) -> Problem {
    let source = Source {
        name: part.name(),
        path: &file.path,
        text: &file.text,
    };
    source.problem(error, of)
}

/// A template of the operator, as its problems are shown.
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// What `error` says of it.
    pub(super) fn problem(&self, error: &minijinja::Error, of: &str) -> Problem {
        // Of an included template the place is not one in this file.
        let is_here = error.name().is_none_or(|name| name == self.name);
        let line = error.line().filter(|_| is_here).unwrap_or(0);
        let column = match error.range() {
            Some(range) if line > 0 => column(self.text, range.start),
            _ => u64::from(line > 0),
        };
        let message = format!("{}{of}", in_words(error, !is_here));
        self.problem_at(u64::try_from(line).unwrap_or(0), column, message)
    }

    /// A problem at this place of it; line 0: it has none.
    pub(super) fn problem_at(&self, line: u64, column: u64, message: String) -> Problem {
        let path = self.path.display().to_string();
        Problem::of_text(&path, self.text, line, column, message)
    }
}

/// From 1, in characters.
fn column(text: &str, byte: usize) -> u64 {
    let before = text.get(..byte).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    u64::try_from(line.chars().count() + 1).unwrap_or(1)
}

/// What went wrong, on one line.
pub(super) fn in_words(error: &minijinja::Error, with_place: bool) -> String {
    let mut said = error.kind().to_string();
    if let Some(detail) = error.detail() {
        said = format!("{said}: {detail}");
    }
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        let words = deeper.to_string();
        if !said.contains(&words) {
            said = format!("{said}: {words}");
        }
        cause = deeper.source();
    }
    match (error.name(), error.line()) {
        (Some(name), Some(line)) if with_place => format!("{said} ({name}:{line})"),
        _ => said,
    }
}
