//! Where requests to receivers may go. Pure: what an address is, and whether it is permitted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The metadata service of Alibaba Cloud; the others use 169.254.169.254.
const ALIBABA_METADATA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
/// The metadata service of AWS over IPv6.
const AWS_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// What is not the public internet (IANA's special-purpose registries), as address and length.
const SPECIAL_V4: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    // The broadcast address is the last of it.
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];
const SPECIAL_V6: [(Ipv6Addr, u8); 12] = [
    // None, and this machine.
    (Ipv6Addr::UNSPECIFIED, 127),
    // NAT64, also the local one: what stands behind it is for the translator to say.
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

/// Where requests to receivers may go; what the operator's own proxy does is its own affair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// Only to the public internet. Else everywhere but to link-local addresses and metadata services, which hand
    /// out credentials to whoever asks.
    pub strict: bool,
    /// Permitted all the same.
    pub allow_networks: Vec<IpNet>,
}

impl Egress {
    /// Why nothing is sent to `address`, and the line that would change that; none: it is permitted.
    pub fn refusal(&self, address: IpAddr) -> Option<String> {
        let kind = if is_metadata(address) {
            "a link-local address or a metadata service"
        } else if self.strict && is_special(address) {
            "not on the public internet, and `egress` is `strict`"
        } else {
            return None;
        };
        if self.allows(address) {
            return None;
        }
        let network = IpNet::from(inner(address).map_or(address, IpAddr::V4));
        let line = match self.allow_networks.as_slice() {
            [] => format!("add `allow_networks: [{network}]`"),
            _ => format!("add {network} to `allow_networks`"),
        };
        Some(format!(
            "nothing is sent to {address}: {kind}; to permit it, {line}"
        ))
    }

    fn allows(&self, address: IpAddr) -> bool {
        let inner = inner(address).map(IpAddr::V4);
        // An address of IPv4 in disguise is judged as what it is: `::/0` says nothing about it.
        let judged = inner.unwrap_or(address);
        let mut networks = self.allow_networks.iter();
        networks.any(|network| network.contains(&judged))
    }
}

/// Whether nothing is ever sent to `address` unless it is permitted by name.
fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local() || address == ALIBABA_METADATA,
        IpAddr::V6(address) => {
            address.is_unicast_link_local()
                || address == AWS_METADATA
                || inner(address.into()).is_some_and(|inner| is_metadata(inner.into()))
        }
    }
}

fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => SPECIAL_V4.iter().any(|(network, length)| {
            let mask = u32::MAX << (32 - length);
            address.to_bits() & mask == network.to_bits()
        }),
        IpAddr::V6(address) => {
            let special = SPECIAL_V6.iter().any(|(network, length)| {
                let mask = u128::MAX << (128 - length);
                address.to_bits() & mask == network.to_bits()
            });
            special || inner(address.into()).is_some_and(|inner| is_special(inner.into()))
        }
    }
}

/// The IPv4 address within one of IPv6: mapped, compatible, or behind NAT64.
fn inner(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    if address.is_loopback() || address.is_unspecified() {
        return None;
    }
    let nat64 = address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    let [.., a, b, c, d] = address.octets();
    if nat64 {
        Some(Ipv4Addr::new(a, b, c, d))
    } else {
        address.to_ipv4()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(egress: &Egress, address: &str) -> bool {
        egress.refusal(address.parse().unwrap()).is_some()
    }

    fn egress(strict: bool, networks: &[&str]) -> Egress {
        let networks = networks.iter().map(|network| network.parse().unwrap());
        Egress {
            strict,
            allow_networks: networks.collect(),
        }
    }

    #[test]
    fn metadata_and_link_local_addresses_are_refused() {
        let usual = egress(false, &[]);
        let metadata = [
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
        for address in metadata {
            assert!(refused(&usual, address), "{address}");
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
            assert!(!refused(&usual, address), "{address}");
        }
    }

    #[test]
    fn strict_refuses_the_ends_of_each_special_range_and_nothing_beside_them() {
        let strict = egress(true, &[]);
        let ranges = [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.88.99.0", "192.88.99.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("198.51.100.0", "198.51.100.255"),
            ("203.0.113.0", "203.0.113.255"),
            ("224.0.0.0", "255.255.255.255"),
            ("::", "::1"),
            ("::ffff:10.0.0.0", "::ffff:10.255.255.255"),
            ("64:ff9b::", "64:ff9b::ffff:ffff"),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
            ("100::", "100::ffff:ffff:ffff:ffff"),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ];
        for (first, last) in ranges {
            assert!(refused(&strict, first) && refused(&strict, last), "{first}");
        }
        let beside = [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.101.0",
            "203.0.112.255",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b:2::",
            "100:0:0:1::",
            "2001:db9::",
            "2003::",
            "3fff:1000::",
            "5f01::",
            "fbff::",
            "2606:4700::1111",
        ];
        for address in beside {
            assert!(!refused(&strict, address), "{address}");
        }
    }

    #[test]
    fn what_is_permitted_by_name_is_permitted_and_the_refusal_gives_the_line() {
        let strict = egress(true, &["10.1.0.0/16", "fd00::/8", "::1/128"]);
        for fine in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "::1"] {
            assert!(!refused(&strict, fine), "{fine}");
        }
        for wrong in ["10.2.0.1", "::ffff:10.2.0.1", "fc00::1", "169.254.169.254"] {
            assert!(refused(&strict, wrong), "{wrong}");
        }
        let metadata = egress(false, &["169.254.169.254/32"]);
        assert!(!refused(&metadata, "169.254.169.254"));
        assert!(!refused(&metadata, "::ffff:169.254.169.254"));
        assert!(refused(&metadata, "169.254.169.253"));
        assert!(refused(&egress(false, &["::/0"]), "::ffff:169.254.169.254"));

        let said =
            |egress: &Egress, address: &str| egress.refusal(address.parse().unwrap()).unwrap();
        assert_eq!(
            said(&egress(true, &[]), "10.0.0.5"),
            "nothing is sent to 10.0.0.5: not on the public internet, and `egress` is `strict`; \
             to permit it, add `allow_networks: [10.0.0.5/32]`"
        );
        let mapped = said(&egress(true, &[]), "::ffff:10.0.0.5");
        assert!(
            mapped.ends_with("add `allow_networks: [10.0.0.5/32]`"),
            "{mapped}"
        );
        let next = said(&metadata, "fe80::1");
        assert!(
            next.ends_with("add fe80::1/128 to `allow_networks`"),
            "{next}"
        );
    }
}
