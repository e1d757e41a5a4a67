//! The way out: an HTTP client for one endpoint, with its proxy and the authorities that it trusts.
//!
//! In: an endpoint, a proxy, certificates, the environment's variables. Out: a client builder without
//! redirects and retries, and bounded reads. Must never happen: a proxy between us and this machine
//! that nobody asked for by name, a proxy's password in a text, a body without a limit.

use std::time::Duration;

use reqwest::{Certificate, ClientBuilder, NoProxy, Proxy, Response};
use url::{Host, Url};

use crate::Error;

/// How requests leave this machine.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    /// Named by the configuration; used whatever the environment says.
    pub(crate) proxy: Option<&'a Url>,
    /// PEM, trusted beside the system's authorities.
    pub(crate) ca_pem: Option<&'a [u8]>,
    /// The environment.
    pub(crate) look_up: &'a dyn Fn(&str) -> Option<String>,
}

/// A builder for requests to `endpoint`; the caller adds its timeouts.
pub(crate) fn builder(endpoint: &Url, way: Way<'_>) -> Result<ClientBuilder, Error> {
    let proxy = proxy(endpoint, way)?;
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        // It would send the same nonce again.
        .retry(reqwest::retry::never())
        // No proxy that is not named here.
        .no_proxy()
        .user_agent(concat!("syncbell/", env!("CARGO_PKG_VERSION")));
    let is_plain = endpoint.scheme() == "http" && proxy.as_ref().is_none_or(|(_, plain)| *plain);
    let builder = match proxy {
        Some((proxy, _)) => builder.proxy(proxy),
        None => builder,
    };
    if let Some(pem) = way.ca_pem {
        let certificates = Certificate::from_pem_bundle(pem).map_err(|error| Error::Setup {
            what: format!("the certificates to trust: {}", chain(&error)),
        })?;
        return Ok(builder.tls_certs_merge(certificates));
    }
    if is_plain {
        // Nothing to verify: neither load the system's roots nor fail where there are none.
        return Ok(builder.tls_certs_only([]));
    }
    Ok(builder)
}

/// The proxy for `endpoint`, and whether one talks to it in the clear.
///
/// Without a named one the environment's, as curl has it: the lower-case name wins, `https_proxy` or
/// `http_proxy` by the endpoint's scheme, then `all_proxy`, unless `no_proxy` names the host. Where a
/// CGI server may have set `HTTP_PROXY` from a request's header (`REQUEST_METHOD` is set), it is not
/// believed. This machine's own addresses are never asked through a proxy of the environment.
fn proxy(endpoint: &Url, way: Way<'_>) -> Result<Option<(Proxy, bool)>, Error> {
    if let Some(url) = way.proxy {
        return through(url, "`proxy`").map(Some);
    }
    if is_loopback(endpoint) {
        return Ok(None);
    }
    let get = |name: &str| (way.look_up)(name).filter(|value| !value.trim().is_empty());
    let names: &[&str] = if endpoint.scheme() == "https" {
        &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    } else if get("REQUEST_METHOD").is_some() {
        &["http_proxy", "all_proxy", "ALL_PROXY"]
    } else {
        &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
    };
    let Some((name, value)) = names
        .iter()
        .find_map(|name| Some((*name, get(name)?.trim().to_owned())))
    else {
        return Ok(None);
    };
    let url = if value.contains("://") {
        Url::parse(&value)
    } else {
        Url::parse(&format!("http://{value}"))
    };
    let url = url.map_err(|_| bad(name))?;
    let (proxy, is_plain) = through(&url, name)?;
    let no_proxy = get("no_proxy").or_else(|| get("NO_PROXY"));
    let no_proxy = no_proxy.and_then(|list| NoProxy::from_string(&list));
    Ok(Some((proxy.no_proxy(no_proxy), is_plain)))
}

/// The proxy at `url`, which `name` names, and whether one talks to it in the clear.
fn through(url: &Url, name: &str) -> Result<(Proxy, bool), Error> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::Setup {
            what: format!("{name}: only http:// and https:// proxies are supported"),
        });
    }
    let proxy = Proxy::all(url.clone()).map_err(|_| bad(name))?;
    Ok((proxy, url.scheme() == "http"))
}

fn bad(name: &str) -> Error {
    Error::Setup {
        // Not what it is: a password may be in it.
        what: format!("{name} is not a proxy's URL"),
    }
}

fn is_loopback(endpoint: &Url) -> bool {
    match endpoint.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback())
        }
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name.eq_ignore_ascii_case("localhost")
                || name.to_ascii_lowercase().ends_with(".localhost")
        }
        None => false,
    }
}

/// Why a body could not be read.
pub(crate) enum Unread {
    /// The connection ended before it did.
    CutOff,
    /// It is larger than the limit.
    TooLarge,
    /// It did not come in time.
    TooSlow,
}

/// The whole body, of at most `limit_bytes`.
pub(crate) async fn body(answer: &mut Response, limit_bytes: usize) -> Result<Vec<u8>, Unread> {
    // What the server promises is believed up to the limit, and saves growing.
    let promised = answer
        .content_length()
        .and_then(|n| usize::try_from(n).ok());
    let mut body = Vec::with_capacity(promised.unwrap_or(0).min(limit_bytes));
    while let Some(chunk) = answer.chunk().await.map_err(|error| unread(&error))? {
        if body.len() + chunk.len() > limit_bytes {
            return Err(Unread::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unread(error: &reqwest::Error) -> Unread {
    if error.is_timeout() {
        Unread::TooSlow
    } else {
        Unread::CutOff
    }
}

/// A client that connects within `connect` and has a whole answer within `in_all`.
pub(crate) fn client(
    endpoint: &Url,
    way: Way<'_>,
    connect: Duration,
    in_all: Duration,
) -> Result<reqwest::Client, Error> {
    let builder = builder(endpoint, way)?
        .connect_timeout(connect)
        .timeout(in_all);
    builder.build().map_err(|error| Error::Setup {
        what: chain(&error),
    })
}

/// The error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
