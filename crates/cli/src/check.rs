//! `syncbell check`: the configuration, and whether every room can be set up from it.

use std::path::Path;

use anyhow::Context as _;

use syncbell_config::Part;

use crate::exit::Failure;
use crate::route::failed_tests;
use crate::run::{block_on, load};

/// Checks `file`; sends nothing and writes nothing.
pub(crate) fn check(file: &Path) -> anyhow::Result<()> {
    let config = load(file, Part::All)?;
    block_on(async {
        let poller = syncbell_poller::check(
            &config.instances,
            &config.discoveries,
            syncbell_poller::default_credentials(),
            syncbell_poller::Surroundings::of_process(),
        );
        poller.await.context(Failure::Configuration)?;
        syncbell_notifier::check(&config).context(Failure::Configuration)
    })?;
    for warning in &config.warnings {
        anstream::eprintln!("{}", warning.render(false));
    }
    let failed = failed_tests(&config);
    for test in &failed {
        anstream::eprintln!("{test}");
    }
    let tests = config.tests.len();
    if !failed.is_empty() {
        let what = format!("{} of {tests} tests do not hold", failed.len());
        return Err(anyhow::anyhow!(what)).context(Failure::Configuration);
    }
    let (instances, receivers) = (config.instances.len(), config.receivers.len());
    anstream::println!(
        "{}: {instances} instances, {receivers} receivers, {tests} tests: ok",
        file.display()
    );
    Ok(())
}
