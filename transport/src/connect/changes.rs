//! The stream of list changes of one server, kept open in the background and opened again when it ends.

use std::sync::Weak;
use std::time::Duration;

use ring::rand::SecureRandom as _;
use serde::de::IgnoredAny;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::direct::DirectLink;
use super::events::EventReader;
use super::exchange::classify;
use super::rpc;
use crate::link::LinkError;

/// A server answers the request for its stream within this time.
const OPEN_TIME: Duration = Duration::from_secs(10);

/// Servers send a sign of life every 15 s or so; without one the connection is dead.
const QUIET_TIME: Duration = Duration::from_secs(120);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Notifications are small.
const EVENT_LIMIT: usize = 64 * 1024;

/// Starts the task. It ends with the link.
pub(super) fn watch_in_background(
    link: Weak<DirectLink>,
    closed: CancellationToken,
    changes: watch::Sender<u64>,
) {
    tokio::spawn(async move {
        tokio::select! {
            () = closed.cancelled() => {}
            () = keep_watching(link, changes) => {}
        }
    });
}

async fn keep_watching(link: Weak<DirectLink>, changes: watch::Sender<u64>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(strong) = link.upgrade() else { return };
        let opened = timeout(OPEN_TIME, strong.open_changes()).await.unwrap_or(Err(LinkError::Timeout));
        let jitter = jitter(&strong);
        // The stream must not keep its link alive.
        drop(strong);
        match opened {
            Ok(response) => {
                let since = Instant::now();
                // Whatever changed before the stream was open was not announced.
                changes.send_modify(|count| *count = count.wrapping_add(1));
                if let Err(error) = follow(response, &changes).await {
                    tracing::debug!(%error, "a stream of changes ended");
                }
                // A server that ends its streams at once must not make us list its tools all the time.
                if since.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "no stream of changes");
                if matches!(error, LinkError::Worker { .. } | LinkError::Http { .. }) {
                    // The server has none; it may get one when it is replaced.
                    pause = LONGEST_PAUSE;
                }
            }
        }
        sleep(pause.mul_f64(jitter)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// From a half to one and a half, so that a thousand links do not return at the same moment.
fn jitter(link: &DirectLink) -> f64 {
    let mut byte = [128_u8];
    // Without randomness all wait equally long.
    let _ = link.connector.random.fill(&mut byte);
    0.5 + f64::from(byte[0]) / 255.0
}

async fn follow(mut response: reqwest::Response, changes: &watch::Sender<u64>) -> Result<(), LinkError> {
    let mut reader = EventReader::new(EVENT_LIMIT);
    loop {
        let chunk = timeout(QUIET_TIME, response.chunk()).await.map_err(|_| LinkError::Timeout)?;
        let Some(chunk) = chunk.map_err(|error| classify(&error))? else {
            return Ok(());
        };
        for event in reader.push(&chunk)? {
            if event.is_empty() {
                continue;
            }
            let message = rpc::read::<IgnoredAny>(&event)?;
            match message.method.as_deref() {
                Some(method) if method.ends_with("/list_changed") => {
                    changes.send_modify(|count| *count = count.wrapping_add(1));
                }
                Some(_) => {}
                // The answer to the subscription: the server ends it.
                None => return Ok(()),
            }
        }
    }
}
