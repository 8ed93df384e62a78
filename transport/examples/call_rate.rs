//! Measures calls over loopback, client and servers in one process: `cargo run --release -p transport
//! --example call_rate`. Every request is signed and checked. Figures go to stdout as JSON.
//!
//! The targets on two cores: a warm call in 0.3 ms (p50), 1,000 links called once at the same moment in
//! 250 ms, 5,000 calls a second with 16 clients. rmcp's own client is measured beside ours.

#![expect(clippy::expect_used, reason = "a measurement stops at the first failure")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::join_all;
use protocol::clock::{Clock as _, SystemClock};
use protocol::error::ErrorBody;
use protocol::signature::SigningKey;
use ring::rand::SystemRandom;
use rmcp::model::{CallToolRequestParams, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use transport::admission::{Admission, ByCredential, LocalOnly};
use transport::connect::{Connector, Credentials, Target};
use transport::host::{CallContext, Host, HostInfo, Object, ToolDefinition, ToolOutcome};
use transport::link::{CallOptions, Link};
use transport::nonces::NonceStore;
use transport::sender::Sender;
use transport::serve::guard::Guard;
use transport::serve::{McpOptions, Mount, ServeOptions, bind, mcp_router_many, serve_http};
use transport::signed::{SignedAdmission, Signer};

const LINKS: usize = 1000;

/// Answers as a secretary does: with some kilobytes of JSON.
struct Worker {
    proposal: Value,
}

#[async_trait]
impl Host for Worker {
    fn info(&self) -> HostInfo {
        HostInfo { name: "worker".into(), version: "1".into(), ..HostInfo::default() }
    }

    async fn tools(&self, _sender: &Sender) -> Arc<Vec<ToolDefinition>> {
        Arc::default()
    }

    async fn call(
        &self,
        _tool: &str,
        _arguments: Object,
        _context: CallContext,
    ) -> Result<ToolOutcome, ErrorBody> {
        Ok(ToolOutcome::structured(self.proposal.clone()))
    }
}

fn proposal() -> Value {
    let factors: Vec<Value> = (0..12)
        .map(|i| {
            json!({"name": format!("factor-{i}"), "score": 0.5, "value": 12.5, "unit": "gib_per_second",
            "reason": "measured on the login node a minute ago", "verified": true})
        })
        .collect();
    json!({"verdict": "READY", "factors": factors, "claims": [{"subject": "nodes", "value": 3}]})
}

fn deadline() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(30)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Processor time of the whole process, both ends included: what a busy machine cannot blur.
fn cpu_ms() -> f64 {
    let usage =
        nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).expect("usage can be read");
    let ms = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3;
    ms(usage.user_time()) + ms(usage.system_time())
}

fn percentiles(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    json!({"p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99)})
}

async fn call(link: &Arc<dyn Link>, arguments: &Object) {
    let options = CallOptions::until(deadline());
    let outcome = link.call("ask_secretary", arguments, options).await.expect("the call answers");
    assert!(outcome.structured.is_some());
}

/// All links called once at the same moment.
async fn burst(links: &[Arc<dyn Link>], arguments: &Object) -> f64 {
    let started = Instant::now();
    let arguments = Arc::new(arguments.clone());
    let calls = links.iter().map(|link| {
        let (link, arguments) = (Arc::clone(link), Arc::clone(&arguments));
        tokio::spawn(async move { call(&link, &arguments).await })
    });
    join_all(calls).await.into_iter().for_each(|done| done.expect("no call panics"));
    started.elapsed().as_secs_f64() * 1e3
}

type RmcpClient = RunningService<rmcp::RoleClient, ()>;

async fn rmcp_connect(http: reqwest::Client, url: String) -> RmcpClient {
    let transport =
        StreamableHttpClientTransport::with_client(http, StreamableHttpClientTransportConfig::with_uri(url));
    let mode = ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: None,
    };
    ().serve_with_lifecycle(transport, mode).await.expect("the client starts")
}

async fn rmcp_call(client: &RmcpClient, arguments: &Object) {
    let request = CallToolRequestParams::new("ask_secretary").with_arguments(arguments.clone());
    client.call_tool(request).await.expect("the call answers");
}

#[tokio::main]
async fn main() {
    transport::crypto::install();
    transport::descriptors::raise_limit().expect("the limit on open files can be read");
    let clock = Arc::new(SystemClock);
    let (key, _) = SigningKey::generate(&SystemRandom::new()).expect("a key can be made");
    let key = Arc::new(key);

    let mounts: Vec<Mount> = (0..LINKS)
        .map(|i| {
            let public = key.public().to_owned();
            let signed = SignedAdmission::new(
                format!("w{i}"),
                Arc::new(move |sender: &str| (sender == "hub").then(|| public.clone())),
                Arc::new(NonceStore::new(clock.now())),
                clock.clone(),
            );
            // rmcp's client does not sign; it comes in from this machine unnamed.
            let admission: Arc<dyn Admission> = Arc::new(ByCredential {
                signed: Some(Arc::new(signed)),
                bearer: None,
                bare: Some(Arc::new(LocalOnly)),
            });
            Mount { host: Arc::new(Worker { proposal: proposal() }), admission }
        })
        .collect();
    let shutdown = CancellationToken::new();
    let options = McpOptions::new(Guard::loopback(), shutdown.clone());
    let find = move |id: &str| mounts.get(id.parse::<usize>().ok()?).cloned();
    let listener = bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("the port is known");
    let router = mcp_router_many("/w/{id}/mcp", find, options);
    let server = tokio::spawn(serve_http(listener, router, shutdown.clone(), ServeOptions::default()));

    let connector = Connector::new("call_rate", "1", clock).expect("the client can be set up");
    let link = |i: usize| {
        let signer = Signer { key: Arc::clone(&key), sender: "hub".into(), audience: format!("w{i}") };
        let url = format!("http://{address}/w/{i}/mcp");
        connector.connect(Target::new(url, Credentials::Signed(signer))).expect("the URL is good")
    };
    let arguments = match json!({"call": {"requirement": {"software": [{"name": "lammps", "constraint": ">=20230802"}],
        "compute": {"nodes": 3, "cores": 128}}, "factors": ["start", "cost", "bandwidth", "gpus"], "deadline": 10}})
    {
        Value::Object(object) => object,
        _ => Object::new(),
    };

    let warm = link(0);
    let mut times = Vec::new();
    for round in 0..3000 {
        let started = Instant::now();
        call(&warm, &arguments).await;
        if round >= 1000 {
            times.push(started.elapsed());
        }
    }
    let ours_warm = percentiles(times);

    let before = resident_kib();
    let links: Vec<_> = (0..LINKS).map(link).collect();
    let idle = resident_kib();
    let cpu = cpu_ms();
    let cold = burst(&links, &arguments).await;
    let cold_cpu = cpu_ms() - cpu;
    let after = resident_kib();
    let mut again = Vec::new();
    let cpu = cpu_ms();
    for _ in 0..5 {
        again.push(burst(&links, &arguments).await);
    }

    let again_cpu = (cpu_ms() - cpu) / 5.0;
    let (clients, rounds) = (16, 2000);
    let started = Instant::now();
    let tasks = links.iter().take(clients).cloned().map(|link| {
        let arguments = arguments.clone();
        tokio::spawn(async move {
            for _ in 0..rounds {
                call(&link, &arguments).await;
            }
        })
    });
    join_all(tasks).await.into_iter().for_each(|done| done.expect("no call panics"));
    let rate = (clients * rounds) as f64 / started.elapsed().as_secs_f64();

    let http =
        reqwest::Client::builder().tcp_nodelay(true).no_proxy().build().expect("the client can be set up");
    let client = rmcp_connect(http.clone(), format!("http://{address}/w/0/mcp")).await;
    let mut times = Vec::new();
    for round in 0..3000 {
        let started = Instant::now();
        rmcp_call(&client, &arguments).await;
        if round >= 1000 {
            times.push(started.elapsed());
        }
    }
    let rmcp_warm = percentiles(times);
    let before_rmcp = resident_kib();
    let started = Instant::now();
    let tasks = (0..LINKS).map(|i| {
        let (http, url, arguments) = (http.clone(), format!("http://{address}/w/{i}/mcp"), arguments.clone());
        tokio::spawn(async move {
            let client = rmcp_connect(http, url).await;
            rmcp_call(&client, &arguments).await;
            client
        })
    });
    let kept: Vec<RmcpClient> =
        join_all(tasks).await.into_iter().map(|done| done.expect("no call panics")).collect();
    let rmcp_cold = started.elapsed().as_secs_f64() * 1e3;
    let after_rmcp = resident_kib();
    let started = Instant::now();
    let tasks = kept.into_iter().map(|client| {
        let arguments = arguments.clone();
        tokio::spawn(async move {
            rmcp_call(&client, &arguments).await;
            client
        })
    });
    let kept: Vec<RmcpClient> =
        join_all(tasks).await.into_iter().map(|done| done.expect("no call panics")).collect();
    let rmcp_again = started.elapsed().as_secs_f64() * 1e3;

    let per_link = |kib: u64| kib as f64 / LINKS as f64;
    println!(
        "{:#}",
        json!({
            "answer_bytes": proposal().to_string().len(),
            "ours_signed": {
                "warm_call": ours_warm,
                "links_called_once_ms": {"first": cold, "again": again, "first_cpu": cold_cpu, "again_cpu": again_cpu},
                "calls_per_second_16_clients": rate,
                "kib_per_link": {"idle": per_link(idle.saturating_sub(before)),
                    "with_both_ends_of_a_connection": per_link(after.saturating_sub(before))},
            },
            "rmcp_unsigned": {
                "warm_call": rmcp_warm,
                "links_called_once_ms": {"first": rmcp_cold, "again": rmcp_again},
                "kib_per_link": per_link(after_rmcp.saturating_sub(before_rmcp)),
            },
        })
    );
    drop(kept);
    shutdown.cancel();
    server.await.expect("the server ends");
}
