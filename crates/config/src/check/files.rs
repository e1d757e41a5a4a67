//! Files and secrets that the configuration names: read once here, so that a wrong path is found at the
//! start and not at the first use.

use std::path::PathBuf;

use serde_saphyr::{Location, Spanned};

use super::Checker;
use crate::mask::is_secret_key;
use crate::raw::Text;
use crate::secret::{LiveSecret, RawSecret, Secret, read_at_most};

/// A system's whole bundle of certificates is a quarter of this.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

impl Checker<'_> {
    /// The secret; none where it cannot be had, which is told.
    pub(super) fn secret(
        &mut self,
        key: &str,
        raw: &RawSecret,
        at: Location,
    ) -> Option<Secret<String>> {
        self.live(key, raw, at).map(|live| live.text().clone())
    }

    /// The same, where it may change while the program runs.
    pub(super) fn live(&mut self, key: &str, raw: &RawSecret, at: Location) -> Option<LiveSecret> {
        if matches!(raw, RawSecret::Literal(_)) {
            let message =
                format!("`{key}` stands in the file: prefer `{{env: NAME}}` or `{{file: PATH}}`");
            self.warn(at, message);
        }
        match raw.resolve_live(self.folder, self.env) {
            Ok(secret) => Some(secret),
            Err(message) => {
                self.lack(at, format!("`{key}`: {message}"));
                None
            }
        }
    }

    /// A file of certificates.
    pub(super) fn certificates(&mut self, key: &str, raw: Text) -> Option<PathBuf> {
        let marker = "-----BEGIN CERTIFICATE-----";
        let (path, _) = self.pem_file(key, marker, "certificates", &raw?)?;
        Some(path)
    }

    /// A file in which `marker` stands, with its text.
    pub(super) fn pem_file(
        &mut self,
        key: &str,
        marker: &str,
        what: &str,
        raw: &Spanned<String>,
    ) -> Option<(PathBuf, String)> {
        let (path, pem) = self.file(key, raw)?;
        if pem.contains(marker) {
            return Some((path, pem));
        }
        self.lack(raw.referenced, format!("`{key}`: expected {what} as PEM"));
        None
    }

    /// A file that holds a token, which is read again when it is used.
    pub(super) fn token_in(&mut self, raw: &Spanned<String>) -> Option<PathBuf> {
        let (path, token) = self.file("token_file", raw)?;
        if token.trim().is_empty() {
            let message = "`token_file` is empty: expected a token";
            self.lack(raw.referenced, message.to_owned());
        }
        Some(path)
    }

    /// A file that can be read, with its text.
    pub(super) fn file(&mut self, key: &str, raw: &Spanned<String>) -> Option<(PathBuf, String)> {
        let path = self.folder.join(&raw.value);
        match read_at_most(&path, FILE_LIMIT_BYTES) {
            Ok(text) => Some((path, text)),
            // By mistake the secret itself may stand there.
            Err(error) if is_secret_key(key) => {
                let message = format!("`{key}`: cannot read the file: {error}");
                self.lack(raw.referenced, message);
                None
            }
            Err(error) => {
                let message = format!("`{key}`: cannot read {}: {error}", path.display());
                self.lack(raw.referenced, message);
                None
            }
        }
    }
}
