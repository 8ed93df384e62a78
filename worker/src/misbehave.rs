//! Faults that cannot be shown from inside the protocol: answers that are no JSON, too large, or cut
//! off. A layer before a simulated worker's endpoint acts them out on calls of its secretary.

use archetypes::Fault;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use futures::stream;

/// The largest request that is looked at.
const REQUEST_LIMIT: usize = 4 * 1024 * 1024;
/// More than any hub reads of a proposal.
const FAR_TOO_LARGE: usize = 8 * 1024 * 1024;

/// Puts a fault before a router; faults of other kinds change nothing here.
pub fn misbehaving(router: Router, fault: Fault) -> Router {
    if !matches!(fault, Fault::BadJson | Fault::BadSchema | Fault::TooLarge | Fault::ClosedEarly) {
        return router;
    }
    router.layer(from_fn(move |request: Request, next: Next| async move {
        let (parts, body) = request.into_parts();
        let Ok(body) = to_bytes(body, REQUEST_LIMIT).await else {
            return axum::http::StatusCode::PAYLOAD_TOO_LARGE.into_response();
        };
        let asks = body.windows(15).any(|window| window == b"\"ask_secretary\"");
        if asks { act_out(fault) } else { next.run(Request::from_parts(parts, Body::from(body))).await }
    }))
}

fn act_out(fault: Fault) -> Response {
    let json = [(CONTENT_TYPE, "application/json")];
    match fault {
        Fault::BadJson => (json, "{\"jsonrpc\": \"2.0\", \"result\": {this is not JSON").into_response(),
        Fault::BadSchema => {
            (json, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[\"no\",\"proposal\"]}").into_response()
        }
        Fault::TooLarge => (json, vec![b' '; FAR_TOO_LARGE]).into_response(),
        _ => {
            let pieces: [Result<Bytes, std::io::Error>; 2] = [
                Ok(Bytes::from_static(b"{\"jsonrpc\": \"2.0\", ")),
                Err(std::io::Error::other("the connection closes here")),
            ];
            (json, Body::from_stream(stream::iter(pieces))).into_response()
        }
    }
}
