//! Where webhooks may go: not to link-local and cloud metadata addresses, which hand out credentials to
//! whoever asks.
//!
//! Names are checked when a connection is made, not when the configuration is read, and the connection
//! goes to the address that was checked: a name that changes its mind in between gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// The metadata service of Alibaba Cloud; the others use 169.254.169.254.
const ALIBABA_METADATA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
/// The metadata service of AWS over IPv6.
const AWS_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Whether nothing is ever sent to `address`.
pub(super) fn is_refused(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local() || address == ALIBABA_METADATA,
        IpAddr::V6(address) => {
            address.is_unicast_link_local()
                || address == AWS_METADATA
                || inner(address).is_some_and(|inner| is_refused(inner.into()))
        }
    }
}

/// The IPv4 address within one of IPv6: mapped, compatible, or behind NAT64.
fn inner(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let nat64 = address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    let [.., a, b, c, d] = address.octets();
    if nat64 {
        Some(Ipv4Addr::new(a, b, c, d))
    } else {
        address.to_ipv4()
    }
}

/// The refused address that stands in `url` itself. Such a host is never looked up.
pub(crate) fn refused_literal(url: &Url) -> Option<IpAddr> {
    let address = match url.host()? {
        Host::Ipv4(address) => IpAddr::V4(address),
        Host::Ipv6(address) => IpAddr::V6(address),
        Host::Domain(_) => return None,
    };
    is_refused(address).then_some(address)
}

/// The system's resolver without the refused addresses.
pub(super) struct Filtered;

impl Resolve for Filtered {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is put in by the caller of the resolver.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Addrs = Box::new(permitted(found)?.into_iter());
            Ok(addresses)
        })
    }
}

fn permitted(found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, String> {
    let (refused, permitted): (Vec<_>, Vec<_>) = found.partition(|at| is_refused(at.ip()));
    match refused.first() {
        Some(refused) if permitted.is_empty() => Err(format!(
            "the name stands for {}, where nothing is sent",
            refused.ip()
        )),
        _ => Ok(permitted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_link_local_addresses_are_refused() {
        let refused = [
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::ffff:100.100.100.200",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
        ];
        for address in refused {
            assert!(is_refused(address.parse().unwrap()), "{address}");
        }
        let fine = [
            "127.0.0.1",
            "10.0.0.1",
            "100.100.100.201",
            "192.168.1.1",
            "::1",
            "fd00::1",
            "fec0::1",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
        ];
        for address in fine {
            assert!(!is_refused(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn odd_spellings_of_a_refused_address_are_refused() {
        let refused = [
            "http://169.254.169.254/",
            "http://0xa9fea9fe/",
            "http://2852039166/",
            "http://[fe80::1]/",
        ];
        for url in refused {
            assert!(
                refused_literal(&Url::parse(url).unwrap()).is_some(),
                "{url}"
            );
        }
        for url in [
            "http://127.0.0.1/",
            "http://hooks.example.com/",
            "http://[::1]/",
        ] {
            assert!(
                refused_literal(&Url::parse(url).unwrap()).is_none(),
                "{url}"
            );
        }
    }

    #[test]
    fn of_a_name_only_the_permitted_addresses_are_used() {
        let at = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        let mixed = [at("169.254.169.254"), at("10.0.0.1")];
        assert_eq!(permitted(mixed.into_iter()).unwrap(), [at("10.0.0.1")]);
        let error = permitted([at("169.254.169.254")].into_iter()).unwrap_err();
        assert!(error.contains("169.254.169.254"));
        assert!(permitted(std::iter::empty()).unwrap().is_empty());
    }
}
