//! A host with one tool for each behaviour, and servers around it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse as _;
use http::StatusCode;
use protocol::clock::SystemClock;
use protocol::error::{ErrorBody, ErrorCode};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use transport::admission::{Admission, Everyone};
use transport::connect::{Connector, Credentials, Target};
use transport::host::{
    Annotations, CallContext, Host, HostInfo, Object, PromptDefinition, PromptOutcome, ResourceDefinition,
    TemplateDefinition, ToolDefinition, ToolOutcome, text_block,
};
use transport::link::{CallOptions, Link, LinkError};
use transport::sender::Sender;
use transport::serve::guard::Guard;
use transport::serve::{McpOptions, Mount, ServeOptions, bind, mcp_router, serve_http};

/// Nothing here takes this long unless it is broken.
pub const LONG: Duration = Duration::from_secs(30);

pub fn soon() -> Instant {
    Instant::now() + LONG
}

/// Waits for something that must happen.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("it happens in time")
}

/// What happens inside the host, for tests to wait for.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    Started,
    Cancelled,
}

pub struct Fixture {
    tools: watch::Sender<u64>,
    seen: mpsc::UnboundedSender<Seen>,
    pub calls: AtomicUsize,
}

impl Fixture {
    pub fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<Seen>) {
        let (seen, receiver) = mpsc::unbounded_channel();
        let (tools, _) = watch::channel(0);
        (Arc::new(Self { tools, seen, calls: AtomicUsize::new(0) }), receiver)
    }

    /// Adds a tool to the list.
    pub fn add_tool(&self) {
        self.tools.send_modify(|count| *count += 1);
    }
}

fn definition(name: String) -> ToolDefinition {
    let schema = json!({"type": "object"}).as_object().cloned().unwrap_or_default();
    ToolDefinition {
        name,
        title: Some("a.tool".into()),
        description: "does something".into(),
        input_schema: Arc::new(schema.clone()),
        output_schema: Some(Arc::new(schema.clone())),
        annotations: Annotations::READ_ONLY,
        meta: Some(json!({"example.org/worker": "w"}).as_object().cloned().unwrap_or_default()),
    }
}

#[async_trait]
impl Host for Fixture {
    fn info(&self) -> HostInfo {
        HostInfo {
            name: "fixture".into(),
            title: Some("The fixture".into()),
            version: "1.2.3".into(),
            instructions: Some("Call echo.".into()),
            prompts: true,
            resources: true,
        }
    }

    async fn tools(&self, _sender: &Sender) -> Arc<Vec<ToolDefinition>> {
        let extra = *self.tools.borrow();
        Arc::new(
            ["echo".to_owned()]
                .into_iter()
                .chain((1..=extra).map(|i| format!("extra_{i:04}")))
                .map(definition)
                .collect(),
        )
    }

    async fn call(
        &self,
        tool: &str,
        arguments: Object,
        context: CallContext,
    ) -> Result<ToolOutcome, ErrorBody> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match tool {
            "echo" => Ok(ToolOutcome::json(Value::Object(arguments))),
            "who" => Ok(ToolOutcome::text(format!("{:?}", context.sender.identity))),
            "count" => {
                for step in 1..=3_u8 {
                    context.progress.report(f64::from(step), Some(3.0), Some(format!("step {step}"))).await;
                }
                Ok(ToolOutcome::structured(json!({"steps": 3})))
            }
            "hang" => {
                let _ = self.seen.send(Seen::Started);
                context.cancelled.cancelled().await;
                let _ = self.seen.send(Seen::Cancelled);
                Err(ErrorBody::new(ErrorCode::Cancelled, "cancelled"))
            }
            "fail" => Ok(ToolOutcome::failed(&ErrorBody::new(ErrorCode::JobFailed, "it broke"))),
            "large" => Ok(ToolOutcome::text("x".repeat(200_000))),
            "picture" => Ok(ToolOutcome {
                content: vec![
                    json!({"type": "image", "data": "AAAA", "mimeType": "image/png"}),
                    text_block("seen"),
                ],
                ..ToolOutcome::default()
            }),
            _ => Err(ErrorBody::new(ErrorCode::Tool, format!("there is no tool {tool:?}"))),
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.tools.subscribe()
    }

    async fn prompts(&self, _sender: &Sender) -> Arc<Vec<PromptDefinition>> {
        Arc::new(vec![PromptDefinition { name: "greet".into(), ..PromptDefinition::default() }])
    }

    async fn get_prompt(
        &self,
        prompt: &str,
        arguments: Object,
        _sender: &Sender,
    ) -> Result<PromptOutcome, ErrorBody> {
        let text = format!("{prompt} {}", arguments.get("name").and_then(Value::as_str).unwrap_or("nobody"));
        Ok(PromptOutcome {
            description: None,
            messages: vec![json!({"role": "user", "content": text_block(text)})],
        })
    }

    async fn resources(&self, _sender: &Sender) -> Arc<Vec<ResourceDefinition>> {
        Arc::new(vec![ResourceDefinition {
            uri: "parley://a".into(),
            name: "a".into(),
            mime_type: Some("text/plain".into()),
            size: Some(1),
            ..ResourceDefinition::default()
        }])
    }

    async fn templates(&self, _sender: &Sender) -> Arc<Vec<TemplateDefinition>> {
        Arc::new(vec![TemplateDefinition {
            uri_template: "parley://{x}".into(),
            name: "x".into(),
            ..TemplateDefinition::default()
        }])
    }

    async fn read_resource(&self, uri: &str, _sender: &Sender) -> Result<Vec<Value>, ErrorBody> {
        if uri == "parley://a" {
            Ok(vec![json!({"uri": uri, "mimeType": "text/plain", "text": "a"})])
        } else {
            Err(ErrorBody::new(ErrorCode::NotFound, "no such resource"))
        }
    }
}

/// A running server.
pub struct Server {
    pub address: SocketAddr,
    pub shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Server {
    pub async fn start(router: impl FnOnce(CancellationToken) -> Router) -> Self {
        Self::start_at("127.0.0.1:0", router).await
    }

    pub async fn start_at(address: &str, router: impl FnOnce(CancellationToken) -> Router) -> Self {
        let listener = bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let router = router(shutdown.clone());
        let running = tokio::spawn(serve_http(listener, router, shutdown.clone(), ServeOptions::default()));
        Self { address, shutdown, running }
    }

    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Ends the server and waits until it has.
    pub async fn stop(self) {
        self.shutdown.cancel();
        within(self.running).await.unwrap();
    }
}

pub fn mcp(host: Arc<dyn Host>, admission: Arc<dyn Admission>, shutdown: CancellationToken) -> Router {
    mcp_router("/mcp", Mount { host, admission }, McpOptions::new(Guard::loopback(), shutdown))
}

pub fn open(host: Arc<Fixture>) -> impl FnOnce(CancellationToken) -> Router {
    move |shutdown| mcp(host, Arc::new(Everyone), shutdown)
}

/// A server of the older generation.
pub fn older(host: Arc<Fixture>, opened: Arc<AtomicUsize>) -> impl FnOnce(CancellationToken) -> Router {
    move |shutdown| refuse_newer(mcp(host, Arc::new(Everyone), shutdown), opened)
}

/// Makes a server one of the older generation: it refuses what it does not know, and the sessions that are
/// opened are counted.
pub fn refuse_newer(router: Router, opened: Arc<AtomicUsize>) -> Router {
    router.layer(from_fn(move |request: Request, next: Next| {
        let opened = Arc::clone(&opened);
        async move {
            match request.headers().get("mcp-protocol-version").map(|value| value.as_bytes()) {
                Some(b"2026-07-28") => {
                    let refusal = "Bad Request: Unsupported protocol version";
                    return (StatusCode::BAD_REQUEST, refusal).into_response();
                }
                None => {
                    opened.fetch_add(1, Ordering::SeqCst);
                }
                Some(_) => {}
            }
            next.run(request).await
        }
    }))
}

pub fn connector() -> Arc<Connector> {
    Connector::new("tests", "1", Arc::new(SystemClock)).unwrap()
}

pub fn link(url: &str) -> Arc<dyn Link> {
    connector().connect(Target::new(url, Credentials::Anonymous)).unwrap()
}

pub fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

pub async fn call(link: &Arc<dyn Link>, tool: &str) -> Result<ToolOutcome, LinkError> {
    link.call(tool, &object(json!({"a": 1})), CallOptions::until(soon())).await
}
