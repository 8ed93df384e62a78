//! The hub as an MCP server: its operations as tools, and the workers' tools under their names here,
//! passed through unchanged.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::ids::Digest;
use protocol::negotiation::Notice;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use transport::host::{
    Annotations, CallContext, Host, HostInfo, Object, ToolDefinition, ToolOutcome, text_block,
};
use transport::link::CallOptions;
use transport::sender::Sender;

use crate::hub::Hub;
use crate::operations::{Caller, Operation, OperationName, operations};
use crate::principal::{Principal, Scope};

/// How long a worker's tool may take: below what clients give a call.
const PROXY_SECONDS: u64 = 55;

/// The hub's MCP face.
pub struct HubHost {
    hub: Hub,
    listed: Mutex<(u64, Arc<Vec<ToolDefinition>>)>,
}

impl HubHost {
    /// The face of a hub.
    #[must_use]
    pub fn new(hub: Hub) -> Self {
        Self { hub, listed: Mutex::default() }
    }

    fn principal(sender: &Sender) -> Result<&Principal, ErrorBody> {
        sender
            .principal::<Principal>()
            .ok_or_else(|| ErrorBody::new(ErrorCode::Auth, "authentication is required"))
    }

    async fn operate(
        &self,
        operation: &Operation,
        arguments: Object,
        context: CallContext,
    ) -> Result<ToolOutcome, ErrorBody> {
        let principal = Self::principal(&context.sender)?;
        let mut caller = Caller { notices: None, cancelled: context.cancelled.clone() };
        let forwarding = context.progress.is_wanted().then(|| {
            let (notices, inbox) = mpsc::channel(4096);
            caller.notices = Some(notices);
            tokio::spawn(forward(inbox, context.progress.clone()))
        });
        let result = self.hub.invoke(principal, operation.id, Value::Object(arguments), &caller).await;
        drop(caller);
        if let Some(forwarding) = forwarding {
            // Every notice reaches the client before the answer does.
            let _ = forwarding.await;
        }
        Ok(match result {
            Ok(value) => {
                let text = summary(operation.id, &value);
                ToolOutcome {
                    structured: Some(value),
                    content: vec![text_block(text)],
                    ..ToolOutcome::default()
                }
            }
            Err(error) => ToolOutcome::failed(&error),
        })
    }

    async fn proxy(
        &self,
        name: &str,
        arguments: Object,
        context: CallContext,
    ) -> Result<ToolOutcome, ErrorBody> {
        let principal = Self::principal(&context.sender)?;
        let catalogue = self.hub.catalogue();
        let Some((member, tool)) = catalogue.route(name) else {
            return Err(ErrorBody::new(ErrorCode::Tool, format!("there is no tool {name:?}")));
        };
        let reads = tool.annotations.read_only == Some(true);
        let needed = if reads { Scope::Negotiate } else { Scope::Dispatch };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(PROXY_SECONDS);
        let mut options = CallOptions::until(deadline);
        let forwarding = context.progress.is_wanted().then(|| {
            let (updates, mut inbox) = mpsc::channel(256);
            options.progress = Some(updates);
            let progress = context.progress.clone();
            tokio::spawn(async move {
                while let Some(update) = inbox.recv().await {
                    progress.report(update.progress, update.total, update.message).await;
                }
            })
        });
        let digest = Digest::of(serde_json::to_string(&arguments).unwrap_or_default().as_bytes());
        let work = async {
            tokio::select! {
                result = member.link.call(&tool.name, &arguments, options) => {
                    result.map_err(|error| error.body())
                }
                () = context.cancelled.cancelled() => {
                    Err(ErrorBody::new(ErrorCode::Cancelled, "the call was cancelled"))
                }
            }
        };
        let result = self.hub.pass(principal, name, needed, digest, work).await;
        if let Some(forwarding) = forwarding {
            let _ = forwarding.await;
        }
        Ok(result.unwrap_or_else(|error| ToolOutcome::failed(&error)))
    }
}

#[async_trait]
impl Host for HubHost {
    fn info(&self) -> HostInfo {
        HostInfo {
            name: "parley-hub".to_owned(),
            title: Some("Parley hub".to_owned()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instructions: Some(
                "Finds a cluster for some work and runs it there. Ask with negotiate_job in plain language, \
                 read not_understood and the evaluations, then dispatch_job with the negotiation_id and \
                 follow with get_job. explain_negotiation says why a worker won or lost. Tools named \
                 WORKER__TOOL look at one worker directly."
                    .to_owned(),
            ),
            prompts: false,
            resources: false,
        }
    }

    async fn tools(&self, _sender: &Sender) -> Arc<Vec<ToolDefinition>> {
        let version = *self.hub.fleet().changes().borrow();
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if listed.0 != version {
            let catalogue = self.hub.catalogue();
            let own = operations().iter().map(definition);
            *listed = (version, Arc::new(own.chain(catalogue.definitions()).collect()));
        }
        listed.1.clone()
    }

    async fn call(
        &self,
        tool: &str,
        arguments: Object,
        context: CallContext,
    ) -> Result<ToolOutcome, ErrorBody> {
        match operations().iter().find(|operation| operation.name == tool) {
            Some(operation) => self.operate(operation, arguments, context).await,
            None => self.proxy(tool, arguments, context).await,
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.hub.fleet().changes()
    }
}

fn definition(operation: &Operation) -> ToolDefinition {
    ToolDefinition {
        name: operation.name.to_owned(),
        title: None,
        description: operation.description.to_owned(),
        input_schema: operation.input.clone(),
        output_schema: Some(operation.output.clone()),
        annotations: Annotations {
            read_only: Some(operation.read_only),
            destructive: Some(operation.destructive),
            idempotent: Some(operation.idempotent),
            open_world: Some(!operation.read_only),
        },
        meta: None,
    }
}

/// Passes notices on as progress: how many have answered of how many asked, and the notice itself.
async fn forward(mut inbox: mpsc::Receiver<Notice>, progress: transport::progress::Progress) {
    let mut step = 0.0;
    let mut total = None;
    while let Some(notice) = inbox.recv().await {
        match &notice {
            Notice::Asked { workers, .. } => {
                #[expect(clippy::cast_precision_loss, reason = "a count of workers")]
                let asked = workers.len() as f64;
                total = Some(asked);
            }
            Notice::Answered { answered, asked, .. } => {
                step = f64::from(*answered);
                total = Some(f64::from(*asked));
            }
            // Progress has to grow with each report.
            _ => step += 0.01,
        }
        progress.report(step, total, serde_json::to_string(&notice).ok()).await;
    }
}

/// An answer in a sentence, for people who read over a model's shoulder.
fn summary(id: OperationName, value: &Value) -> String {
    let count = |key: &str| value[key].as_array().map_or(0, Vec::len);
    match id {
        OperationName::NegotiateJob | OperationName::SelectJob => {
            let asked = value["proposals"].as_object().map_or(0, serde_json::Map::len);
            match value["selection"]["explanation"].as_str() {
                Some(explanation) => format!("{asked} workers asked. {explanation}"),
                None => format!("{asked} workers asked in negotiation {}.", text(&value["negotiation_id"])),
            }
        }
        OperationName::DispatchJob => crate::predecessor::dispatch_text(value),
        OperationName::GetJob | OperationName::CancelJob => {
            format!("job {} is {}", text(&value["job_id"]), text(&value["state"]))
        }
        OperationName::GetJobLogs => text(&value["text"]),
        OperationName::GetFleetStatus => format!("{} workers", count("workers")),
        OperationName::ExplainNegotiation
        | OperationName::GetNegotiation
        | OperationName::ListNegotiations
        | OperationName::ListJobs
        | OperationName::ListArtifacts
        | OperationName::GetArtifact
        | OperationName::GetTrust
        | OperationName::ExportFleetTruth
        | OperationName::ListStrategies
        | OperationName::ListProviders
        | OperationName::ListArchetypes => json_text(value),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| json_text(value), str::to_owned)
}

/// The JSON itself where it is short, otherwise its size.
fn json_text(value: &Value) -> String {
    let text = json!(value).to_string();
    if text.len() <= 2000 { text } else { format!("{} bytes of structured content", text.len()) }
}
