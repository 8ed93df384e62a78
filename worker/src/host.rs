//! The worker as an MCP server: the tools that the hub calls, and its providers' read tools.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use protocol::award::{Award, Reject};
use protocol::call::Call;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::ids::JobId;
use protocol::job::AttemptNumber;
use protocol::proposal::Proposal;
use protocol::signature::HUB_SENDER;
use secretary::provider::ProviderError;
use secretary::providers::Moment;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;
use transport::host::{Annotations, CallContext, Host, HostInfo, Object, ToolDefinition, ToolOutcome};
use transport::sender::Sender;

use crate::worker::Worker;

/// How long a provider's read tool may take.
const PROVIDER_TIME: Duration = Duration::from_secs(10);

/// The worker's MCP face.
pub struct WorkerHost {
    worker: Worker,
    tools: Arc<Vec<ToolDefinition>>,
}

#[derive(Deserialize)]
struct AskArguments {
    #[serde(default)]
    call: Option<Call>,
    #[serde(default)]
    request: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmitArguments {
    award: Award,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AttemptArguments {
    job_id: JobId,
    attempt: AttemptNumber,
}

impl WorkerHost {
    /// The face of a worker.
    #[must_use]
    pub fn new(worker: Worker) -> Self {
        let mut tools = OWN_TOOLS.clone();
        tools.extend(worker.site().providers.tools().into_iter().map(|tool| ToolDefinition {
            name: tool.name,
            title: Some(tool.title),
            description: tool.description.to_owned(),
            input_schema: tool.input_schema,
            output_schema: None,
            annotations: Annotations::READ_ONLY,
            meta: None,
        }));
        Self { worker, tools: Arc::new(tools) }
    }

    async fn ask_secretary(&self, arguments: AskArguments) -> Result<Value, ErrorBody> {
        match (arguments.call, arguments.request) {
            (Some(call), _) => {
                let proposal: Proposal = self.worker.answer(call).await?;
                Ok(json!({ "worker_id": self.worker.id(), "proposal": proposal }))
            }
            (None, Some(prompt)) => self.worker.answer_plain(prompt).await,
            (None, None) => Err(ErrorBody::new(ErrorCode::Field, "either call or request is needed")),
        }
    }

    fn status(&self) -> Value {
        json!({
            "worker_id": self.worker.id(),
            "timestamp": self.worker.now(),
            "manifest": self.worker.site().providers.metadata(),
        })
    }

    fn job_status(&self, arguments: &AttemptArguments) -> Result<Value, ErrorBody> {
        let key = (arguments.job_id.clone(), arguments.attempt);
        match self.worker.ledger().get(&key) {
            Some(Some(entry)) => Ok(json!({"worker_id": self.worker.id(), "receipt": entry.receipt,
                "native_id": entry.native, "told": entry.told})),
            Some(None) => Ok(json!({"worker_id": self.worker.id(), "void": true})),
            None => Err(ErrorBody::new(ErrorCode::NotFound, "this worker has never seen that attempt")),
        }
    }

    /// Everything known of a mock site, for checks; real sites have metadata only.
    fn export(&self) -> Value {
        let providers = &self.worker.site().providers;
        let now = self.worker.now();
        let taken = self.worker.offers().begin(now).taken(now);
        let truth = providers.site().map(|site| site.truth(self.worker.tick(), &taken));
        let archetype = providers.site().map(|site| site.archetype().to_string());
        json!({"truth": truth, "registry": providers.registry(),
            "metadata": {"archetype": archetype, "providers": providers.metadata()}})
    }

    async fn read_tool(&self, name: &str, arguments: &Object) -> Result<ToolOutcome, ErrorBody> {
        let now = self.worker.now();
        let taken = self.worker.offers().begin(now).taken(now);
        let moment = Moment { tick: self.worker.tick(), taken: &taken };
        let deadline = Instant::now() + PROVIDER_TIME;
        match self.worker.site().providers.call(name, arguments, moment, deadline).await {
            Ok(value) => {
                // The protocol wants an object here; a list or a number travels inside one.
                let value = if value.is_object() { value } else { json!({ "result": value }) };
                Ok(ToolOutcome::json(value))
            }
            Err(ProviderError::UnknownTool(name)) => {
                Err(ErrorBody::new(ErrorCode::Tool, format!("there is no tool {name:?}")))
            }
            Err(error) => Ok(ToolOutcome::failed(&ErrorBody::new(ErrorCode::UpstreamBad, error.in_full()))),
        }
    }
}

#[async_trait]
impl Host for WorkerHost {
    fn info(&self) -> HostInfo {
        HostInfo {
            name: format!("parley-worker-{}", self.worker.id()),
            title: Some(format!("Parley worker {}", self.worker.id())),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instructions: Some(
                "Represents one cluster. The provider tools look at it; nothing here submits work except \
                 an award of its hub."
                    .to_owned(),
            ),
            prompts: false,
            resources: false,
        }
    }

    async fn tools(&self, _sender: &Sender) -> Arc<Vec<ToolDefinition>> {
        self.tools.clone()
    }

    async fn call(
        &self,
        tool: &str,
        arguments: Object,
        context: CallContext,
    ) -> Result<ToolOutcome, ErrorBody> {
        let result = match tool {
            "ask_secretary" => {
                let arguments = parse(arguments)?;
                tokio::select! {
                    result = self.ask_secretary(arguments) => result.map(ToolOutcome::structured),
                    () = context.cancelled.cancelled() => {
                        Err(ErrorBody::new(ErrorCode::Cancelled, "the call was cancelled"))
                    }
                }
            }
            "get_status" => Ok(ToolOutcome::json(self.status())),
            "export_provider_metadata" => Ok(ToolOutcome::json(self.export())),
            "job_status" => self.job_status(&parse(arguments)?).map(ToolOutcome::json),
            "submit" | "void_attempt" | "reject_proposal" | "cancel_job" => {
                // Only the hub that this worker has joined may change anything here.
                if context.sender.signer() != Some(HUB_SENDER) {
                    return Err(ErrorBody::new(ErrorCode::Scope, format!("only the hub may call {tool}")));
                }
                self.change(tool, arguments)
            }
            name => return self.read_tool(name, &arguments).await,
        };
        Ok(result.unwrap_or_else(|error| ToolOutcome::failed(&error)))
    }
}

impl WorkerHost {
    fn change(&self, tool: &str, arguments: Object) -> Result<ToolOutcome, ErrorBody> {
        let worker_id = self.worker.id();
        let answer = match tool {
            "submit" => {
                let SubmitArguments { award } = parse(arguments)?;
                json!({ "worker_id": worker_id, "receipt": self.worker.accept(award) })
            }
            "void_attempt" => {
                let AttemptArguments { job_id, attempt } = parse(arguments)?;
                json!({ "worker_id": worker_id, "receipt": self.worker.void(&job_id, attempt)? })
            }
            "reject_proposal" => {
                let reject: Reject = parse(arguments)?;
                self.worker.reject(&reject);
                json!({ "worker_id": worker_id, "released": reject.proposal_id })
            }
            _ => {
                let AttemptArguments { job_id, attempt } = parse(arguments)?;
                json!({ "worker_id": worker_id, "cancelling": self.worker.cancel(&job_id, attempt) })
            }
        };
        Ok(ToolOutcome::json(answer))
    }
}

fn parse<T: DeserializeOwned>(arguments: Object) -> Result<T, ErrorBody> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| ErrorBody::new(ErrorCode::Field, format!("the arguments do not fit: {error}")))
}

/// The same for every worker of a process; a simulation has thousands.
static OWN_TOOLS: LazyLock<Vec<ToolDefinition>> = LazyLock::new(own_tools);

fn own_tools() -> Vec<ToolDefinition> {
    let attempt = json!({"type": "object", "properties": {"job_id": {"type": "string"},
        "attempt": {"type": "integer", "minimum": 1}}, "required": ["job_id", "attempt"]});
    let award = schemars::schema_for!(Award).to_value();
    let changes = Annotations {
        read_only: Some(false),
        destructive: Some(false),
        idempotent: Some(true),
        open_world: Some(true),
    };
    let ends = Annotations { destructive: Some(true), ..changes };
    vec![
        tool(
            "get_status",
            "Static facts of this worker's providers.",
            json!({"type": "object"}),
            Annotations::READ_ONLY,
        ),
        tool(
            "ask_secretary",
            "A call for one proposal: the secretary looks at the site and answers with a verdict, factor \
             scores, promises, claims and evidence. Submits nothing.",
            json!({"type": "object", "properties": {"call": schemars::schema_for!(Call).to_value(),
                "request": {"type": "string"}}}),
            Annotations::READ_ONLY,
        ),
        tool(
            "submit",
            "The hub's award of a job to a proposal of this worker; answers with a receipt.",
            json!({"type": "object", "properties": {"award": award}, "required": ["award"]}),
            changes,
        ),
        tool(
            "job_status",
            "What this worker's ledger has on an attempt.",
            attempt.clone(),
            Annotations::READ_ONLY,
        ),
        tool("cancel_job", "Asks an attempt to stop.", attempt.clone(), ends),
        tool(
            "void_attempt",
            "Withdraws an attempt that was not accepted; it can never start then.",
            attempt,
            ends,
        ),
        tool(
            "reject_proposal",
            "Tells that a proposal was not chosen; its hold is released.",
            json!({"type": "object", "properties": {"negotiation_id": {"type": "string"},
                "proposal_id": {"type": "string"}}, "required": ["negotiation_id", "proposal_id"]}),
            changes,
        ),
        tool(
            "export_provider_metadata",
            "Truth of a simulated site, and the providers' registry and metadata.",
            json!({"type": "object"}),
            Annotations::READ_ONLY,
        ),
    ]
}

fn tool(name: &str, description: &str, schema: Value, annotations: Annotations) -> ToolDefinition {
    ToolDefinition {
        name: name.to_owned(),
        title: None,
        description: description.to_owned(),
        input_schema: Arc::new(schema.as_object().cloned().unwrap_or_default()),
        output_schema: None,
        annotations,
        meta: None,
    }
}
