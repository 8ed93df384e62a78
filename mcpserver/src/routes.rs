//! The plain routes of a process that serves workers: alive, ready, what tools there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use transport::host::Host;
use transport::sender::Sender;
use transport::serve::gate::guarded;
use transport::serve::guard::Guard;

/// Whether a process can do what it is for. Shared.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// Says so.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// `/health` and `/health/ready` of the service of this name.
pub fn health(service: &'static str, guard: Guard, ready: Ready) -> Router {
    let alive = json!({"status": "ok", "service": service, "version": env!("CARGO_PKG_VERSION")});
    let alive = get(move || async move { Json(alive) });
    let ready = get(move || async move {
        match ready.get() {
            true => (StatusCode::OK, Json(json!({"status": "ok"}))),
            false => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "not ready"}))),
        }
    });
    guarded(Router::new().route("/health", alive).route("/health/ready", ready), Arc::new(guard))
}

/// `/tools/list`, the same JSON as over MCP.
pub fn tools(host: Arc<dyn Host>, guard: Guard) -> Router {
    let list = get(move || {
        let host = host.clone();
        async move {
            let tools = host.tools(&Sender::anonymous()).await;
            Json::<Value>(json!({ "tools": *tools }))
        }
    });
    guarded(Router::new().route("/tools/list", list), Arc::new(guard))
}
