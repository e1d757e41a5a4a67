//! The HTTP client of whatever is sent to an address of the configuration.
//!
//! Must never happen: a redirect that is followed, a proxy that nobody named, an address that `egress.rs` refuses.

use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Client, redirect, retry};
use url::Url;

use crate::render::text;

use super::egress::Filtered;
use super::setup::{SetupError, pem};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Below the 60 s after which many servers close, so that we are first.
const IDLE_LIMIT: Duration = Duration::from_secs(55);
/// Attempts that a lane makes at a time at most, and connections that are kept open for them: 5,000 a second to a
/// receiver that takes 100 ms for each.
pub(super) const CONCURRENT: u32 = 640;
const NOTE_LIMIT_CHARS: usize = 200;

/// Prepares connections to `url`, with `ca_file` trusted beside the system's. Blocking: only at start.
pub(crate) fn client(
    url: &Url,
    ca_file: Option<&Path>,
    timeout: Duration,
) -> Result<Client, SetupError> {
    let mut client = Client::builder()
        .user_agent(concat!("syncbell/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .dns_resolver(Filtered)
        .connect_timeout(timeout.min(CONNECT_LIMIT))
        .pool_idle_timeout(IDLE_LIMIT)
        .pool_max_idle_per_host(CONCURRENT as usize)
        .tcp_nodelay(true);
    let unusable = |error: reqwest::Error| {
        SetupError::unusable(text::chain(&error.without_url(), NOTE_LIMIT_CHARS))
    };
    if url.scheme() != "https" {
        // Without TLS the system's certificates are not needed, and need not even exist.
        client = client.tls_certs_only([]);
    } else if let Some(path) = ca_file {
        let certificates = Certificate::from_pem_bundle(&pem(path)?).map_err(unusable)?;
        if certificates.is_empty() {
            let what = format!("{} holds no certificate", path.display());
            return Err(SetupError::unusable(what));
        }
        client = client.tls_certs_merge(certificates);
    }
    client.build().map_err(unusable)
}
