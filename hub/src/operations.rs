//! The one door: every call, from whichever face, is `invoke(principal, operation, arguments)`. It
//! checks the scope, runs the operation, and notes who called what with which outcome.

mod artifacts;
mod dispatch;
mod fleet;
mod jobs;
mod negotiate;
mod table;

use std::time::Instant;

use protocol::error::{ErrorBody, ErrorCode};
use protocol::ids::Digest;
use protocol::negotiation::Notice;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use artifacts::stored_artifact;
pub use table::{Operation, OperationName, operation, operations};

use crate::hub::Hub;
use crate::predecessor;
use crate::principal::{Principal, Scope};
use crate::store::Invocation;

/// What goes with a call beside its arguments.
#[derive(Clone, Default)]
pub struct Caller {
    /// Where notices go while the operation runs; nobody listens when absent.
    pub notices: Option<mpsc::Sender<Notice>>,
    /// Ends the operation early: the client has gone.
    pub cancelled: CancellationToken,
}

impl Caller {
    /// Tells whoever listens; a listener that is behind misses notices, never holds up the work.
    pub fn notify(&self, notice: impl FnOnce() -> Notice) {
        if let Some(notices) = &self.notices {
            let _ = notices.try_send(notice());
        }
    }
}

impl Hub {
    /// The door itself: checks the scope, does the work, and notes who called what with which outcome.
    pub(crate) async fn pass<T>(
        &self,
        principal: &Principal,
        operation: &str,
        scope: Scope,
        digest: Digest,
        work: impl Future<Output = Result<T, ErrorBody>>,
    ) -> Result<T, ErrorBody> {
        let begun = Instant::now();
        let at = self.now();
        let result = if principal.may(scope) {
            work.await
        } else {
            Err(ErrorBody::new(ErrorCode::Scope, format!("{operation} needs the scope {scope:?}")))
        };
        self.store().note(Invocation {
            at,
            principal: principal.id.clone(),
            operation: operation.to_owned(),
            digest: digest.to_string(),
            outcome: result.as_ref().map_or_else(|error| error.code.to_string(), |_| "OK".to_owned()),
            microseconds: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
        });
        result
    }

    /// Runs an operation for a principal.
    pub async fn invoke(
        &self,
        principal: &Principal,
        name: OperationName,
        arguments: Value,
        caller: &Caller,
    ) -> Result<Value, ErrorBody> {
        let digest = Digest::of(arguments.to_string().as_bytes());
        let operation = operation(name);
        let work = self.run(principal, name, arguments, caller);
        self.pass(principal, operation.name, operation.scope, digest, work).await
    }

    async fn run(
        &self,
        principal: &Principal,
        name: OperationName,
        arguments: Value,
        caller: &Caller,
    ) -> Result<Value, ErrorBody> {
        match name {
            OperationName::NegotiateJob => {
                let arguments: negotiate::NegotiateArguments = parse(arguments)?;
                let prompt = arguments.request.prompt.clone();
                let view = self.negotiate_job(principal, arguments, caller).await?;
                predecessor::view_value(view, prompt.as_deref(), self.now()).map_err(|e| unwritable(&e))
            }
            OperationName::SelectJob => answer(self.select_job(principal, parse(arguments)?).await?),
            OperationName::DispatchJob => {
                answer(self.dispatch_job(principal, parse(arguments)?, caller).await?)
            }
            OperationName::ExplainNegotiation => {
                answer(self.explain_negotiation(principal, parse(arguments)?).await?)
            }
            OperationName::GetNegotiation => {
                answer(self.get_negotiation(principal, parse(arguments)?).await?)
            }
            OperationName::ListNegotiations => {
                answer(self.list_negotiations(principal, parse(arguments)?).await?)
            }
            OperationName::GetJob => answer(self.get_job(principal, parse(arguments)?, caller).await?),
            OperationName::ListJobs => answer(self.list_jobs(principal, parse(arguments)?).await?),
            OperationName::CancelJob => answer(self.cancel_job(principal, parse(arguments)?).await?),
            OperationName::GetJobLogs => answer(self.get_job_logs(principal, parse(arguments)?).await?),
            OperationName::ListArtifacts => answer(self.list_artifacts(principal, parse(arguments)?).await?),
            OperationName::GetArtifact => answer(self.get_artifact(principal, parse(arguments)?).await?),
            OperationName::GetFleetStatus => answer(self.get_fleet_status(parse(arguments)?).await?),
            OperationName::GetTrust => answer(self.get_trust().await?),
            OperationName::ExportFleetTruth => answer(self.export_fleet_truth().await?),
            OperationName::ListStrategies => answer(self.list_strategies()),
            OperationName::ListProviders => answer(self.list_providers()),
            OperationName::ListArchetypes => answer(self.list_archetypes()),
        }
    }
}

/// Arguments as a type; an error names the field.
fn parse<T: DeserializeOwned>(arguments: Value) -> Result<T, ErrorBody> {
    let arguments = if arguments.is_null() { Value::Object(serde_json::Map::new()) } else { arguments };
    serde_json::from_value(arguments)
        .map_err(|error| ErrorBody::new(ErrorCode::Field, format!("the arguments do not fit: {error}")))
}

fn answer<T: serde::Serialize>(value: T) -> Result<Value, ErrorBody> {
    serde_json::to_value(value).map_err(|error| unwritable(&error))
}

fn unwritable(error: &serde_json::Error) -> ErrorBody {
    tracing::error!(%error, "an answer could not be written as JSON");
    ErrorBody::new(ErrorCode::Internal, "the answer could not be written")
}
