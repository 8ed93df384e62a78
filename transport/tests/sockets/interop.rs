//! Our servers with somebody else's client: rmcp's, in both generations and over pipes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rmcp::model::{CallToolRequestParams, ClientConfig, ProtocolVersion, SubscriptionFilter};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, NotificationContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, RoleClient, ServiceExt as _};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use transport::sender::Sender;
use transport::serve::stdio::serve_pipe;

use crate::support::{Fixture, Server, object, open, within};

#[derive(Clone, Default)]
struct Client {
    changed: Arc<Notify>,
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::default()
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }
}

async fn connect(url: String, mode: ClientLifecycleMode) -> (Client, RunningService<RoleClient, Client>) {
    transport::crypto::install();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let config = StreamableHttpClientTransportConfig::with_uri(url);
    let transport = StreamableHttpClientTransport::with_client(http, config);
    let client = Client::default();
    let running = within(client.clone().serve_with_lifecycle(transport, mode)).await.unwrap();
    (client, running)
}

fn newer() -> ClientLifecycleMode {
    ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: None,
    }
}

async fn check(running: &RunningService<RoleClient, Client>) {
    let tools = within(running.list_all_tools()).await.unwrap();
    assert_eq!(tools[0].name, "echo");
    let request = CallToolRequestParams::new("echo").with_arguments(object(json!({"b": 2})));
    let result = within(running.call_tool(request)).await.unwrap();
    assert_eq!(serde_json::to_value(result).unwrap()["structuredContent"], json!({"b": 2}));
    assert_eq!(within(running.list_all_prompts()).await.unwrap().len(), 1);
    assert_eq!(within(running.list_all_resources()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_older_generation_has_sessions_and_hears_changes() {
    let (host, _) = Fixture::new();
    let server = Server::start(open(Arc::clone(&host))).await;
    let (client, running) = connect(server.url(), ClientLifecycleMode::Initialize).await;
    assert_eq!(running.peer_info().unwrap().protocol_version, ProtocolVersion::V_2025_11_25);
    check(&running).await;
    host.add_tool();
    within(client.changed.notified()).await;
    assert_eq!(within(running.list_all_tools()).await.unwrap().len(), 2);
    within(running.cancel()).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn the_newer_generation_listens_to_changes() {
    let (host, _) = Fixture::new();
    let server = Server::start(open(Arc::clone(&host))).await;
    let (_, running) = connect(server.url(), newer()).await;
    assert_eq!(running.peer_info().unwrap().protocol_version, ProtocolVersion::V_2026_07_28);
    check(&running).await;
    let filter = SubscriptionFilter::builder().tools_list_changed().build();
    let mut subscription = within(running.listen(filter)).await.unwrap();
    host.add_tool();
    assert!(within(subscription.next()).await.unwrap().is_some());
    // Lists say that they may not be kept, so a client that keeps lists sees the change.
    assert_eq!(within(running.list_all_tools()).await.unwrap().len(), 2);
    drop(subscription);
    within(running.cancel()).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_host_is_served_over_pipes() {
    let (host, _) = Fixture::new();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (input, output) = tokio::io::split(far);
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve_pipe(host.clone(), Sender::token("owner"), input, output, shutdown));
    let running = within(Client::default().serve(tokio::io::split(near))).await.unwrap();
    check(&running).await;
    let result = within(running.call_tool(CallToolRequestParams::new("who"))).await.unwrap();
    let text = serde_json::to_value(result).unwrap()["content"][0]["text"].clone();
    assert_eq!(text, Value::from("Token(\"owner\")"));
    assert_eq!(host.calls.load(Ordering::SeqCst), 2);
    within(running.cancel()).await.unwrap();
    within(serving).await.unwrap().unwrap();
}

/// What clients see who do not speak the protocol well.
#[tokio::test]
async fn requests_that_are_wrong_are_refused_as_the_protocol_says() {
    transport::crypto::install();
    let (host, _) = Fixture::new();
    let server = Server::start(open(host)).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let bad = AtomicUsize::new(0);
    let post = |body: &'static str, headers: &[(&'static str, &'static str)]| {
        let mut request = http
            .post(server.url())
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        bad.fetch_add(1, Ordering::SeqCst);
        request.send()
    };
    let response = post("not json", &[]).await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], -32700);
    let response = post("[]", &[]).await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], -32600);
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#;
    let response = post(call, &[("mcp-protocol-version", "1999-01-01")]).await.unwrap();
    assert_eq!(response.status(), 400);
    // The name in the header is what a gateway authorises: another one in the body must not run.
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","_meta":{
        "io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "who")];
    let response = post(call, &headers).await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], -32020);
    let response = http.put(server.url()).send().await.unwrap();
    assert_eq!(response.status(), 405);
    server.stop().await;
}
