//! `syncbell check`: the configuration, and whether every room can be set up from it.

use std::path::Path;

use anyhow::Context as _;

use syncbell_config::Part;

use crate::exit::Failure;
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
        syncbell_notifier::check(&config.receivers, &config.templates, &config.console)
            .context(Failure::Configuration)
    })?;
    for warning in &config.warnings {
        anstream::eprintln!("{}", warning.render(false));
    }
    let (instances, receivers) = (config.instances.len(), config.receivers.len());
    anstream::println!(
        "{}: {instances} instances, {receivers} receivers: ok",
        file.display()
    );
    Ok(())
}
