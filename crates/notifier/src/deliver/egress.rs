//! Where requests may go, at the moment of connecting: what the configuration's `egress` refuses is not connected to.
//!
//! Names are checked when a connection is made, not when the configuration is read, and the connection goes to an
//! address that was checked: a name that changes its mind in between gains nothing. Through a proxy there is nothing
//! to check but addresses in the URL itself: the proxy looks up names, so filtering them is its task.

use std::error::Error as StdError;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use syncbell_config::Egress;
use url::{Host, Url};

/// Why nothing is sent to the address that stands in `url` itself. Such a host is never looked up.
pub(super) fn refused_literal(url: &Url, egress: &Egress) -> Option<String> {
    match url.host()? {
        Host::Ipv4(address) => egress.refusal(address.into()),
        Host::Ipv6(address) => egress.refusal(address.into()),
        Host::Domain(_) => None,
    }
}

/// All addresses of a name are refused.
#[derive(Debug, thiserror::Error)]
#[error("the name stands for {address}; {refusal}")]
pub(super) struct RefusedName {
    address: IpAddr,
    refusal: String,
}

impl RefusedName {
    /// It, if it is what `error` comes from.
    pub(super) fn within<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(refused) = error.downcast_ref::<Self>() {
                return Some(refused);
            }
            cause = error.source();
        }
        None
    }
}

/// The system's resolver.
pub(super) struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is put in by the caller of the resolver.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Addrs = Box::new(found.collect::<Vec<_>>().into_iter());
            Ok(addresses)
        })
    }
}

/// A resolver without the refused addresses.
pub(super) struct Filtered {
    pub(super) names: Arc<dyn Resolve>,
    pub(super) egress: Arc<Egress>,
}

impl Resolve for Filtered {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, egress) = (self.names.resolve(name), self.egress.clone());
        Box::pin(async move {
            let addresses: Addrs = Box::new(permitted(found.await?, &egress)?.into_iter());
            Ok(addresses)
        })
    }
}

fn permitted(
    found: impl Iterator<Item = SocketAddr>,
    egress: &Egress,
) -> Result<Vec<SocketAddr>, RefusedName> {
    let mut refused = None;
    let mut permitted = Vec::new();
    for at in found {
        match egress.refusal(at.ip()) {
            None => permitted.push(at),
            Some(refusal) => {
                let address = at.ip();
                refused.get_or_insert(RefusedName { address, refusal });
            }
        }
    }
    match refused {
        Some(refused) if permitted.is_empty() => Err(refused),
        _ => Ok(permitted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_spellings_of_a_refused_address_are_refused() {
        let usual = Egress::default();
        let strict = Egress {
            strict: true,
            ..Egress::default()
        };
        let refused = |url: &str, egress| refused_literal(&Url::parse(url).unwrap(), egress);
        let metadata = [
            "http://169.254.169.254/",
            "http://0xa9fea9fe/",
            "http://2852039166/",
            "http://0251.0376.0251.0376/",
            "http://169.254.43518/",
            "http://169.254.169.254./",
            "http://\u{ff11}69.254.169.254/",
            "http://[fe80::1]/",
            "http://[::ffff:a9fe:a9fe]/",
        ];
        for url in metadata {
            assert!(refused(url, &usual).is_some(), "{url}");
        }
        let here = [
            "http://127.0.0.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://[::1]/",
        ];
        for url in here {
            assert!(refused(url, &usual).is_none(), "{url}");
            let said = refused(url, &strict).unwrap_or_default();
            assert!(said.contains("allow_networks: ["), "{url}: {said}");
        }
        assert!(refused("http://hooks.example.com/", &strict).is_none());
    }

    #[test]
    fn of_a_name_only_the_permitted_addresses_are_used() {
        let usual = Egress::default();
        let at = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        let mixed = [at("169.254.169.254"), at("10.0.0.1")];
        let used = permitted(mixed.into_iter(), &usual).unwrap();
        assert_eq!(used, [at("10.0.0.1")]);
        let error = permitted([at("169.254.169.254")].into_iter(), &usual).unwrap_err();
        assert!(error.to_string().contains("stands for 169.254.169.254"));
        assert!(permitted(std::iter::empty(), &usual).unwrap().is_empty());
    }
}
