//! The operations: name, scope, schemas, what each is for. MCP tools and the REST document are made
//! from this table.

use std::sync::{Arc, LazyLock};

use schemars::{JsonSchema, schema_for};
use serde_json::{Map, Value};

use super::artifacts::{ArtifactArguments, ArtifactList, ArtifactsArguments};
use super::dispatch::{DispatchAnswer, DispatchArguments};
use super::fleet::{FleetArguments, FleetStatus, Items, Trust};
use super::jobs::{JobArguments, JobList, JobsArguments, LogAnswer, LogArguments, WaitArguments};
use super::negotiate::{
    ExplainArguments, NegotiateArguments, NegotiationArguments, NegotiationList, NegotiationsArguments,
    SelectArguments,
};
use crate::principal::Scope;

/// The operations of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationName {
    /// Ask the fleet for proposals, and rank them.
    NegotiateJob,
    /// Choose again among the proposals of a negotiation.
    SelectJob,
    /// Award a job.
    DispatchJob,
    /// Why each worker won or lost.
    ExplainNegotiation,
    /// One negotiation.
    GetNegotiation,
    /// Past negotiations.
    ListNegotiations,
    /// One job.
    GetJob,
    /// Jobs.
    ListJobs,
    /// Stop a job.
    CancelJob,
    /// A job's output.
    GetJobLogs,
    /// Artifacts.
    ListArtifacts,
    /// One artifact.
    GetArtifact,
    /// The workers.
    GetFleetStatus,
    /// The workers' trust.
    GetTrust,
    /// Truth of mock workers, metadata of real ones.
    ExportFleetTruth,
    /// Selection strategies.
    ListStrategies,
    /// Providers over the fleet.
    ListProviders,
    /// Archetypes of mock sites.
    ListArchetypes,
}

/// One operation.
pub struct Operation {
    /// Which.
    pub id: OperationName,
    /// Its name as a tool.
    pub name: &'static str,
    /// When to use it, what it costs, what to do next; written for a model.
    pub description: &'static str,
    /// What the caller must be allowed to do.
    pub scope: Scope,
    /// Whether it changes nothing.
    pub read_only: bool,
    /// Whether it ends something that cannot be brought back.
    pub destructive: bool,
    /// Whether doing it twice is the same as doing it once.
    pub idempotent: bool,
    /// The arguments' schema.
    pub input: Arc<Map<String, Value>>,
    /// The result's schema.
    pub output: Arc<Map<String, Value>>,
}

#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn schema<T: JsonSchema>() -> Arc<Map<String, Value>> {
    Arc::new(schema_for!(T).to_value().as_object().cloned().unwrap_or_default())
}

fn entry<In: JsonSchema, Out: JsonSchema>(
    id: OperationName,
    name: &'static str,
    scope: Scope,
    description: &'static str,
) -> Operation {
    let read_only = matches!(scope, Scope::Read);
    Operation {
        id,
        name,
        description,
        scope,
        read_only,
        destructive: false,
        idempotent: read_only,
        input: schema::<In>(),
        output: schema::<Out>(),
    }
}

static TABLE: LazyLock<Vec<Operation>> = LazyLock::new(|| {
    use OperationName as Name;
    use protocol::artifact::Artifact;
    use protocol::job::Job;
    use protocol::negotiation::{Negotiation, NegotiationView};
    vec![
        entry::<NegotiateArguments, NegotiationView>(
            Name::NegotiateJob,
            "negotiate_job",
            Scope::Negotiate,
            "Ask every suitable cluster whether it can do some work, in plain language (prompt) or typed \
             (requirement), and rank the answers. Costs a few milliseconds to the deadline (10 s by \
             default) and dispatches nothing. Read not_understood and missing first; then call \
             dispatch_job with the negotiation_id, or explain_negotiation to learn why a worker lost.",
        ),
        entry::<SelectArguments, NegotiationView>(
            Name::SelectJob,
            "select_job",
            Scope::Negotiate,
            "Choose again among the proposals of an earlier negotiation, with other strategies (see \
             list_strategies). Asks no worker and changes nothing.",
        ),
        Operation {
            idempotent: true,
            ..entry::<DispatchArguments, DispatchAnswer>(
                Name::DispatchJob,
                "dispatch_job",
                Scope::Dispatch,
                "Award work to a cluster and start it: either from an earlier negotiation \
                 (negotiation_id, optionally proposal_id), or from a request, optionally at one \
                 worker_id. This runs a program and may cost money. Pass an idempotency_key when you may \
                 retry. Follow with get_job (wait_seconds) and get_job_logs.",
            )
        },
        entry::<ExplainArguments, negotiation::explain::Explanation>(
            Name::ExplainNegotiation,
            "explain_negotiation",
            Scope::Read,
            "Why each worker won or lost a negotiation: gates with wanted and had, contributions of each \
             factor, adjustments, trust, and what would have changed the outcome.",
        ),
        entry::<NegotiationArguments, Negotiation>(
            Name::GetNegotiation,
            "get_negotiation",
            Scope::Read,
            "One negotiation with everything that was asked, answered, judged and chosen in it.",
        ),
        entry::<NegotiationsArguments, NegotiationList>(
            Name::ListNegotiations,
            "list_negotiations",
            Scope::Read,
            "The latest negotiations, newest first.",
        ),
        entry::<WaitArguments, Job>(
            Name::GetJob,
            "get_job",
            Scope::Read,
            "One job: state, attempts, promised and observed times and cost, metrics, artifacts. With \
             wait_seconds (at most 20) it answers when the job changes state or the time is up.",
        ),
        entry::<JobsArguments, JobList>(Name::ListJobs, "list_jobs", Scope::Read, "Jobs, newest first."),
        Operation {
            destructive: true,
            idempotent: true,
            ..entry::<JobArguments, Job>(
                Name::CancelJob,
                "cancel_job",
                Scope::Dispatch,
                "Stop a job. The job is over when its state says so; a job that is already over is refused.",
            )
        },
        entry::<LogArguments, LogAnswer>(
            Name::GetJobLogs,
            "get_job_logs",
            Scope::Read,
            "A page of a job's output from a byte offset; call again with next_offset until complete.",
        ),
        entry::<ArtifactsArguments, ArtifactList>(
            Name::ListArtifacts,
            "list_artifacts",
            Scope::Read,
            "Files that jobs produced, newest first, of one job or of all.",
        ),
        entry::<ArtifactArguments, Artifact>(
            Name::GetArtifact,
            "get_artifact",
            Scope::Read,
            "One file's record: digest, type, size, the job and inputs that it came from. Its bytes are at \
             GET /artifacts/ID/content.",
        ),
        entry::<FleetArguments, FleetStatus>(
            Name::GetFleetStatus,
            "get_fleet_status",
            Scope::Read,
            "The workers: state, labels, last sign of life, kind of site, providers, trust.",
        ),
        entry::<Nothing, Trust>(
            Name::GetTrust,
            "get_trust",
            Scope::Read,
            "Each worker's trust: claim honesty and delivery as Beta pairs, availability, state.",
        ),
        entry::<Nothing, super::fleet::Export>(
            Name::ExportFleetTruth,
            "export_fleet_truth",
            Scope::Admin,
            "Everything that is true of the simulated sites, and the metadata of the real ones.",
        ),
        entry::<Nothing, Items>(
            Name::ListStrategies,
            "list_strategies",
            Scope::Read,
            "The selection strategies with their descriptions.",
        ),
        entry::<Nothing, Items>(
            Name::ListProviders,
            "list_providers",
            Scope::Read,
            "The providers that workers have, with how many workers have each.",
        ),
        entry::<Nothing, Items>(
            Name::ListArchetypes,
            "list_archetypes",
            Scope::Read,
            "The kinds of simulated site.",
        ),
    ]
});

/// Every operation.
#[must_use]
pub fn operations() -> &'static [Operation] {
    &TABLE
}

/// One operation.
#[must_use]
pub fn operation(name: OperationName) -> &'static Operation {
    #[expect(clippy::expect_used, reason = "a test checks that every name is in the table")]
    TABLE.iter().find(|operation| operation.id == name).expect("every operation is in the table")
}
