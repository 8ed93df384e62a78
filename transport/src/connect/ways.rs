//! The ways to one worker: the connection that it opened, while there is one, and else its URL, if it gave
//! one. Whoever calls cannot tell which one a call took.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::reverse::ReverseLink;
use crate::host::{
    Object, PromptDefinition, PromptOutcome, ResourceDefinition, TemplateDefinition, ToolDefinition,
    ToolOutcome,
};
use crate::link::{CallOptions, Link, LinkError};

/// A link that takes the best way there is.
pub struct Ways {
    direct: Option<Arc<dyn Link>>,
    dialled: Mutex<Dialled>,
    changes: watch::Sender<u64>,
    follows_direct: OnceLock<()>,
}

/// The connection that the worker opened, or that there will be none.
enum Dialled {
    Not,
    Over(Arc<ReverseLink>),
    Closed,
}

impl Ways {
    /// The way to a URL, if there is one; the other comes when the worker opens it.
    #[must_use]
    pub fn new(direct: Option<Arc<dyn Link>>) -> Arc<Self> {
        Arc::new(Self {
            direct,
            dialled: Mutex::new(Dialled::Not),
            changes: watch::Sender::new(0),
            follows_direct: OnceLock::new(),
        })
    }

    /// Whether the worker has a connection open.
    #[must_use]
    pub fn is_dialled(&self) -> bool {
        matches!(&*self.lock(), Dialled::Over(link) if !link.is_over())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Dialled> {
        self.dialled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where links of this worker say that something changed.
    pub(crate) fn changes_sender(&self) -> watch::Sender<u64> {
        self.changes.clone()
    }

    /// Takes a new connection, in place of an older one. False when nobody wants any more.
    pub(crate) fn take(&self, link: Arc<ReverseLink>) -> bool {
        let before = {
            let mut dialled = self.lock();
            if matches!(&*dialled, Dialled::Closed) {
                return false;
            }
            std::mem::replace(&mut *dialled, Dialled::Over(link))
        };
        if let Dialled::Over(before) = before {
            before.give_way();
        }
        // Whatever changed before was not announced.
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        true
    }

    fn turn(&self, repeatable: bool) -> Turn<'_> {
        Turn { ways: self, tried: 0, repeatable }
    }
}

/// The ways that one call may still take.
struct Turn<'a> {
    ways: &'a Ways,
    tried: u8,
    repeatable: bool,
}

impl Turn<'_> {
    /// The next way.
    fn next(&mut self) -> Result<Arc<dyn Link>, LinkError> {
        self.tried += 1;
        if self.tried == 1 {
            match &*self.ways.lock() {
                Dialled::Closed => return Err(LinkError::Cancelled),
                Dialled::Over(link) if !link.is_over() => return Ok(link.clone()),
                Dialled::Over(_) | Dialled::Not => self.tried += 1,
            }
        }
        self.ways.direct.clone().ok_or(LinkError::Refused)
    }

    /// Whether this is what the call brings: it is not when it was never sent, or may be sent again, and
    /// there is another way.
    fn is_settled<T>(&self, result: &Result<T, LinkError>) -> bool {
        let goes_on = match result {
            Err(LinkError::Refused) => true,
            Err(LinkError::ClosedEarly) => self.repeatable,
            _ => false,
        };
        !goes_on || self.tried > 1 || self.ways.direct.is_none()
    }
}

#[async_trait]
impl Link for Ways {
    async fn tools(&self, deadline: Instant) -> Result<Vec<ToolDefinition>, LinkError> {
        let mut turn = self.turn(true);
        loop {
            let result = turn.next()?.tools(deadline).await;
            if turn.is_settled(&result) {
                return result;
            }
        }
    }

    async fn call(
        &self,
        tool: &str,
        arguments: &Object,
        options: CallOptions,
    ) -> Result<ToolOutcome, LinkError> {
        let mut turn = self.turn(options.repeatable);
        loop {
            let result = turn.next()?.call(tool, arguments, options.clone()).await;
            if turn.is_settled(&result) {
                return result;
            }
        }
    }

    async fn prompts(&self, deadline: Instant) -> Result<Vec<PromptDefinition>, LinkError> {
        let mut turn = self.turn(true);
        loop {
            let result = turn.next()?.prompts(deadline).await;
            if turn.is_settled(&result) {
                return result;
            }
        }
    }

    async fn get_prompt(
        &self,
        prompt: &str,
        arguments: &Object,
        deadline: Instant,
    ) -> Result<PromptOutcome, LinkError> {
        let mut turn = self.turn(true);
        loop {
            let result = turn.next()?.get_prompt(prompt, arguments, deadline).await;
            if turn.is_settled(&result) {
                return result;
            }
        }
    }

    async fn resources(&self, deadline: Instant) -> Result<Vec<ResourceDefinition>, LinkError> {
        let mut turn = self.turn(true);
        loop {
            let result = turn.next()?.resources(deadline).await;
            if turn.is_settled(&result) {
                return result;
            }
        }
    }

    async fn templates(&self, deadline: Instant) -> Result<Vec<TemplateDefinition>, LinkError> {
        let mut turn = self.turn(true);
        loop {
            let result = turn.next()?.templates(deadline).await;
            if turn.is_settled(&result) {
                return result;
            }
        }
    }

    async fn read_resource(&self, uri: &str, deadline: Instant) -> Result<Vec<Value>, LinkError> {
        let mut turn = self.turn(true);
        loop {
            let result = turn.next()?.read_resource(uri, deadline).await;
            if turn.is_settled(&result) {
                return result;
            }
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        if let Some(direct) = &self.direct
            && self.follows_direct.set(()).is_ok()
        {
            let (mut changes, sum) = (direct.changes(), self.changes.clone());
            tokio::spawn(async move {
                while changes.changed().await.is_ok() {
                    sum.send_modify(|count| *count = count.wrapping_add(1));
                }
            });
        }
        let mut changes = self.changes.subscribe();
        // Whatever changed before was not announced to this one.
        changes.mark_changed();
        changes
    }

    async fn close(&self) {
        let before = std::mem::replace(&mut *self.lock(), Dialled::Closed);
        if let Dialled::Over(link) = before {
            link.close().await;
        }
        if let Some(direct) = &self.direct {
            direct.close().await;
        }
    }
}
