//! A problem in a timeline: where, what, and what was expected.

use std::fmt;

use serde_saphyr::{Error as YamlError, Location};

/// Problems that are shown; a file with more has one cause.
const SHOWN: usize = 20;

/// One problem with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// From 1; 0 if the whole file is meant.
    pub line: u64,
    /// From 1, in characters; 0 if the whole file is meant.
    pub column: u64,
    /// What is wrong, and what was expected.
    pub message: String,
    /// That line; empty if the whole file is meant.
    pub excerpt: String,
}

/// All problems of a file; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.0.iter().take(SHOWN).map(ToString::to_string).collect();
        f.write_str(&shown.join("\n"))?;
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

/// `file:line:column: message`, and the line with a mark below the place.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.file, self.message);
        }
        let Self {
            file,
            line,
            column,
            message,
            excerpt,
        } = self;
        let blanks = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
        write!(f, "{file}:{line}:{column}: {message}")?;
        if excerpt.is_empty() {
            return Ok(());
        }
        write!(f, "\n  | {excerpt}\n  | {}^", " ".repeat(blanks))
    }
}

impl Problems {
    pub(super) fn of_file(file: &str, message: &str) -> Self {
        let source = Source::new(file, "");
        Self(vec![source.problem(Location::UNKNOWN, message.to_owned())])
    }
}

/// The file that problems are in.
pub(super) struct Source<'a> {
    file: String,
    lines: Vec<&'a str>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &str, text: &'a str) -> Self {
        Self {
            file: file.to_owned(),
            lines: text.lines().collect(),
        }
    }

    pub(super) fn problem(&self, at: Location, message: String) -> Problem {
        let index = usize::try_from(at.line())
            .ok()
            .and_then(|n| n.checked_sub(1));
        let excerpt = index.and_then(|index| self.lines.get(index));
        Problem {
            file: self.file.clone(),
            line: at.line(),
            column: at.column(),
            message,
            excerpt: excerpt.copied().unwrap_or_default().to_owned(),
        }
    }
}

/// What the YAML reader said, in our words.
pub(super) fn of_yaml(error: &YamlError, text: &str, file: &str) -> Problems {
    let at = error.location().unwrap_or(Location::UNKNOWN);
    let message = explained(error.without_snippet());
    Problems(vec![Source::new(file, text).problem(at, message)])
}

fn explained(error: &YamlError) -> String {
    match error {
        YamlError::SerdeUnknownField {
            field, expected, ..
        } => format!("unknown key `{field}`{}", suggestion(field, expected)),
        YamlError::SerdeUnknownVariant {
            variant, expected, ..
        } => format!("unknown value `{variant}`{}", suggestion(variant, expected)),
        YamlError::SerdeMissingField { field, .. } => format!("the key `{field}` is missing"),
        YamlError::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{key}` stands here twice")
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

/// `, did you mean …?` or what is there.
pub(super) fn suggestion(wrong: &str, known: &[&str]) -> String {
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
