//! What a process is told from outside: SIGTERM, SIGINT and SIGHUP ask it to end, a second one insists;
//! SIGUSR1 has a worker take no more work, SIGUSR2 has it take work again.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::{Exit, Failure};

/// However much there is to do at the end: the process is gone this long after it was asked to end.
const LONGEST_END: Duration = Duration::from_millis(9_500);

/// A token that fires when the process is asked to end.
pub fn shutdown() -> Result<CancellationToken, Failure> {
    let mut asked = Asked::listen().map_err(Failure::Start)?;
    let token = CancellationToken::new();
    let fired = token.clone();
    tokio::spawn(async move {
        asked.next().await;
        fired.cancel();
        tokio::select! {
            () = asked.next() => tracing::warn!("ending at once"),
            () = tokio::time::sleep(LONGEST_END) => tracing::warn!("the end took too long"),
        }
        std::process::exit(Exit::Done as i32);
    });
    Ok(token)
}

/// Tells when a worker is drained and when it takes work again.
pub struct Drain {
    drain: Signal,
    resume: Signal,
}

impl Drain {
    /// Listens from now on.
    pub fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::Start);
        Ok(Self { drain: listen(SignalKind::user_defined1())?, resume: listen(SignalKind::user_defined2())? })
    }

    /// Whether the worker is to drain from now on.
    pub async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.drain.recv() => true,
            _ = self.resume.recv() => false,
        }
    }
}

struct Asked {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Asked {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
