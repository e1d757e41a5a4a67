//! Exit codes (sysexits.h): 0 ok, 1 failed, 2 usage (clap's), 69 unavailable, 75 try again, 77 denied,
//! 78 configuration.

use std::io;
use std::process::ExitCode;

use syncbell_notifier::StoreError;

/// A failure with an exit code of its own; anything else is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The service that was asked is not there.
    Unavailable,
    /// A lock is held, a port is taken, a disk is full: the same command may work later.
    TryAgain,
    /// A permission is missing.
    Denied,
    /// The configuration must change first.
    Configuration,
    /// It was sent, and refused.
    Refused,
    /// The command ran and its answer is no.
    No,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "unavailable",
            Self::TryAgain => "could not go on; a later try may work",
            Self::Denied => "denied",
            Self::Configuration => "the configuration must change",
            Self::Refused => "refused",
            Self::No => "failed",
        })
    }
}

impl std::error::Error for Failure {}

/// Gives the failure of a store that does not open its exit code: 77 where a permission is missing, 78
/// where the folder or the version must change first, 75 where a later try may work.
pub(crate) fn store(error: anyhow::Error) -> anyhow::Error {
    let mut causes = error.chain();
    let failure = match causes.find_map(|cause| cause.downcast_ref::<StoreError>()) {
        Some(StoreError::Unwritable { source, .. }) => match source.kind() {
            io::ErrorKind::PermissionDenied => Failure::Denied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::TryAgain,
            _ => Failure::Configuration,
        },
        Some(StoreError::NewerFormat { .. }) => Failure::Configuration,
        _ => Failure::TryAgain,
    };
    error.context(failure)
}

/// The chain of causes. Many of our errors end in the words of their cause already.
fn in_words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if words.is_empty() {
            words = cause;
        } else if !words.ends_with(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    words
}

/// Says what failed on stderr, and gives its code.
pub(crate) fn code(done: anyhow::Result<()>) -> ExitCode {
    let Err(error) = done else {
        return ExitCode::SUCCESS;
    };
    let failure = error.downcast_ref::<Failure>().copied();
    if failure != Some(Failure::No) {
        anstream::eprintln!("syncbell: {}", in_words(&error));
    }
    ExitCode::from(match failure {
        Some(Failure::Unavailable) => 69,
        Some(Failure::TryAgain) => 75,
        Some(Failure::Denied) => 77,
        Some(Failure::Configuration) => 78,
        Some(Failure::No | Failure::Refused) | None => 1,
    })
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_cause_is_not_said_twice() {
        let error = anyhow!("the log: it is gone").context(Failure::Unavailable);
        assert_eq!(in_words(&error), "unavailable: the log: it is gone");
        let error = anyhow!("it is gone").context("the log: it is gone");
        assert_eq!(in_words(&error), "the log: it is gone");
    }
}
