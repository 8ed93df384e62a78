//! A call in plain language, as the predecessor's hub makes it: read once, here, and answered on the
//! typed path. The answer is the predecessor's text form with the typed proposal beside it.

use intake::Vocabulary;
use protocol::call::{Call, JobOutline};
use protocol::error::ErrorBody;
use protocol::ids::{NegotiationId, ProposalId};
use protocol::request::Request;
use protocol::text;
use protocol::units::Seconds;
use serde_json::{Value, json};

use crate::worker::Worker;

/// The predecessor names no deadline.
const DEADLINE: u32 = 10;

impl Worker {
    /// Answers a call in plain language.
    pub(crate) async fn answer_plain(&self, prompt: String) -> Result<Value, ErrorBody> {
        let request = Request { prompt: Some(prompt), ..Request::default() };
        intake::check(&request)?;
        let understanding = intake::understand(&request, &Vocabulary::shipped(), self.now());
        let job = understanding.job.as_ref();
        let factors =
            matching::factors::factors(&understanding.requirement, understanding.weights.0.keys().copied());
        let call = Call {
            negotiation_id: NegotiationId::mint(self.draw()),
            proposal_id: ProposalId::mint(self.draw()),
            factors,
            job: job.map(|job| JobOutline { kind: job.kind(), digest: job.digest() }),
            requirement: understanding.requirement,
            deadline_seconds: Seconds::from(DEADLINE),
            hold_seconds: None,
            as_of_tick: self.tick(),
            verbose: false,
        };
        let proposal = self.answer(call).await?;
        Ok(json!({
            "worker_id": self.id(),
            "proposal": text::render(&proposal, None),
            "typed_proposal": proposal,
            "not_understood": understanding.not_understood,
        }))
    }
}
