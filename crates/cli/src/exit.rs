//! Exit codes (sysexits.h): 0 ok, 1 failed, 2 usage (clap's), 69 unavailable, 75 try again, 78 configuration.

use std::process::ExitCode;

/// A failure with an exit code of its own; anything else is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The service that was asked is not there.
    Unavailable,
    /// A lock is held, a port is taken, a disk is full: the same command may work later.
    TryAgain,
    /// The configuration must change first.
    Configuration,
    /// The command ran and its answer is no.
    No,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "unavailable",
            Self::TryAgain => "could not go on; a later try may work",
            Self::Configuration => "the configuration must change",
            Self::No => "failed",
        })
    }
}

impl std::error::Error for Failure {}

/// Says what failed on stderr, and gives its code.
pub(crate) fn code(done: anyhow::Result<()>) -> ExitCode {
    let Err(error) = done else {
        return ExitCode::SUCCESS;
    };
    let failure = error.downcast_ref::<Failure>().copied();
    if failure != Some(Failure::No) {
        anstream::eprintln!("syncbell: {error:#}");
    }
    ExitCode::from(match failure {
        Some(Failure::Unavailable) => 69,
        Some(Failure::TryAgain) => 75,
        Some(Failure::Configuration) => 78,
        Some(Failure::No) | None => 1,
    })
}
