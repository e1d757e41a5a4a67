//! Who watches the watcher: the shape of `heartbeat` and `watchdog`.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{ClientCertificate, DURATION, Text};
use crate::secret::RawSecret;

/// A ping for a dead man's switch outside.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Heartbeat {
    /// Where to POST, http or https; `{env: NAME}` or `{file: PATH}` where the URL is a secret.
    #[schemars(with = "RawSecret")]
    pub(crate) url: Option<Spanned<RawSecret>>,
    /// How often; at least `1s`. Default `1m`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) every: Text,
    /// Over everything, the answer's body included. Default `10s`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) timeout: Text,
    /// Certificates to trust beside the system's, PEM.
    #[schemars(with = "Option<String>")]
    pub(crate) ca_file: Text,
    /// Mutual TLS: what the receiver knows us by.
    #[schemars(with = "Option<ClientCertificate>")]
    pub(crate) client_certificate: Option<Spanned<ClientCertificate>>,
    /// An http:// or https:// proxy; with a password in it `{env: NAME}` or `{file: PATH}`. Default: none.
    #[schemars(with = "Option<RawSecret>")]
    pub(crate) proxy: Option<Spanned<RawSecret>>,
}

/// When Syncbell tells that it cannot tell.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Watchdog {
    /// When nothing reached a receiver for so long, and something should have, the fallback is told. Default `15m`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) receiver_failing_for: Text,
}
