//! A problem in a configuration file: where, what, and what was expected.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level as Kind, Origin, Renderer, Snippet};
use serde_saphyr::{Error as YamlError, Location};

use crate::mask::mask;

/// Problems that are shown; a file with more has one cause.
const SHOWN: usize = 50;

/// Longest line, in characters, that is shown.
const LINE_LIMIT: usize = 400;

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
    /// That line with secrets masked; empty if the whole file is meant or the line is very long.
    excerpt: String,
}

/// All problems of a file; at least one. Show it, exit 78.
#[derive(Clone, Debug)]
pub struct Problems(pub Vec<Problem>);

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl Problems {
    /// All of them, one below the other.
    pub fn render(&self, color: bool) -> String {
        let mut shown: Vec<String> = self
            .0
            .iter()
            .take(SHOWN)
            .map(|problem| problem.render(color))
            .collect();
        if self.0.len() > SHOWN {
            shown.push(format!("and {} more", self.0.len() - SHOWN));
        }
        shown.join("\n")
    }

    /// A problem with the file as a whole.
    pub(crate) fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self(vec![Source::new(file, "").problem(
            Level::Error,
            Location::UNKNOWN,
            message.into(),
        )])
    }
}

impl Problem {
    /// An error in another file that the configuration names: at `line` and `column` of its `text`, both from 1.
    pub fn of_text(file: &str, text: &str, line: u64, column: u64, message: String) -> Self {
        let shown = text
            .lines()
            .nth(usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX));
        let excerpt = shown.filter(|line| line.chars().count() <= LINE_LIMIT);
        Self {
            level: Level::Error,
            file: file.to_owned(),
            line,
            column,
            message,
            excerpt: excerpt.unwrap_or_default().to_owned(),
        }
    }

    /// `file:line:column`, or the file.
    pub fn place(&self) -> String {
        match self.line {
            0 => self.file.clone(),
            line => format!("{}:{line}:{}", self.file, self.column),
        }
    }

    /// The problem with its line of the file.
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
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let group = if self.line == 0 {
            Group::with_title(title).element(Origin::path(self.file.as_str()))
        } else if self.excerpt.is_empty() {
            let origin = Origin::path(self.file.as_str()).line(size(self.line));
            Group::with_title(title).element(origin.char_column(size(self.column)))
        } else {
            let snippet = Snippet::source(self.excerpt.as_str())
                .path(self.file.as_str())
                .line_start(size(self.line))
                .annotation(AnnotationKind::Primary.span(word(&self.excerpt, size(self.column))));
            title.element(snippet)
        };
        renderer.render(&[group])
    }
}

/// The bytes of the word at `column` of `line`.
fn word(line: &str, column: usize) -> std::ops::Range<usize> {
    let begin: usize = line
        .chars()
        .take(column.saturating_sub(1))
        .map(char::len_utf8)
        .sum();
    let rest = &line[begin..];
    let length = rest.find([',', '}', ']', ' ']).unwrap_or(rest.len());
    begin..begin + length.max(rest.chars().next().map_or(0, char::len_utf8))
}

/// A file as it may be shown.
pub(crate) struct Source {
    file: String,
    lines: Vec<String>,
}

impl Source {
    /// Masks `text` once, for all problems.
    pub(crate) fn new(file: &str, text: &str) -> Self {
        let lines = mask(text).lines().map(str::to_owned).collect();
        Self {
            file: file.to_owned(),
            lines,
        }
    }

    /// A problem at `at` of this file.
    pub(crate) fn problem(&self, level: Level, at: Location, message: String) -> Problem {
        let (line, column) = (at.line(), at.column());
        let excerpt = self
            .line(line)
            .filter(|line| line.chars().count() <= LINE_LIMIT);
        Problem {
            level,
            file: self.file.clone(),
            line,
            column,
            message,
            excerpt: excerpt.unwrap_or_default().to_owned(),
        }
    }

    /// Like `problem`, at `key` itself, whose value `at` is: a block's place is that of its first line.
    pub(crate) fn problem_at_key(&self, key: &str, at: Location, message: String) -> Problem {
        let mut problem = self.problem(Level::Error, at, message);
        let named = format!("{key}:");
        for number in (1..=at.line()).rev().take(20) {
            let Some(line) = self.line(number) else {
                continue;
            };
            if let Some(byte) = line.find(&named) {
                problem.line = number;
                problem.column = u64::try_from(line[..byte].chars().count() + 1).unwrap_or(1);
                let short = line.chars().count() <= LINE_LIMIT;
                problem.excerpt = if short {
                    line.to_owned()
                } else {
                    String::new()
                };
                break;
            }
        }
        problem
    }

    fn line(&self, number: u64) -> Option<&str> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.lines.get(index).map(String::as_str)
    }
}

/// What the YAML reader said, in our words.
pub(crate) fn of_yaml(error: &YamlError, text: &str, file: &str) -> Problems {
    let at = error.location().unwrap_or(Location::UNKNOWN);
    let message = explained(error.without_snippet());
    Problems(vec![Source::new(file, text).problem(
        Level::Error,
        at,
        message,
    )])
}

fn explained(error: &YamlError) -> String {
    match error {
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
        YamlError::Unexpected { expected, .. } => format!("expected {}", in_words(expected)),
        YamlError::InvalidScalar { ty, .. } => format!("expected {}", in_words(ty)),
        YamlError::MultipleDocuments { .. } => {
            "a second document stands here: expected one document a file".to_owned()
        }
        YamlError::MergeKeyNotAllowed { .. } => {
            "merge keys (`<<`) are not supported: write the keys out".to_owned()
        }
        YamlError::AliasError { error, .. } => explained(error),
        other => {
            // The place is shown with the line; the reader's own texts end with it as well.
            let text = other.to_string();
            text.rfind(" at line ")
                .map_or(text.clone(), |at| text[..at].to_owned())
        }
    }
}

/// The YAML reader's words for what it wants, as people write it.
fn in_words(expected: &str) -> &str {
    match expected {
        "mapping start" => "a mapping: `key: value`, one a line or in `{}`",
        "sequence start" => "a list: `- item`, one a line, or in `[]`",
        "string scalar" => "a text",
        "boolean" => "`true` or `false`",
        "u16" => "a whole number from 1 to 65535",
        other => other,
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
