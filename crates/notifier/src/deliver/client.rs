//! The HTTP client of whatever is sent to an address of the configuration.
//!
//! Must never happen: a redirect that is followed, a proxy that nobody named, an address that `egress.rs` refuses.

use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve;
use reqwest::{Certificate, Client, ClientBuilder, Identity, Proxy, redirect, retry};
use syncbell_config::{ClientCertificate, Http};
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

/// Prepares connections to `url`, where `names` looks up names. Blocking: only at start.
pub(super) fn client(
    url: &Url,
    http: &Http,
    names: Arc<dyn Resolve>,
) -> Result<Client, SetupError> {
    let mut client = Client::builder()
        .user_agent(concat!("syncbell/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .connect_timeout(http.timeout.min(CONNECT_LIMIT))
        .pool_idle_timeout(IDLE_LIMIT)
        .pool_max_idle_per_host(CONCURRENT as usize)
        .tcp_nodelay(true);
    let mut has_tls = url.scheme() == "https";
    if let Some(proxy) = &http.proxy {
        has_tls |= proxy.expose().scheme() == "https";
        let proxy = Proxy::all(proxy.expose().clone()).map_err(unusable)?;
        // Only the proxy's own name is looked up here, and the operator named it.
        client = client.proxy(proxy).dns_resolver(names);
    } else {
        let egress = Arc::new(http.egress.clone());
        client = client.dns_resolver(Arc::new(Filtered { names, egress }));
    }
    client = if has_tls {
        trusting(client, http)?
    } else {
        // Without TLS the system's certificates are not needed, and need not even exist.
        client.tls_certs_only([])
    };
    client.build().map_err(unusable)
}

/// With what it is to trust, and what it is known by.
fn trusting(mut client: ClientBuilder, http: &Http) -> Result<ClientBuilder, SetupError> {
    if let Some(path) = &http.ca_file {
        let certificates = Certificate::from_pem_bundle(&pem(path)?).map_err(unusable)?;
        if certificates.is_empty() {
            let what = format!("{} holds no certificate", path.display());
            return Err(SetupError::unusable(what));
        }
        client = client.tls_certs_merge(certificates);
    }
    if let Some(ClientCertificate {
        cert_file,
        key_file,
    }) = &http.client_certificate
    {
        let mut both = pem(cert_file)?;
        both.push(b'\n');
        both.extend(pem(key_file)?);
        let identity = Identity::from_pem(&both).map_err(|_| {
            let (cert, key) = (cert_file.display(), key_file.display());
            SetupError::unusable(format!("{cert} and {key} are no certificate and its key"))
        })?;
        client = client.identity(identity);
    }
    Ok(client)
}

fn unusable(error: reqwest::Error) -> SetupError {
    SetupError::unusable(text::chain(&error.without_url(), NOTE_LIMIT_CHARS))
}
