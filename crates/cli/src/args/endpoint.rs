//! Where the node's registry listens, as runtimes write it into their configurations.

use std::fmt;
use std::str::FromStr;

/// `http://HOST:PORT` or `https://HOST:PORT`, without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    is_plain: bool,
    authority: String,
}

impl Endpoint {
    /// Host and port.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether it is plain HTTP.
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_plain { "http" } else { "https" }, self.authority)
    }
}

/// Why a text is no endpoint.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no endpoint: give http://HOST:PORT")]
pub struct EndpointError(String);

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || EndpointError(text.chars().take(80).collect());
        let (is_plain, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(wrong()),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority.rsplit_once(':').ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-'),
        };
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        if is_host && is_port { Ok(Self { is_plain, authority: authority.to_owned() }) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_scheme_host_and_port_and_nothing_else() {
        for (text, shown) in [
            ("http://127.0.0.1:4480", "http://127.0.0.1:4480"),
            ("http://127.0.0.1:4480/", "http://127.0.0.1:4480"),
            ("https://node.example:443", "https://node.example:443"),
            ("http://[::1]:4480", "http://[::1]:4480"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
        for text in
            ["", "127.0.0.1:4480", "http://127.0.0.1", "http://a:0", "http://a b:1", "http://a:1/v2", "http://\"a:1"]
        {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
