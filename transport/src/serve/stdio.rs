//! Serving a host over standard input and output, as clients do that start a server themselves.

use std::sync::Arc;

use rmcp::ServiceExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::handler::Face;
use crate::host::Host;
use crate::sender::Sender;

/// The client spoke something else than MCP, or left before it began.
#[derive(Debug, thiserror::Error)]
#[error("the client did not start a session: {0}")]
pub struct StdioError(String);

/// Serves a host on this process's standard input and output until the client leaves or `shutdown` fires.
/// All calls come from `sender`: whoever started the process.
pub async fn serve_stdio(
    host: Arc<dyn Host>,
    sender: Sender,
    shutdown: CancellationToken,
) -> Result<(), StdioError> {
    let (input, output) = rmcp::transport::io::stdio();
    serve_pipe(host, sender, input, output, shutdown).await
}

/// Serves a host on any pair of pipes, one JSON message a line.
pub async fn serve_pipe(
    host: Arc<dyn Host>,
    sender: Sender,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
    shutdown: CancellationToken,
) -> Result<(), StdioError> {
    let face = Face::new(host, sender);
    let running =
        face.serve_with_ct((input, output), shutdown).await.map_err(|error| StdioError(error.to_string()))?;
    // The reason does not matter: the client left, or we were told to stop.
    let _ = running.waiting().await;
    Ok(())
}
