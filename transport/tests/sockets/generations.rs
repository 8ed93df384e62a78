//! Everything that a link can do, with a server of each protocol generation, and over a connection that the
//! server opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use protocol::error::ErrorCode;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use transport::admission::{Admission, Everyone};
use transport::host::Host;
use transport::link::{CallOptions, Link, LinkError};
use transport::serve::guard::Guard;
use transport::serve::{McpOptions, Mount, mcp_router_many};

use crate::reversing::Reversed;
use crate::support::{Fixture, Seen, Server, call, link, object, older, open, soon, within};

/// Something to call, and the way to it.
enum Served {
    /// A server at a URL.
    Listening(Server),
    /// One that called us.
    Calling(Reversed),
}

impl Served {
    fn link(&self) -> Arc<dyn Link> {
        match self {
            Self::Listening(server) => link(&server.url()),
            Self::Calling(reversed) => reversed.ways.clone(),
        }
    }

    async fn stop(self) {
        match self {
            Self::Listening(server) => server.stop().await,
            Self::Calling(reversed) => reversed.stop().await,
        }
    }
}

/// A server of the newer generation, one of the older, and one at the end of a reverse link.
async fn all() -> Vec<(&'static str, Arc<Fixture>, mpsc::UnboundedReceiver<Seen>, Served)> {
    let (host, seen) = Fixture::new();
    let newer = ("newer", Arc::clone(&host), seen, Served::Listening(Server::start(open(host)).await));
    let (host, seen) = Fixture::new();
    let server = Server::start(older(Arc::clone(&host), Arc::default())).await;
    let older = ("older", host, seen, Served::Listening(server));
    let (host, seen) = Fixture::new();
    let reversed = Reversed::start(Arc::clone(&host)).await;
    vec![newer, older, ("reverse", host, seen, Served::Calling(reversed))]
}

#[tokio::test]
async fn tools_are_listed_and_called() {
    for (generation, _, _, server) in all().await {
        let link = server.link();
        let tools = link.tools(soon()).await.unwrap();
        assert_eq!(tools.len(), 1, "{generation}");
        assert_eq!(tools[0].title.as_deref(), Some("a.tool"));
        assert_eq!(tools[0].annotations.read_only, Some(true));
        assert_eq!(tools[0].meta.as_ref().unwrap()["example.org/worker"], "w");
        assert!(tools[0].output_schema.is_some());

        let outcome = call(&link, "echo").await.unwrap();
        assert_eq!(outcome.structured, Some(json!({"a": 1})), "{generation}");
        assert_eq!(outcome.first_text(), Some(r#"{"a":1}"#));
        let outcome = call(&link, "picture").await.unwrap();
        assert_eq!(outcome.content[0]["mimeType"], "image/png");
        let outcome = call(&link, "fail").await.unwrap();
        assert!(outcome.is_error);
        assert_eq!(outcome.structured.unwrap()["error"]["code"], "JOB_FAILED");
        let error = call(&link, "nothing").await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Tool, "{generation}");
        assert!(error.to_string().contains("nothing"));
        server.stop().await;
    }
}

#[tokio::test]
async fn prompts_and_resources_are_read() {
    for (generation, _, _, server) in all().await {
        let link = server.link();
        assert_eq!(link.prompts(soon()).await.unwrap()[0].name, "greet");
        let prompt = link.get_prompt("greet", &object(json!({"name": "ann"})), soon()).await.unwrap();
        assert_eq!(prompt.messages[0]["content"]["text"], "greet ann", "{generation}");
        let resources = link.resources(soon()).await.unwrap();
        assert_eq!((resources[0].uri.as_str(), resources[0].size), ("parley://a", Some(1)));
        assert_eq!(link.templates(soon()).await.unwrap()[0].uri_template, "parley://{x}");
        assert_eq!(link.read_resource("parley://a", soon()).await.unwrap()[0]["text"], "a");
        let error = link.read_resource("parley://é b", soon()).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::NotFound, "{generation}");
        server.stop().await;
    }
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    for (generation, host, _, server) in all().await {
        (0..2500).for_each(|_| host.add_tool());
        let tools = server.link().tools(soon()).await.unwrap();
        assert_eq!(tools.len(), 2501, "{generation}");
        assert_eq!(tools[2500].name, "extra_2500");
        server.stop().await;
    }
}

#[tokio::test]
async fn progress_arrives_before_the_answer() {
    for (generation, _, _, server) in all().await {
        let (updates, mut received) = mpsc::channel(8);
        let options = CallOptions::until(soon()).progress(updates);
        let outcome = server.link().call("count", &object(json!({})), options).await.unwrap();
        assert_eq!(outcome.structured, Some(json!({"steps": 3})));
        for step in 1..=3_u8 {
            let update = received.recv().await.unwrap();
            assert_eq!(update.progress, f64::from(step), "{generation}");
            assert_eq!(update.total, Some(3.0));
            assert_eq!(update.message, Some(format!("step {step}")));
        }
        assert!(received.recv().await.is_none());
        server.stop().await;
    }
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_at_the_server() {
    for (generation, _, mut seen, server) in all().await {
        let link = server.link();
        let waiting = tokio::spawn(async move { call(&link, "hang").await });
        assert_eq!(within(seen.recv()).await, Some(Seen::Started), "{generation}");
        waiting.abort();
        assert_eq!(within(seen.recv()).await, Some(Seen::Cancelled), "{generation}");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_call_with_progress_is_cancelled_too() {
    for (generation, _, mut seen, server) in all().await {
        let link = server.link();
        let (updates, _received) = mpsc::channel(1);
        let waiting = tokio::spawn(async move {
            link.call("hang", &object(json!({})), CallOptions::until(soon()).progress(updates)).await
        });
        assert_eq!(within(seen.recv()).await, Some(Seen::Started), "{generation}");
        waiting.abort();
        assert_eq!(within(seen.recv()).await, Some(Seen::Cancelled), "{generation}");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    for (generation, _, mut seen, server) in all().await {
        let link = server.link();
        call(&link, "echo").await.unwrap();
        let deadline = Instant::now() + Duration::from_millis(200);
        let result = link.call("hang", &object(json!({})), CallOptions::until(deadline)).await;
        assert_eq!(result, Err(LinkError::Timeout), "{generation}");
        assert_eq!(within(seen.recv()).await, Some(Seen::Started));
        assert_eq!(within(seen.recv()).await, Some(Seen::Cancelled), "{generation}");
        server.stop().await;
    }
}

#[tokio::test]
async fn closing_a_link_ends_its_calls() {
    for (generation, _, mut seen, server) in all().await {
        let link = server.link();
        let calling = Arc::clone(&link);
        let waiting = tokio::spawn(async move { call(&calling, "hang").await });
        assert_eq!(within(seen.recv()).await, Some(Seen::Started));
        link.close().await;
        assert_eq!(within(waiting).await.unwrap(), Err(LinkError::Cancelled), "{generation}");
        assert_eq!(call(&link, "echo").await, Err(LinkError::Cancelled));
        server.stop().await;
    }
}

#[tokio::test]
async fn changes_of_the_tools_are_announced() {
    for (generation, host, _, server) in all().await {
        let link = server.link();
        let mut changes = link.changes();
        // The first change is the opening of the stream itself: something may have changed before.
        within(changes.changed()).await.unwrap();
        changes.mark_unchanged();
        host.add_tool();
        within(changes.changed()).await.unwrap();
        assert_eq!(link.tools(soon()).await.unwrap().len(), 2, "{generation}");
        server.stop().await;
    }
}

#[tokio::test]
async fn many_first_calls_open_one_session() {
    let (host, _) = Fixture::new();
    let opened = Arc::new(AtomicUsize::new(0));
    let server = Server::start(older(host, Arc::clone(&opened))).await;
    let link = link(&server.url());
    let calls = (0..20).map(|_| {
        let link = Arc::clone(&link);
        tokio::spawn(async move { call(&link, "echo").await })
    });
    for done in futures::future::join_all(calls).await {
        assert!(done.unwrap().is_ok());
    }
    assert_eq!(opened.load(Ordering::SeqCst), 1);
    server.stop().await;
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_read() {
    for (generation, _, _, server) in all().await {
        let options = CallOptions::until(soon()).limit(64 * 1024);
        let result = server.link().call("large", &object(json!({})), options).await;
        assert_eq!(result, Err(LinkError::TooLarge { limit: 64 * 1024 }), "{generation}");
        let options = CallOptions::until(soon()).limit(256 * 1024);
        assert!(server.link().call("large", &object(json!({})), options).await.is_ok());
        server.stop().await;
    }
}

#[tokio::test]
async fn one_listener_serves_many_hosts() {
    let (first, _) = Fixture::new();
    let (second, _) = Fixture::new();
    second.add_tool();
    let hosts: [(&str, Arc<dyn Host>); 2] = [("a", first), ("b", second)];
    let admission: Arc<dyn Admission> = Arc::new(Everyone);
    let server = Server::start(move |shutdown| {
        let lookup = move |id: &str| {
            let (_, host) = hosts.iter().find(|(name, _)| *name == id)?;
            Some(Mount { host: Arc::clone(host), admission: Arc::clone(&admission) })
        };
        mcp_router_many("/w/{id}/mcp", lookup, McpOptions::new(Guard::loopback(), shutdown))
    })
    .await;
    for (id, tools) in [("a", 1), ("b", 2)] {
        let link = link(&format!("http://{}/w/{id}/mcp", server.address));
        assert_eq!(link.tools(soon()).await.unwrap().len(), tools);
    }
    let nobody = link(&format!("http://{}/w/c/mcp", server.address));
    assert_eq!(call(&nobody, "echo").await.unwrap_err().code(), ErrorCode::NotFound);
    server.stop().await;
}

#[tokio::test]
async fn a_server_ends_although_streams_and_calls_are_open() {
    for (_, _, mut seen, server) in all().await {
        let link = server.link();
        let mut changes = link.changes();
        within(changes.changed()).await.unwrap();
        let calling = Arc::clone(&link);
        let waiting = tokio::spawn(async move { call(&calling, "hang").await });
        assert_eq!(within(seen.recv()).await, Some(Seen::Started));
        server.stop().await;
        assert!(within(waiting).await.unwrap().is_err());
    }
}
