//! A link without a socket behaves as one with a socket does.

use std::sync::Arc;
use std::time::Duration;

use protocol::error::ErrorCode;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use transport::link::{CallOptions, LinkError};
use transport::local;
use transport::sender::Sender;

use crate::support::{Fixture, Seen, call, object, soon, within};

#[tokio::test]
async fn a_host_in_the_process_is_called_like_any_other() {
    let (host, _) = Fixture::new();
    let link = local::link(host.clone(), Sender::signed("hub"));
    let mut changes = link.changes();
    host.add_tool();
    within(changes.changed()).await.unwrap();
    assert_eq!(link.tools(soon()).await.unwrap().len(), 2);
    assert_eq!(call(&link, "who").await.unwrap().first_text(), Some("Signed(\"hub\")"));
    assert_eq!(call(&link, "nothing").await.unwrap_err().code(), ErrorCode::Tool);
    let (updates, mut received) = mpsc::channel(8);
    link.call("count", &object(json!({})), CallOptions::until(soon()).progress(updates)).await.unwrap();
    assert_eq!(received.recv().await.unwrap().progress, 1.0);
    assert_eq!(link.prompts(soon()).await.unwrap().len(), 1);
    assert_eq!(link.read_resource("parley://x", soon()).await.unwrap_err().code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn its_calls_end_at_the_deadline_and_with_the_link() {
    let (host, mut seen) = Fixture::new();
    let link = local::link(host, Sender::anonymous());
    let deadline = Instant::now() + Duration::from_millis(20);
    let result = link.call("hang", &object(json!({})), CallOptions::until(deadline)).await;
    assert_eq!(result, Err(LinkError::Timeout));
    assert_eq!(within(seen.recv()).await, Some(Seen::Started));
    let calling = Arc::clone(&link);
    let waiting = tokio::spawn(async move { call(&calling, "hang").await });
    assert_eq!(within(seen.recv()).await, Some(Seen::Started));
    link.close().await;
    assert_eq!(within(waiting).await.unwrap(), Err(LinkError::Cancelled));
    assert_eq!(call(&link, "echo").await, Err(LinkError::Cancelled));
}
