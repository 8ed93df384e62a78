//! The way to the API server: a connection made from a kubeconfig or a service account, and requests with
//! a deadline and bounded answers.
//!
//! A kubeconfig may name a program that prints credentials. It runs apart from the callers' threads, so that
//! one that hangs costs a deadline and nothing else.

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::Client;
use kube::client::{Body, ClientBuilder};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::core::params::ListParams;
use kube::core::{Request, request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::options::{self, KubernetesOptions};
use super::refusals::Failure;

/// The most that is read of one answer. A page of 500 pods has about 5 MB.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;
/// The most that is read of a complaint.
const COMPLAINT_LIMIT: usize = 64 * 1024;
/// Objects in one page of a listing.
const PAGE: u32 = 500;
/// Objects in one listing. The largest clusters have 150,000 pods.
const MOST_OBJECTS: usize = 500_000;

/// A connection, and the namespace in which work runs.
#[derive(Clone)]
pub(super) struct Connection {
    client: Client,
    pub(super) namespace: String,
}

/// Which cluster is meant, as whom, and where in it.
#[derive(Debug, Clone)]
struct Target {
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    namespace: Option<String>,
    deadline: Duration,
}

/// The API server of one context.
pub(super) struct ApiServer {
    target: Target,
    way: Mutex<Way>,
}

/// How far the connection has come.
#[derive(Default)]
enum Way {
    #[default]
    None,
    /// Somebody is making it.
    Begun(oneshot::Receiver<Result<Connection, Failure>>),
    Made(Connection),
}

/// A page of a listing.
#[derive(Deserialize)]
struct Page<K> {
    #[serde(default)]
    metadata: ListMeta,
    items: Option<Vec<K>>,
}

impl ApiServer {
    pub(super) fn new(options: &KubernetesOptions) -> Self {
        let target = Target {
            kubeconfig: options.kubeconfig.clone(),
            context: options.context.clone(),
            namespace: options.namespace.clone(),
            deadline: options.deadline,
        };
        Self { target, way: Mutex::default() }
    }

    /// The connection; it is made once, and again after credentials were not accepted.
    pub(super) async fn connection(&self) -> Result<Connection, Failure> {
        let mut way = self.way.lock().await;
        let mut made = match std::mem::take(&mut *way) {
            Way::Made(connection) => {
                *way = Way::Made(connection.clone());
                return Ok(connection);
            }
            Way::Begun(made) => made,
            Way::None => self.connect()?,
        };
        let after = self.target.deadline;
        let Ok(connection) = timeout_at(Instant::now() + after, &mut made).await else {
            // Whoever comes next waits for the same, so that what hangs hangs once.
            *way = Way::Begun(made);
            return Err(Failure::Silent { what: "reading the kubeconfig", after });
        };
        let broken = |_| Failure::Configuration("it cannot be read".to_owned());
        let connection = connection.map_err(broken)??;
        *way = Way::Made(connection.clone());
        Ok(connection)
    }

    /// Begins to make the connection, in a thread of its own.
    fn connect(&self) -> Result<oneshot::Receiver<Result<Connection, Failure>>, Failure> {
        let (target, runtime) = (self.target.clone(), tokio::runtime::Handle::current());
        let (send, receive) = oneshot::channel();
        let connect = move || {
            // Nobody may be waiting any more.
            let _late = send.send(runtime.block_on(target.connect()));
        };
        let thread = std::thread::Builder::new().name("kubeconfig".to_owned());
        thread.spawn(connect).map_err(|error| Failure::Configuration(error.to_string()))?;
        Ok(receive)
    }

    /// Sends a request and reads its answer.
    pub(super) async fn ask(
        &self,
        what: &'static str,
        request: Result<http::Request<Vec<u8>>, request::Error>,
    ) -> Result<Vec<u8>, Failure> {
        let mut answer = Vec::new();
        self.read(what, request, |part| {
            answer.extend_from_slice(part);
            if answer.len() > ANSWER_LIMIT {
                Err(format!("it has more than {ANSWER_LIMIT} bytes"))
            } else {
                Ok(true)
            }
        })
        .await?;
        Ok(answer)
    }

    /// Sends a request and hands the parts of its answer on, as they come, until `take` has enough.
    pub(super) async fn read(
        &self,
        what: &'static str,
        request: Result<http::Request<Vec<u8>>, request::Error>,
        mut take: impl FnMut(&[u8]) -> Result<bool, String>,
    ) -> Result<(), Failure> {
        let after = self.target.deadline;
        let until = Instant::now() + after;
        let silent = |_| Failure::Silent { what, after };
        let unreachable = |problem: String| Failure::Unreachable { what, problem };
        let request = request.map_err(|error| Failure::NotUnderstood { what, problem: error.to_string() })?;
        let client = self.connection().await?.client;
        // A task of its own: renewing credentials may block its thread.
        let mut task = JoinSet::new();
        task.spawn(async move { client.send(request.map(Body::from)).await });
        let response = timeout_at(until, task.join_next()).await.map_err(silent)?;
        let response = match response {
            Some(Ok(response)) => response.map_err(|error| unreachable(chain(&error)))?,
            _ => return Err(unreachable("the request was given up".to_owned())),
        };
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            if status == http::StatusCode::UNAUTHORIZED {
                // The kubeconfig may have newer ones by the next time.
                *self.way.lock().await = Way::None;
            }
            let complaint = timeout_at(until, Limited::new(body, COMPLAINT_LIMIT).collect()).await;
            let complaint = complaint.ok().and_then(Result::ok).map(|all| all.to_bytes().to_vec());
            return Err(Failure::answered(what, status.as_u16(), &complaint.unwrap_or_default()));
        }
        while let Some(frame) = timeout_at(until, body.frame()).await.map_err(silent)? {
            let frame = frame.map_err(|error| unreachable(chain(&error)))?;
            let Ok(part) = frame.into_data() else { continue };
            if !take(&part).map_err(|problem| Failure::NotUnderstood { what, problem })? {
                break;
            }
        }
        Ok(())
    }

    /// One object, or whatever else the answer has to be.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        what: &'static str,
        request: Result<http::Request<Vec<u8>>, request::Error>,
    ) -> Result<T, Failure> {
        let answer = self.ask(what, request).await?;
        let problem = |error: serde_json::Error| Failure::NotUnderstood { what, problem: error.to_string() };
        serde_json::from_slice(&answer).map_err(problem)
    }

    /// A whole listing, page by page; of each object only what `keep` makes of it is kept.
    pub(super) async fn list<K: DeserializeOwned, T>(
        &self,
        what: &'static str,
        path: &str,
        params: &ListParams,
        keep: impl Fn(K) -> Option<T>,
    ) -> Result<Vec<T>, Failure> {
        let started = Instant::now();
        let mut kept = Vec::new();
        let (mut next, mut seen, mut restarted) = (None::<String>, 0_usize, false);
        loop {
            let mut params = params.clone().limit(PAGE);
            params.continue_token = next.take();
            let page = self.get::<Page<K>>(what, Request::new(path).list(&params)).await;
            let page = match page {
                Ok(page) => page,
                // The pages that follow were kept for some minutes only: from the beginning, once.
                Err(failure) if failure.code() == Some(410) && seen > 0 && !restarted => {
                    (seen, restarted) = (0, true);
                    kept.clear();
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            let items = page.items.unwrap_or_default();
            seen += items.len();
            kept.extend(items.into_iter().filter_map(&keep));
            next = page.metadata.continue_.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(kept);
            }
            if seen > MOST_OBJECTS {
                let problem = format!("it has more than {MOST_OBJECTS} objects");
                return Err(Failure::NotUnderstood { what, problem });
            }
            // A listing may take the deadline for each of a few pages, and not for ever.
            if started.elapsed() > self.target.deadline * 3 {
                return Err(Failure::Silent { what, after: self.target.deadline * 3 });
            }
        }
    }
}

impl Target {
    async fn connect(self) -> Result<Connection, Failure> {
        let wrong = |error: &dyn std::error::Error| Failure::Configuration(chain(error));
        let mut config = match self.kubeconfig()? {
            Some(kubeconfig) => {
                let proxy = proxy(&kubeconfig, self.context.as_deref());
                let options = KubeConfigOptions { context: self.context.clone(), ..Default::default() };
                let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
                let mut config = config.map_err(|error| wrong(&error))?;
                // The environment's proxy is for the outside world; a cluster's is in its kubeconfig.
                if proxy.is_none() {
                    config.proxy_url = None;
                }
                config
            }
            None => Config::incluster().map_err(|error| wrong(&error))?,
        };
        config.connect_timeout = Some(self.deadline);
        // A repetition would hide from us whether a request may have been taken.
        config.default_retry = false;
        let namespace = self.namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = ClientBuilder::try_from(config).map_err(|error| wrong(&error))?.build();
        Ok(Connection { client, namespace })
    }

    /// The kubeconfig; none where there is none and this process runs in a pod.
    fn kubeconfig(&self) -> Result<Option<Kubeconfig>, Failure> {
        let read = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None if options::in_cluster() && options::kubeconfig_files().is_empty() => return Ok(None),
            None => Kubeconfig::read(),
        };
        read.map(Some).map_err(|error| Failure::Configuration(chain(&error)))
    }
}

/// The proxy that the kubeconfig names for the context's cluster.
fn proxy(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let context = context.or(kubeconfig.current_context.as_deref())?;
    let context = kubeconfig.contexts.iter().find(|named| named.name == context)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == context.cluster)?;
    cluster.cluster.as_ref()?.proxy_url.clone().filter(|url| !url.is_empty())
}

/// An error with what is behind it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut behind = error.source();
    while let Some(error) = behind {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        behind = error.source();
    }
    line
}
