//! The JSON Schema of the file, made from its shape: editors complete and check by it.

use serde_json::Value;

use crate::raw;

/// The schema of `syncbell.yaml`; `config/syncbell.schema.json` is this.
pub fn schema() -> Value {
    schemars::schema_for!(raw::Config).to_value()
}
