//! What messages look like, checked.

use std::path::PathBuf;

/// The files that may lie in `templates.dir`; the same with a language in the name, as in `email.zh.txt`, for that
/// language alone. The notifier's built-in templates have these names, which a test there holds true.
pub const TEMPLATE_NAMES: [&str; 12] = [
    "email.subject",
    "email.title",
    "email.txt",
    "email.html",
    "dingtalk.title",
    "dingtalk.text",
    "feishu.title",
    "feishu.text",
    "wecom.title",
    "wecom.text",
    "slack.title",
    "slack.text",
];

/// What messages for people are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Chinese, simplified.
    Zh,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::En, Self::Zh];

    /// The word in the configuration, and in names of files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh",
        }
    }
}

/// Templates of the operator, read but not compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Templates {
    /// At most one of each name.
    pub files: Vec<TemplateFile>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateFile {
    /// One of [`TEMPLATE_NAMES`].
    pub name: &'static str,
    /// For messages in this language; none: for all that have no file of their own.
    pub language: Option<Language>,
    /// Where it lies.
    pub path: PathBuf,
    /// What stands in it.
    pub text: String,
}

impl Templates {
    /// The file for `name` in `language`, if there is one.
    pub fn file(&self, name: &str, language: Language) -> Option<&TemplateFile> {
        let of = |wanted: Option<Language>| {
            self.files
                .iter()
                .find(move |file| file.name == name && file.language == wanted)
        };
        of(Some(language)).or_else(|| of(None))
    }
}

/// Links to the registry's console: URLs with places for what they are about, in braces; none: no link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Console {
    /// `{region}`, `{instance}`
    pub instance: Option<String>,
    /// Those, `{namespace}`, `{repo}` and `{tag}`
    pub repository: Option<String>,
}

impl Default for Console {
    fn default() -> Self {
        let page =
            |name| format!("https://cr.console.aliyun.com/{{region}}/instance/{{instance}}/{name}");
        Self {
            instance: Some(page("dashboard")),
            repository: Some(page("repositories")),
        }
    }
}
