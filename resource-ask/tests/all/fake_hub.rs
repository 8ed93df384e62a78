//! A hub that answers by script and remembers what it was asked, served by the real transport; and the
//! program, run against it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as UrlPath, RawQuery, State};
use axum::routing::{get, post};
use protocol::error::{ErrorBody, ErrorCode};
use protocol::ids::Digest;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use transport::admission::{Admission, BearerTokens, Everyone};
use transport::host::{CallContext, Host, HostInfo, Object, ToolDefinition, ToolOutcome};
use transport::sender::Sender;
use transport::serve::guard::Guard;
use transport::serve::{McpOptions, Mount, ServeOptions, bind, mcp_router, serve_http};

/// What a tool answers: each call takes the next one, the last one stays.
type Script = BTreeMap<&'static str, Vec<Result<Value, ErrorBody>>>;

#[derive(Default)]
pub struct FakeHub {
    script: Mutex<Script>,
    notices: Mutex<Vec<Value>>,
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    calls: Mutex<Vec<(String, Value)>>,
    uploads: Mutex<Vec<(String, Vec<u8>)>>,
}

impl FakeHub {
    pub fn answer(self, tool: &'static str, answer: Value) -> Self {
        self.script.lock().unwrap().entry(tool).or_default().push(Ok(answer));
        self
    }

    pub fn refuse(self, tool: &'static str, code: ErrorCode, message: &str) -> Self {
        self.script.lock().unwrap().entry(tool).or_default().push(Err(ErrorBody::new(code, message)));
        self
    }

    pub fn notice(self, notice: Value) -> Self {
        self.notices.lock().unwrap().push(notice);
        self
    }

    pub fn file(self, artifact: &str, bytes: &[u8]) -> Self {
        self.files.lock().unwrap().insert(artifact.to_owned(), bytes.to_vec());
        self
    }

    /// Puts the hub on a port of its own.
    pub async fn serve(self, token: Option<&str>) -> Served {
        let hub = Arc::new(self);
        let admission: Arc<dyn Admission> = match token {
            Some(token) => Arc::new(BearerTokens::new([(token, "client".to_owned())])),
            None => Arc::new(Everyone),
        };
        let shutdown = CancellationToken::new();
        let options = McpOptions::new(Guard::loopback(), shutdown.clone());
        let bytes = Router::new()
            .route("/artifacts/content", post(upload))
            .route("/artifacts/{id}/content", get(content))
            .with_state(Arc::clone(&hub));
        let host = Arc::new(ScriptedHost(Arc::clone(&hub)));
        let router = mcp_router("/mcp", Mount { host, admission }, options).merge(bytes);
        let listener = bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        tokio::spawn(serve_http(listener, router, shutdown.clone(), ServeOptions::default()));
        Served { hub, url, shutdown }
    }
}

struct ScriptedHost(Arc<FakeHub>);

#[async_trait]
impl Host for ScriptedHost {
    fn info(&self) -> HostInfo {
        HostInfo { name: "fake-hub".into(), version: "0".into(), ..HostInfo::default() }
    }

    async fn tools(&self, _: &Sender) -> Arc<Vec<ToolDefinition>> {
        Arc::default()
    }

    async fn call(
        &self,
        tool: &str,
        arguments: Object,
        context: CallContext,
    ) -> Result<ToolOutcome, ErrorBody> {
        self.0.calls.lock().unwrap().push((tool.to_owned(), Value::Object(arguments)));
        let notices = self.0.notices.lock().unwrap().clone();
        if matches!(tool, "negotiate_job" | "dispatch_job") {
            for (number, notice) in (1_u32..).zip(&notices) {
                context.progress.report(f64::from(number), None, Some(notice.to_string())).await;
            }
        }
        let mut script = self.0.script.lock().unwrap();
        let Some(answers) = script.get_mut(tool) else {
            return Err(ErrorBody::new(ErrorCode::Tool, format!("there is no tool {tool:?}")));
        };
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        Ok(answer.map_or_else(|error| ToolOutcome::failed(&error), ToolOutcome::structured))
    }
}

async fn upload(State(hub): State<Arc<FakeHub>>, RawQuery(query): RawQuery, body: Bytes) -> String {
    hub.uploads.lock().unwrap().push((query.unwrap_or_default(), body.to_vec()));
    artifact("art-up", &body).to_string()
}

async fn content(State(hub): State<Arc<FakeHub>>, UrlPath(id): UrlPath<String>) -> Vec<u8> {
    hub.files.lock().unwrap().get(&id).cloned().unwrap_or_default()
}

/// The record of an artifact.
pub fn artifact(id: &str, bytes: &[u8]) -> Value {
    json!({
        "artifact_id": id, "name": "prices.csv", "type": "data", "digest": Digest::of(bytes),
        "size_bytes": bytes.len(), "uri": format!("parley://artifact/{id}"),
    })
}

pub struct Served {
    hub: Arc<FakeHub>,
    pub url: String,
    shutdown: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Served {
    /// What was asked: tool and arguments, in order.
    pub fn calls(&self) -> Vec<(String, Value)> {
        self.hub.calls.lock().unwrap().clone()
    }

    /// The arguments of the first call of a tool.
    pub fn arguments(&self, tool: &str) -> Value {
        let calls = self.calls();
        let call = calls.iter().find(|(name, _)| name == tool);
        call.unwrap_or_else(|| panic!("{tool} was not called: {calls:?}")).1.clone()
    }

    pub fn uploads(&self) -> Vec<(String, Vec<u8>)> {
        self.hub.uploads.lock().unwrap().clone()
    }

    /// Runs the program against this hub.
    pub async fn ask(&self, arguments: &[&str]) -> Ran {
        let url = self.url.clone();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        tokio::task::spawn_blocking(move || ask(&url, &arguments, Path::new("."))).await.unwrap()
    }
}

/// What a run of the program left behind.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Standard output as the one JSON document that it must be.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?}, stderr {:?}", self.stdout, self.stderr))
    }

    /// Fails with everything that was printed unless the exit code is this one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout {:?}, stderr {:?}", self.stdout, self.stderr);
        self
    }
}

/// Runs the program with nothing of the test's environment and no terminal.
pub fn ask(url: &str, arguments: &[String], directory: &Path) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_resource-ask"))
        .args(arguments)
        .env_clear()
        .env("RESOURCE_ASK_URL", url)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A negotiation of two workers, of which one can.
pub fn view() -> Value {
    let evaluation = |passed: bool| {
        let failed = json!([{"code": "NODES_TOO_FEW", "wanted": "3", "had": "1"}]);
        json!({
            "gate": {"passed": passed, "failed": if passed { json!([]) } else { failed }},
            "audit": [], "contributions": {}, "adjustments": [],
            "score": 0.8, "trust": 0.9, "final": if passed { 0.72 } else { 0.0 },
            "rank": if passed { json!(1) } else { json!(null) },
        })
    };
    json!({
        "negotiation_id": "neg-1",
        "requirement": {"compute": {"nodes": 3}},
        "intent": "balanced",
        "weights": {"cost": 1},
        "not_understood": [],
        "missing": [],
        "proposals": {
            "hpc-1": {
                "proposal_id": "prop-1", "verdict": "READY",
                "promises": {"start_p90_seconds": 12, "cost_usd": 3.5},
                "reasoning": "pick me\u{1b}[2J", "type": "agentic_proposal", "status": "{}",
            },
            "box-2": {
                "verdict": "UNKNOWN", "outcome": "timeout",
                "error": {"code": "UPSTREAM_TIMEOUT", "message": "too\u{1b}]0;owned\u{7} late"},
            },
        },
        "evaluations": {"hpc-1": evaluation(true), "box-2": evaluation(false)},
        "excluded": {},
        "elapsed_seconds": 0.25,
    })
}

/// The same with a choice.
pub fn chosen() -> Value {
    let mut view = view();
    view["selection"] = json!({
        "worker_id": "hpc-1", "strategy": "weighted", "explanation": "the only one", "order": ["hpc-1"],
    });
    view
}

/// The same, awarded.
pub fn dispatched() -> Value {
    let mut view = chosen();
    view["receipt"] = json!({
        "status": "SUCCESS", "job_id": "job-1", "worker_id": "hpc-1", "attempt": 1,
        "proposal_id": "prop-1", "received_at": "2026-11-20T10:00:00Z",
    });
    view["job_id"] = json!("job-1");
    view
}

/// A job in a state.
pub fn job(state: &str) -> Value {
    json!({
        "job_id": "job-1", "kind": "command", "state": state, "stale": false, "worker_id": "hpc-1",
        "negotiation_id": "neg-1", "owner": "ann", "created_at": "2026-11-20T10:00:00Z", "ended_at": null,
        "spec": {"kind": "command", "spec": {"argv": ["echo", "hi"]}},
        "attempts": [], "promised": {}, "observed": {}, "metrics": {"answer": 42},
        "artifacts": [artifact("art-1", b"result")], "error": null,
    })
}
