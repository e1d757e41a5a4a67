//! `syncbell config`: what a configuration file may say, and what one comes to.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use syncbell_config::Part;

use crate::run::load;

/// What of it.
#[derive(Debug, Subcommand)]
pub(crate) enum Configuration {
    /// The JSON Schema of the file, for editors
    Schema,
    /// What is in effect: the file with every default filled in, and without secrets
    Show(Shape),
}

/// Which, and how it is printed.
#[derive(Debug, Args)]
pub(crate) struct Shape {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "syncbell.yaml")]
    config: PathBuf,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
}

/// How a configuration is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

/// `syncbell config …`
pub(crate) fn config(asked: &Configuration) -> anyhow::Result<()> {
    let text = match asked {
        Configuration::Schema => serde_json::to_string_pretty(&syncbell_config::schema())?,
        Configuration::Show(shape) => {
            let shown = load(&shape.config, Part::All)?.shown();
            match shape.output {
                Format::Yaml => shown.to_yaml().context("could not write it")?,
                Format::Json => serde_json::to_string_pretty(&shown)?,
            }
        }
    };
    let mut out = anstream::stdout().lock();
    writeln!(out, "{}", text.trim_end())?;
    out.flush().context("could not print")
}
