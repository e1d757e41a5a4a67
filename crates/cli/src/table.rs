//! Rows on stdout: a table for people, JSON for programs.

use clap::ValueEnum;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;

/// How rows are printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
    Jsonl,
}

/// Prints `rows`; a table has these `columns`.
pub(crate) fn rows(output: Output, rows: &[Value], columns: &[&str]) -> anyhow::Result<()> {
    match output {
        Output::Json => one(&Value::Array(rows.to_vec())),
        Output::Jsonl => {
            for row in rows {
                anstream::println!("{row}");
            }
            Ok(())
        }
        Output::Table => {
            let mut table = Table::new();
            table
                .load_style(NOTHING)
                .set_header(columns.iter().map(|name| name.to_uppercase()));
            for row in rows {
                table.add_row(columns.iter().map(|name| match &row[*name] {
                    Value::String(text) => plain(text),
                    Value::Null => String::new(),
                    other => other.to_string(),
                }));
            }
            anstream::println!("{table}");
            Ok(())
        }
    }
}

/// `text` for people: others wrote it, and no character of it may steer the terminal.
pub(crate) fn plain(text: &str) -> String {
    let harmless = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    text.chars().map(harmless).collect()
}

/// Prints one thing in full.
pub(crate) fn one(value: &Value) -> anyhow::Result<()> {
    anstream::println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
