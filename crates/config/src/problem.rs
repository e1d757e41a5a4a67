//! A problem in a configuration file: where, what, and what was expected.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level as Kind, Renderer, Snippet};
use serde_saphyr::{Error as YamlError, Location};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing starts.
    Error,
    /// It works, and is unwise.
    Warning,
}

/// One problem with its place.
#[derive(Clone, Debug)]
pub struct Problem {
    /// How bad it is.
    pub level: Level,
    /// The file, as it was named.
    pub file: String,
    /// From 1; 0 if the whole file is meant.
    pub line: u64,
    /// From 1, in characters; 0 if the whole file is meant.
    pub column: u64,
    /// What is wrong, and what was expected.
    pub message: String,
    /// The file's text with literal secrets masked.
    text: String,
}

/// All problems of a file; at least one. Show it, exit 78.
#[derive(Clone, Debug)]
pub struct Problems(pub Vec<Problem>);

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            f.write_str(&problem.render(false))?;
        }
        Ok(())
    }
}

impl Problems {
    /// A problem with the file as a whole.
    pub(crate) fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self(vec![Problem {
            level: Level::Error,
            file: file.to_owned(),
            line: 0,
            column: 0,
            message: format!("{file} {}", message.into()),
            text: String::new(),
        }])
    }
}

impl Problem {
    pub(crate) fn at(
        level: Level,
        location: Location,
        file: &str,
        text: &str,
        message: String,
    ) -> Self {
        Self {
            level,
            file: file.to_owned(),
            line: location.line(),
            column: location.column(),
            message,
            text: mask(text),
        }
    }

    /// `file:line:column`, or the file.
    pub fn place(&self) -> String {
        match self.line {
            0 => self.file.clone(),
            line => format!("{}:{line}:{}", self.file, self.column),
        }
    }

    /// The problem with its lines of the file.
    pub fn render(&self, color: bool) -> String {
        let kind = match self.level {
            Level::Error => Kind::ERROR,
            Level::Warning => Kind::WARNING,
        };
        let title = kind.primary_title(self.message.as_str());
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        match span(&self.text, self.line, self.column) {
            Some(span) => {
                let snippet = Snippet::source(self.text.as_str())
                    .path(self.file.as_str())
                    .annotation(AnnotationKind::Primary.span(span));
                renderer.render(&[title.element(snippet)])
            }
            None => renderer.render(&[annotate_snippets::Group::with_title(title)]),
        }
    }
}

/// The bytes of the word at line and column.
fn span(text: &str, line: u64, column: u64) -> Option<Range<usize>> {
    let line = usize::try_from(line).ok()?.checked_sub(1)?;
    let column = usize::try_from(column).ok()?.saturating_sub(1);
    let begin: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text.get(begin..)?.split('\n').next()?;
    let skipped: usize = rest.chars().take(column).map(char::len_utf8).sum();
    let word = &rest[skipped..];
    let length = word.find([',', '}', ']', ' ', '\r']).unwrap_or(word.len());
    Some(begin + skipped..begin + skipped + length.max(usize::from(!word.is_empty())))
}

/// Replaces literal values of `secret` and `password` by stars of the same length.
fn mask(text: &str) -> String {
    text.split_inclusive('\n').map(mask_line).collect()
}

fn mask_line(line: &str) -> String {
    let mut masked = line.to_owned();
    for key in ["secret:", "password:"] {
        let Some(at) = line.find(key) else { continue };
        let value = at + key.len();
        let rest = line[value..].trim_start_matches(' ');
        let begin = line.len() - rest.len();
        if rest.starts_with('{') || rest.trim().is_empty() {
            continue;
        }
        let end = begin + rest.find([',', '}', '\n', '\r']).unwrap_or(rest.len());
        masked.replace_range(begin..end, &"*".repeat(end - begin));
    }
    masked
}

/// What the YAML reader said, in our words.
pub(crate) fn of_yaml(error: &YamlError, text: &str, file: &str) -> Problems {
    let plain = error.without_snippet();
    let message = match plain {
        YamlError::SerdeUnknownField {
            field, expected, ..
        } => {
            format!("unknown key `{field}`{}", suggestion(field, expected))
        }
        YamlError::SerdeUnknownVariant {
            variant, expected, ..
        } => {
            format!("unknown value `{variant}`{}", suggestion(variant, expected))
        }
        YamlError::SerdeMissingField { field, .. } => format!("the key `{field}` is missing"),
        YamlError::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{key}` stands here twice")
        }
        YamlError::SerdeInvalidType {
            unexpected,
            expected,
            ..
        } => {
            format!("expected {expected}, found {unexpected}")
        }
        other => other.to_string(),
    };
    match error.location() {
        Some(location) => Problems(vec![Problem::at(
            Level::Error,
            location,
            file,
            text,
            message,
        )]),
        None => Problems::of_file(file, message),
    }
}

/// `, did you mean …?` or what is there.
pub(crate) fn suggestion(wrong: &str, known: &[&str]) -> String {
    let close = known
        .iter()
        .map(|word| (strsim::damerau_levenshtein(wrong, word), *word))
        .filter(|(distance, word)| *distance <= 1 + word.len() / 4)
        .min();
    match close {
        Some((_, word)) => format!(", did you mean `{word}`?"),
        None => format!(", expected one of: {}", known.join(", ")),
    }
}
