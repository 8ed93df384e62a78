//! Host and Origin headers: what keeps a web page from reaching a server on this machine or network
//! through somebody's browser (DNS rebinding, cross-site requests).
//!
//! The Host must be one that the server goes by. An Origin is only sent by browsers; it must be the
//! server's own (scheme aside) or one that was allowed by name.

use http::uri::Authority;
use http::{HeaderMap, Uri, header};
use protocol::error::ErrorCode;

use crate::admission::Rejection;

/// Which Host and Origin headers are accepted.
#[derive(Debug, Clone)]
pub struct Guard {
    hosts: Vec<(String, Option<u16>)>,
    any_host: bool,
    origins: Vec<AllowedOrigin>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct AllowedOrigin {
    scheme: String,
    host: String,
    /// `None` allows every port.
    port: Option<u16>,
}

/// A host or origin that cannot be allowed because it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid host or origin")]
pub struct BadGuard(pub String);

impl Guard {
    /// Accepts the names of this machine's loopback only.
    #[must_use]
    pub fn loopback() -> Self {
        let hosts = ["localhost", "127.0.0.1", "::1"].map(|host| (host.to_owned(), None)).into();
        Self { hosts, any_host: false, origins: Vec::new() }
    }

    /// Accepts a host as well, `name` or `name:port`; without a port every port.
    pub fn allow_host(mut self, host: &str) -> Result<Self, BadGuard> {
        let authority: Authority = host.parse().map_err(|_| BadGuard(host.to_owned()))?;
        self.hosts.push((normal(authority.host()), authority.port_u16()));
        Ok(self)
    }

    /// Accepts every Host, for a server behind a proxy that checks it, or one that health checks reach by
    /// changing addresses. Origins are checked as before.
    #[must_use]
    pub fn allow_any_host(mut self) -> Self {
        self.any_host = true;
        self
    }

    /// Accepts an origin as well: `https://name`, `https://name:port` or, for every port, `https://name:*`.
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, BadGuard> {
        let bad = || BadGuard(origin.to_owned());
        let (text, any_port) = match origin.strip_suffix(":*") {
            Some(text) => (text, true),
            None => (origin, false),
        };
        let (scheme, host, port) = parse_origin(text).ok_or_else(bad)?;
        self.origins.push(AllowedOrigin { scheme, host, port: if any_port { None } else { Some(port) } });
        Ok(self)
    }

    /// Checks one request.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Rejection> {
        let refused =
            |what: &str| Rejection::new(ErrorCode::Origin, format!("the {what} header is not allowed"));
        let (host, port) = requested_host(uri, headers).ok_or_else(|| refused("Host"))?;
        let known =
            self.hosts.iter().any(|(name, number)| *name == host && (number.is_none() || *number == port));
        if !known && !self.any_host {
            return Err(refused("Host"));
        }
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else {
            return if headers.contains_key(header::ORIGIN) { Err(refused("Origin")) } else { Ok(()) };
        };
        let (scheme, origin_host, origin_port) =
            origin.to_str().ok().and_then(parse_origin).ok_or_else(|| refused("Origin"))?;
        let own = origin_host == host && port.or_else(|| default_port(&scheme)) == Some(origin_port);
        let allowed = self.origins.iter().any(|allowed| {
            allowed.scheme == scheme
                && allowed.host == origin_host
                && allowed.port.is_none_or(|port| port == origin_port)
        });
        if own || allowed { Ok(()) } else { Err(refused("Origin")) }
    }
}

/// The host that the request names; a request that names two is ambiguous and names none.
fn requested_host(uri: &Uri, headers: &HeaderMap) -> Option<(String, Option<u16>)> {
    let mut values = headers.get_all(header::HOST).iter();
    let authority = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok()?.parse::<Authority>().ok()?,
        (None, _) => uri.authority()?.clone(),
        _ => return None,
    };
    Some((normal(authority.host()), authority.port_u16()))
}

fn parse_origin(text: &str) -> Option<(String, String, u16)> {
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let authority = uri.authority()?;
    // The path of an origin is empty; `http` reads that as "/".
    if uri.path() != "/" || uri.query().is_some() || text.ends_with('/') || authority.as_str().contains('@') {
        return None;
    }
    let port = authority.port_u16().or_else(|| default_port(&scheme))?;
    Some((scheme, normal(authority.host()), port))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn normal(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(guard: &Guard, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        guard.check(&Uri::from_static("/mcp"), &headers).is_ok()
    }

    #[test]
    fn only_known_hosts_pass() {
        let guard = Guard::loopback().allow_host("hub.example.org:8443").unwrap();
        for good in
            ["localhost", "LOCALHOST:9", "127.0.0.1:80", "[::1]:9", "hub.example.org:8443", "localhost."]
        {
            assert!(check(&guard, good, None), "{good}");
        }
        for bad in
            ["evil.example", "127.0.0.1.evil.example", "hub.example.org", "hub.example.org:9", "a b", ""]
        {
            assert!(!check(&guard, bad, None), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_the_servers_own_or_allowed_by_name() {
        let guard = Guard::loopback().allow_origin("https://app.example:*").unwrap();
        for good in ["http://localhost:8000", "https://app.example", "https://app.example:44"] {
            assert!(check(&guard, "localhost:8000", Some(good)), "{good}");
        }
        for bad in [
            "http://localhost:3000",
            "http://localhost",
            "http://evil.example",
            "http://app.example",
            "null",
            "",
            "localhost:8000",
            "http://localhost:8000/x",
            "http://user@localhost:8000",
        ] {
            assert!(!check(&guard, "localhost:8000", Some(bad)), "{bad}");
        }
    }

    #[test]
    fn any_host_still_means_known_origins() {
        let guard = Guard::loopback().allow_any_host();
        assert!(check(&guard, "10.1.2.3:80", None));
        assert!(check(&guard, "10.1.2.3:80", Some("http://10.1.2.3")));
        assert!(!check(&guard, "10.1.2.3:80", Some("http://evil.example")));
    }

    #[test]
    fn two_hosts_or_origins_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, "localhost".parse().unwrap());
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert!(Guard::loopback().check(&Uri::from_static("/"), &headers).is_err());
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, "localhost".parse().unwrap());
        headers.append(header::ORIGIN, "http://localhost".parse().unwrap());
        headers.append(header::ORIGIN, "http://evil.example".parse().unwrap());
        assert!(Guard::loopback().check(&Uri::from_static("/"), &headers).is_err());
    }
}
