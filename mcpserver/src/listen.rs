//! Where a process listens: loopback only in this version, and one line for whatever can be wrong.

use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use transport::serve::guard::Guard;
use transport::serve::{ServeOptions, bind, serve_http};

use crate::exit::Failure;

/// How long requests in progress may take after the end began.
const GRACE: Duration = Duration::from_secs(3);

/// First parts of paths that the plain routes of hub and workers have.
const TAKEN: [&str; 14] = [
    "health",
    "v1",
    "register",
    "workers",
    "negotiations",
    "jobs",
    "artifacts",
    "trust",
    "tools",
    "prompts",
    "resources",
    "metrics",
    "openapi.json",
    "w",
];

/// Checks the path of an MCP endpoint and gives it its leading slash.
pub fn mcp_path(text: &str) -> Result<String, String> {
    let path = text.trim_matches('/');
    let fits = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    if path.is_empty() || path.len() > 200 || !path.split('/').all(fits) {
        return Err("must be like /mcp: parts of letters, digits, '-', '.', '_' and '~'".to_owned());
    }
    let first = path.split('/').next().unwrap_or_default();
    if TAKEN.contains(&first) {
        return Err(format!("/{first} is the path of other routes; choose another"));
    }
    Ok(format!("/{path}"))
}

/// Host and port to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    host: String,
    port: u16,
}

impl Place {
    /// A place on this machine's loopback; everything else is refused.
    pub fn loopback(host: &str, port: u16) -> Result<Self, Failure> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = bare.eq_ignore_ascii_case("localhost")
            || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if !is_loopback {
            return Err(Failure::NotLoopback { host: host.to_owned() });
        }
        let host = if bare.contains(':') { format!("[{bare}]") } else { bare.to_owned() };
        Ok(Self { host, port })
    }

    /// Takes the port.
    pub async fn bind(&self) -> Result<Listening, Failure> {
        let address = format!("{}:{}", self.host, self.port);
        let listener = bind(&address).await.map_err(|source| match source.kind() {
            std::io::ErrorKind::AddrInUse => Failure::PortInUse { host: self.host.clone(), port: self.port },
            _ => Failure::Listen { address: address.clone(), source },
        })?;
        let port = listener.local_addr().map_err(|source| Failure::Listen { address, source })?.port();
        Ok(Listening { listener, url: format!("http://{}:{port}", self.host), host: self.host.clone() })
    }
}

/// A taken port.
pub struct Listening {
    listener: TcpListener,
    /// The URL of its root, without a slash at the end.
    pub url: String,
    host: String,
}

impl Listening {
    /// The names that requests may use for this place.
    pub fn guard(&self) -> Result<Guard, Failure> {
        // 127.0.0.2 is loopback as well, and not among the names that are known anyway.
        Guard::loopback().allow_host(&self.host).map_err(|error| Failure::Usage(format!("--host: {error}")))
    }

    /// Serves a router until the server is ended.
    pub fn serve(self, router: Router) -> Server {
        let shutdown = CancellationToken::new();
        let options = ServeOptions { grace: GRACE, ..ServeOptions::default() };
        let task = tokio::spawn(serve_http(self.listener, router, shutdown.clone(), options));
        Server { shutdown, task: Some(task) }
    }
}

/// A server that runs.
pub struct Server {
    shutdown: CancellationToken,
    /// None once it has ended.
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// Takes no more requests, and gives those in progress a moment.
    pub async fn drain(&mut self, moment: Duration) {
        self.shutdown.cancel();
        if let Some(task) = &mut self.task
            && tokio::time::timeout(moment, task).await.is_ok()
        {
            self.task = None;
        }
    }

    /// Ends, and waits for the requests in progress as long as they may take.
    pub async fn end(mut self) {
        self.drain(GRACE + Duration::from_secs(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn only_loopback_is_listened_at() {
        for good in ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.8.8", "LOCALHOST"] {
            assert!(Place::loopback(good, 0).is_ok(), "{good}");
        }
        for bad in ["0.0.0.0", "::", "192.168.1.2", "example.org", "", "127.0.0.1.evil.example"] {
            let failure = Place::loopback(bad, 0).unwrap_err();
            assert_eq!(failure.exit(), Exit::Configuration, "{bad}");
        }
    }

    #[test]
    fn a_path_cannot_take_the_place_of_another_route() {
        assert_eq!(mcp_path("mcp/"), Ok("/mcp".to_owned()));
        assert_eq!(mcp_path("/a/b-c"), Ok("/a/b-c".to_owned()));
        for bad in ["", "/", "/jobs", "/v1/x", "/{id}", "/a//b", "/a b", "/../x", "/w/x/mcp"] {
            assert!(mcp_path(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_server_can_be_drained_before_it_ends() {
        let listening = Place::loopback("localhost", 0).unwrap().bind().await.unwrap();
        let mut server = listening.serve(Router::new());
        server.drain(Duration::from_secs(5)).await;
        server.end().await;
    }

    #[tokio::test]
    async fn a_taken_port_is_one_clear_line() {
        let place = Place::loopback("127.0.0.1", 0).unwrap();
        let first = place.bind().await.unwrap();
        let port = first.url.rsplit(':').next().unwrap().parse().unwrap();
        let failure = Place::loopback("127.0.0.1", port).unwrap().bind().await.map(|_| ()).unwrap_err();
        assert_eq!(failure.exit(), Exit::Configuration);
        assert!(failure.line().contains("--port"), "{}", failure.line());
    }
}
