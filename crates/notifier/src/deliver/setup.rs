//! What can be wrong with a channel before it sends anything.

use std::path::{Path, PathBuf};

use syncbell_config::Problem;

const CA_FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// Why a channel cannot be set up. Only a change of the configuration helps.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    /// `ca_file` cannot be read.
    #[error("could not read the certificates in {path}")]
    CaFile {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The template of its body does not compile.
    #[error("the template has a problem")]
    Template(Problem),
    /// A setting that the channel cannot work with.
    #[error("could not set up the channel: {what}")]
    Unusable {
        /// Which and why; without secrets.
        what: String,
    },
}

impl SetupError {
    pub(super) fn unusable(what: impl Into<String>) -> Self {
        Self::Unusable { what: what.into() }
    }
}

/// The bytes of a PEM file of at most 1 MiB. Blocking: only at start.
pub(super) fn pem(path: &Path) -> Result<Vec<u8>, SetupError> {
    let failed = |source| SetupError::CaFile {
        path: path.to_owned(),
        source,
    };
    let size_bytes = std::fs::metadata(path).map_err(failed)?.len();
    if size_bytes > CA_FILE_LIMIT_BYTES {
        return Err(SetupError::unusable(format!(
            "{} is larger than 1 MiB",
            path.display()
        )));
    }
    std::fs::read(path).map_err(failed)
}
