//! Places for handshakes under way: by transport, by network, and apart for addresses where members were seen.
//!
//! An address is a host: for IPv6 that is a /64, of which one machine can take any. Networks are a /24, or a /64 and a
//! /56: what a provider gives to one customer (RFC 6177).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Refused;

/// Handshakes of addresses where no member was seen: in all over one transport, of a /56, and of a /24 or a /64.
const NEW_MAX: usize = 96;
const NEW_WIDE_MAX: usize = 48;
pub const NEW_NARROW_MAX: usize = 32;
/// Handshakes of addresses where members were seen: in all over one transport, and of an address. Many nodes of a site
/// may share one.
const SEEN_MAX: usize = 192;
const SEEN_HOST_MAX: usize = 64;
/// Addresses that are remembered, those that were seen last.
const HOSTS_MAX: usize = 4096;

/// The transport of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Carrier {
    Quic,
    Tcp,
}

/// Whether a member was seen at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    New,
    Seen,
}

/// A network: an address whose last bits are zero, and the bits that count.
type Network = (IpAddr, u8);

/// See the module.
#[derive(Default)]
pub struct Places {
    /// Places that are taken, in all (`None`) and by network. None is here that is zero.
    taken: BTreeMap<(Carrier, Kind, Option<Network>), usize>,
    /// Hosts where members were seen, and when in the order of all.
    hosts: BTreeMap<IpAddr, u64>,
    sightings: u64,
}

/// The place of one handshake; [`Places::give_back`] ends it.
#[derive(Debug)]
pub struct Place {
    ip: IpAddr,
    carrier: Carrier,
    kind: Kind,
}

impl Place {
    pub fn ip(&self) -> IpAddr {
        self.ip
    }
}

impl Places {
    /// # Errors
    /// If all places are taken, or those of the network.
    pub fn take(&mut self, ip: IpAddr, carrier: Carrier) -> Result<Place, Refused> {
        let kind = if self.hosts.contains_key(&host(ip)) { Kind::Seen } else { Kind::New };
        let place = Place { ip, carrier, kind };
        for (network, max) in bounds(&place) {
            let taken = self.taken.get(&(carrier, kind, network)).copied().unwrap_or(0);
            if taken >= max {
                return Err(if network.is_some() { Refused::Network } else { Refused::All });
            }
        }
        for (network, _) in bounds(&place) {
            *self.taken.entry((carrier, kind, network)).or_default() += 1;
        }
        Ok(place)
    }

    pub fn give_back(&mut self, place: Place) {
        for (network, _) in bounds(&place) {
            let key = (place.carrier, place.kind, network);
            if let Some(taken) = self.taken.get_mut(&key) {
                *taken -= 1;
                if *taken == 0 {
                    self.taken.remove(&key);
                }
            }
        }
    }

    /// A member is at this address.
    pub fn seen(&mut self, ip: IpAddr) {
        self.sightings += 1;
        self.hosts.insert(host(ip), self.sightings);
        if self.hosts.len() > HOSTS_MAX
            && let Some((&oldest, _)) = self.hosts.iter().min_by_key(|(_, seen)| **seen)
        {
            self.hosts.remove(&oldest);
        }
    }

    /// Counts of places that are taken.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.taken.len()
    }
}

/// The counts that a place is in, and the most of each.
fn bounds(place: &Place) -> Vec<(Option<Network>, usize)> {
    match (place.kind, place.ip) {
        (Kind::Seen, ip) => vec![(None, SEEN_MAX), (Some(network(ip, host_bits(ip))), SEEN_HOST_MAX)],
        (Kind::New, ip @ IpAddr::V4(_)) => vec![(None, NEW_MAX), (Some(network(ip, 24)), NEW_NARROW_MAX)],
        (Kind::New, ip @ IpAddr::V6(_)) => {
            vec![(None, NEW_MAX), (Some(network(ip, 56)), NEW_WIDE_MAX), (Some(network(ip, 64)), NEW_NARROW_MAX)]
        }
    }
}

/// The host of an address.
pub fn host(ip: IpAddr) -> IpAddr {
    network(ip, host_bits(ip)).0
}

fn host_bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 64 }
}

fn network(ip: IpAddr, bits: u8) -> Network {
    let ip = match ip {
        IpAddr::V4(ip) => {
            IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & !(u32::MAX.checked_shr(bits.into()).unwrap_or(0))))
        }
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !(u128::MAX >> bits))),
    };
    (ip, bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// As many places as there are for handshakes from these addresses in turn.
    fn take_all<'a>(places: &mut Places, carrier: Carrier, from: impl Iterator<Item = &'a str>) -> Vec<Place> {
        from.map_while(|from| places.take(ip(from), carrier).ok()).collect()
    }

    #[test]
    fn a_network_has_its_share_of_one_transport() {
        let mut places = Places::default();
        let flood = ["192.0.2.1", "192.0.2.99"].into_iter().cycle();
        let taken = take_all(&mut places, Carrier::Tcp, flood);
        assert_eq!(taken.len(), NEW_NARROW_MAX);
        assert_eq!(places.take(ip("192.0.2.7"), Carrier::Tcp).unwrap_err(), Refused::Network);
        assert!(places.take(ip("192.0.2.7"), Carrier::Quic).is_ok());
        assert!(places.take(ip("192.0.3.7"), Carrier::Tcp).is_ok());
    }

    #[test]
    fn a_customer_of_ipv6_has_the_share_of_one() {
        let mut places = Places::default();
        let flood = ["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:ff::1"].into_iter().cycle();
        let taken = take_all(&mut places, Carrier::Quic, flood);
        assert_eq!(taken.len(), NEW_WIDE_MAX);
        assert!(places.take(ip("2001:db8:0:100::1"), Carrier::Quic).is_ok());
    }

    #[test]
    fn addresses_where_members_were_seen_have_places_of_their_own() {
        let mut places = Places::default();
        places.seen(ip("198.51.100.1"));
        places.seen(ip("2001:db8::1"));
        let flood: Vec<String> = (0..255).map(|net| format!("203.0.{net}.1")).collect();
        let taken = take_all(&mut places, Carrier::Tcp, flood.iter().map(String::as_str));
        assert_eq!(taken.len(), NEW_MAX);
        assert_eq!(places.take(ip("198.51.100.2"), Carrier::Tcp).unwrap_err(), Refused::All);
        assert!(places.take(ip("198.51.100.1"), Carrier::Tcp).is_ok());
        assert!(places.take(ip("2001:db8::abcd"), Carrier::Tcp).is_ok(), "a host is a /64");
        let of_host = take_all(&mut places, Carrier::Tcp, std::iter::repeat("198.51.100.1"));
        assert_eq!(of_host.len() + 1, SEEN_HOST_MAX);
    }

    #[test]
    fn places_that_are_given_back_leave_nothing() {
        let mut places = Places::default();
        let taken = take_all(&mut places, Carrier::Quic, ["192.0.2.1", "2001:db8::1", "192.0.2.1"].into_iter());
        // A place stays what it was when it was taken.
        places.seen(ip("192.0.2.1"));
        taken.into_iter().for_each(|place| places.give_back(place));
        assert_eq!(places.held(), 0);
    }

    #[test]
    fn the_hosts_that_were_seen_last_are_remembered() {
        let mut places = Places::default();
        let host = |number: usize| IpAddr::from([10, 0, (number >> 8) as u8, number as u8]);
        (0..HOSTS_MAX).for_each(|number| places.seen(host(number)));
        places.seen(host(0));
        places.seen(host(HOSTS_MAX));
        assert_eq!(places.hosts.len(), HOSTS_MAX);
        assert!(places.hosts.contains_key(&host(0)) && !places.hosts.contains_key(&host(1)));
    }
}
