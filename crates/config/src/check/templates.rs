//! Languages, the operator's templates, and links to the console. Templates are read here, once; whether they
//! compile is the notifier's word.

use std::path::{Path, PathBuf};

use serde_saphyr::Spanned;
use url::Url;

use super::Checker;
use crate::config::{Console, Language, TEMPLATE_NAMES, TemplateFile, Templates};
use crate::problem::suggestion;
use crate::raw::{self, Text};
use crate::secret::read_at_most;

/// A long mail is a tenth of this.
const FILE_LIMIT_BYTES: u64 = 256 * 1024;
/// More than can have a name.
const FILES_LIMIT: usize = 1_000;

const OF_INSTANCES: [&str; 2] = ["region", "instance"];
const OF_REPOSITORIES: [&str; 5] = ["region", "instance", "namespace", "repo", "tag"];

impl Checker<'_> {
    /// The language, or `default`.
    pub(super) fn language(&mut self, raw: Text, default: Language) -> Language {
        let Some(raw) = raw else { return default };
        let all = Language::ALL;
        let named = all.into_iter().find(|one| one.as_str() == raw.value);
        named.unwrap_or_else(|| {
            let hint = suggestion(&raw.value, &all.map(Language::as_str));
            let message = format!("`language`: unknown value `{}`{hint}", raw.value);
            self.error(raw.referenced, message);
            default
        })
    }

    pub(super) fn templates(&mut self, raw: Option<Spanned<raw::Templates>>) -> Templates {
        let mut templates = Templates::default();
        let Some(raw) = raw else { return templates };
        let Some(dir) = self.required("dir", raw.value.dir, raw.referenced) else {
            return templates;
        };
        let folder = self.folder.join(&dir.value);
        let paths = match files_in(&folder) {
            Ok(paths) => paths,
            Err(error) => {
                let message = format!("`dir`: cannot read {}: {error}", folder.display());
                self.lack(dir.referenced, message);
                return templates;
            }
        };
        for path in paths {
            let file_name = path.file_name().unwrap_or_default().to_string_lossy();
            let Some((name, language)) = named(&file_name) else {
                let hint = suggestion(&file_name, &TEMPLATE_NAMES);
                let message = format!("no template is named `{file_name}`{hint}");
                self.lack(dir.referenced, message);
                continue;
            };
            match read_at_most(&path, FILE_LIMIT_BYTES) {
                Ok(text) => templates.files.push(TemplateFile {
                    name,
                    language,
                    path,
                    text,
                }),
                Err(error) => {
                    let message = format!("`dir`: cannot read {}: {error}", path.display());
                    self.lack(dir.referenced, message);
                }
            }
        }
        templates
    }

    pub(super) fn console(&mut self, raw: Option<raw::Console>) -> Console {
        let default = Console::default();
        let Some(raw) = raw else { return default };
        Console {
            instance: self.page("instance", raw.instance, &OF_INSTANCES, default.instance),
            repository: self.page(
                "repository",
                raw.repository,
                &OF_REPOSITORIES,
                default.repository,
            ),
        }
    }

    /// A URL with places in braces, of those that are `known`.
    fn page(
        &mut self,
        key: &str,
        raw: Text,
        known: &[&str],
        default: Option<String>,
    ) -> Option<String> {
        let Some(raw) = raw else { return default };
        if raw.value.trim().is_empty() {
            return None;
        }
        let mut filled = String::new();
        let mut rest = raw.value.as_str();
        while let Some((before, behind)) = rest.split_once('{') {
            let Some((place, behind)) = behind.split_once('}') else {
                self.error(raw.referenced, format!("`{key}`: a `{{` without its `}}`"));
                return None;
            };
            if !known.contains(&place) {
                let hint = suggestion(place, known);
                let message = format!("`{key}`: nothing is known as `{{{place}}}`{hint}");
                self.error(raw.referenced, message);
                return None;
            }
            filled.push_str(before);
            filled.push('x');
            rest = behind;
        }
        filled.push_str(rest);
        let url = Url::parse(&filled).ok();
        let good = url.is_some_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some()
        });
        if !good {
            let message = format!("`{key}`: expected an http:// or https:// URL");
            self.error(raw.referenced, message);
            return None;
        }
        Some(raw.value)
    }
}

/// `email.zh.txt` is `email.txt` in Chinese.
fn named(file_name: &str) -> Option<(&'static str, Option<Language>)> {
    let languages = [None, Some(Language::En), Some(Language::Zh)];
    TEMPLATE_NAMES.into_iter().find_map(|name| {
        let (channel, part) = name.split_once('.')?;
        let language = languages.into_iter().find(|language| match language {
            None => file_name == name,
            Some(language) => file_name == format!("{channel}.{}.{part}", language.as_str()),
        })?;
        Some((name, language))
    })
}

/// What lies in `folder`, in the order of names. What begins with a dot is not meant for us: so Kubernetes mounts
/// a ConfigMap.
fn files_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)?.take(FILES_LIMIT) {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if !name.to_string_lossy().starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
