//! Joining, signs of life and leaving: what changes the fleet.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use axum::response::Response;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::event::Event;
use protocol::fleet::Manifest;
use protocol::ids::WorkerId;
use protocol::job::JobState;
use protocol::join::{
    Heartbeat, HeartbeatAccepted, JoinAccepted, JoinChallenge, JoinFinish, JoinStart, Registration,
};
use protocol::signature::{HUB_SENDER, RequestParts};
use protocol::units::Seconds;
use serde::Deserialize;
use tokio::time::Instant;
use transport::admission::Rejection;
use transport::connect::ways::Ways;
use transport::connect::{Credentials, Target};
use transport::reverse::Pace;
use transport::reverse::accept::{Terms, accept};
use transport::signed::{Signer, verify_signed};

use crate::fleet::{Admission, Member, Particulars};
use crate::hub::Hub;
use crate::join::{check_url, wrong_secret};
use crate::principal::hub_principal;

/// A predecessor's registration (`POST /register`).
#[derive(Debug, Deserialize)]
pub struct LegacyRegistration {
    id: String,
    url: String,
    #[serde(default)]
    labels: Option<std::collections::BTreeMap<String, serde_json::Value>>,
    #[serde(default)]
    manifest:
        Option<std::collections::BTreeMap<String, std::collections::BTreeMap<String, serde_json::Value>>>,
}

impl Hub {
    /// Answers a worker's first join message.
    pub fn join_start(&self, start: JoinStart) -> Result<JoinChallenge, ErrorBody> {
        self.joins().start(start, self.entropy(), self.now())
    }

    /// Answers a worker's second join message: proofs, then whether the name is free, then the store.
    pub async fn join_finish(&self, finish: &JoinFinish) -> Result<JoinAccepted, ErrorBody> {
        let (registration, key) = self.joins().finish(finish, self.now())?;
        let Registration { worker_id, url, labels, manifest, boot_id } = registration;
        let particulars = Particulars {
            worker_id: worker_id.clone(),
            key: Some(key),
            url,
            labels,
            manifest: Arc::new(manifest),
            boot_id,
        };
        self.admit(particulars).await?;
        let lease = self.fleet().lease();
        Ok(JoinAccepted {
            worker_id,
            heartbeat_seconds: Seconds::saturating(lease.heartbeat.as_secs_f64()),
            lease_seconds: Seconds::saturating(lease.lease.as_secs_f64()),
        })
    }

    /// Admits a predecessor's worker, which proves itself with the secret in a header.
    pub async fn join_legacy(&self, token: &str, body: LegacyRegistration) -> Result<WorkerId, ErrorBody> {
        if !self.legacy_join() || !self.joins().token_fits(token) {
            return Err(wrong_secret());
        }
        check_url(&body.url)?;
        if body.id.is_empty() || body.id.chars().count() > 256 || body.id.chars().any(char::is_control) {
            let message = "id must have 1 to 256 characters and no control characters";
            return Err(ErrorBody::new(ErrorCode::Field, message));
        }
        let worker_id = WorkerId::from_host_name(&body.id);
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        let providers = body.manifest.unwrap_or_default();
        let manifest = Manifest {
            software: "resource-secretary".to_owned(),
            archetype: None,
            mock: None,
            job_kinds: [protocol::job::JobKind::Command].into(),
            workload: providers.get("workload").and_then(|managers| managers.keys().next().cloned()),
            has_secretary: true,
            providers,
        };
        let particulars = Particulars {
            worker_id: worker_id.clone(),
            key: None,
            url: Some(body.url),
            labels: body.labels.unwrap_or_default().into_iter().map(|(k, v)| (k, text(v))).collect(),
            manifest: Arc::new(manifest),
            boot_id: String::new(),
        };
        self.admit(particulars).await?;
        Ok(worker_id)
    }

    async fn admit(&self, particulars: Particulars) -> Result<(), ErrorBody> {
        let id = particulars.worker_id.clone();
        let present = self.fleet().get(&id);
        let elsewhere = present.as_ref().filter(|present| present.particulars.is_elsewhere(&particulars));
        let answers_elsewhere = match elsewhere {
            Some(present) => {
                let deadline = Instant::now() + Duration::from_secs(1);
                present.link.tools(deadline).await.is_ok()
            }
            None => false,
        };
        match self.fleet().admit(&particulars, answers_elsewhere)? {
            Admission::Same => {
                if let Some(present) = present {
                    present.heard(self.now(), Some(false));
                    self.refresh_tools(present);
                }
            }
            Admission::Changed => {
                let link = self.link_to(&particulars)?;
                self.append(&hub_principal(), vec![particulars.joined()]).await?;
                self.learn_words(&particulars);
                let member = self.fleet().insert(particulars, link, self.now(), true);
                if let Some(present) = present {
                    present.link.close().await;
                }
                self.refresh_tools(member);
                tracing::info!(worker = %id, "a worker joined");
            }
        }
        Ok(())
    }

    /// The ways to a worker: its URL, where nothing is connected before it is used, and room for the link
    /// that it may open.
    pub(crate) fn link_to(&self, particulars: &Particulars) -> Result<Arc<Ways>, ErrorBody> {
        let Some(url) = particulars.url.clone() else { return Ok(Ways::new(None)) };
        let credentials = match &particulars.key {
            Some(_) => Credentials::Signed(Signer {
                key: self.key().clone(),
                sender: HUB_SENDER.to_owned(),
                audience: particulars.worker_id.to_string(),
            }),
            None => Credentials::Anonymous,
        };
        let link = self.connector().connect(Target::new(url, credentials));
        let link = link.map_err(|error| ErrorBody::new(ErrorCode::Field, error.to_string()))?;
        Ok(Ways::new(Some(link)))
    }

    /// Takes the link that a worker opens, in place of an older one.
    pub(crate) fn take_link(
        &self,
        member: &Arc<Member>,
        boot_id: &str,
        worker_key: &str,
        request: &mut Request<Body>,
    ) -> Result<Response, Rejection> {
        let particulars = &member.particulars;
        if boot_id != particulars.boot_id {
            return Err(superseded().into());
        }
        let lease = self.fleet().lease();
        let terms = Terms {
            key: self.key(),
            worker_id: particulars.worker_id.as_str(),
            boot_id,
            worker_key,
            pace: Pace { ping: lease.heartbeat, silence: lease.lease },
        };
        let (response, opened) = accept(request, &terms, self.connector(), &member.ways)?;
        let (hub, member) = (self.clone(), member.clone());
        self.tasks().spawn(async move {
            // A worker without a URL could not be asked for its tools before.
            if opened.await.is_ok() && member.tools().is_empty() {
                hub.refresh_tools(member);
            }
        });
        Ok(response)
    }

    /// The worker that signed a request, if the signature holds and is new.
    pub(crate) fn signer(
        &self,
        headers: &HeaderMap,
        parts: RequestParts<'_>,
    ) -> Result<Arc<Member>, Rejection> {
        let mut signer = None;
        // An unknown worker and a wrong signature are refused alike.
        let key_of = |sender: &str| {
            let member = WorkerId::parse(sender).ok().and_then(|id| self.fleet().get(&id))?;
            let key = member.particulars.key.clone();
            signer = Some(member);
            key
        };
        verify_signed(headers, parts, key_of, self.now(), self.nonces())?;
        signer.ok_or_else(Rejection::unauthenticated)
    }

    /// Takes a sign of life.
    pub async fn heartbeat(
        &self,
        member: &Arc<Member>,
        beat: &Heartbeat,
    ) -> Result<HeartbeatAccepted, ErrorBody> {
        if beat.boot_id != member.particulars.boot_id {
            return Err(superseded());
        }
        let was_silent = member.tools().is_empty();
        member.heard(self.now(), Some(beat.draining));
        if was_silent {
            self.refresh_tools(member.clone());
        }
        for attempt in beat.attempts.iter().filter(|attempt| !attempt.state.is_terminal()) {
            let job = self.store().job(None, attempt.job_id.clone()).await.map_err(|e| e.outward())?;
            if let Some(job) = job.filter(|job| job.state == JobState::Cancelling) {
                self.send_cancel(&job).await;
            }
        }
        let lease = Seconds::saturating(self.fleet().lease().lease.as_secs_f64());
        Ok(HeartbeatAccepted { lease_seconds: lease })
    }

    /// Lets a worker go that says goodbye.
    pub async fn leave(&self, member: &Member) -> Result<(), ErrorBody> {
        let worker_id = member.particulars.worker_id.clone();
        self.append(&hub_principal(), vec![Event::WorkerLeft { worker_id: worker_id.clone() }]).await?;
        if let Some(member) = self.fleet().remove(&worker_id) {
            member.link.close().await;
        }
        tracing::info!(worker = %worker_id, "a worker left");
        Ok(())
    }
}

/// The answer to an instance of a worker that a newer one has replaced.
fn superseded() -> ErrorBody {
    ErrorBody::new(ErrorCode::Superseded, "another instance of this worker has joined; join again or stop")
}
