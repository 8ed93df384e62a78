//! The reverse link: whose it is, what a proxy in between can do, and which way a call takes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::error::ErrorCode;
use serde_json::json;
use transport::connect::ways::Ways;
use transport::link::{CallOptions, Link, LinkError};
use transport::reverse::PATH;
use transport::reverse::connection::End;
use transport::reverse::dial::DialError;

use crate::reversing::{Hub, Meddling, Reversed, Side, key, linked};
use crate::support::{Fixture, Seen, Server, call, link, object, open, soon, within};

#[tokio::test]
async fn calls_come_from_the_hub() {
    let (host, _) = Fixture::new();
    let reversed = Reversed::start(host).await;
    let ways: Arc<dyn Link> = reversed.ways.clone();
    assert_eq!(call(&ways, "who").await.unwrap().first_text(), Some("Signed(\"hub\")"));
    reversed.stop().await;
}

#[tokio::test]
async fn a_link_is_opened_by_its_worker_to_its_hub_only() {
    let hub = Hub::start(Ways::new(None)).await;
    let (url, own) = (hub.url(), hub.key.public().to_owned());
    let refused = DialError::Link(LinkError::Unauthorized { status: 401, code: ErrorCode::Auth });
    assert_eq!(hub.dial_as(&url, &key(), &own, "boot").await.err(), Some(refused));
    let other = hub.dial_as(&url, &hub.worker_key, key().public(), "boot").await.err();
    assert!(matches!(other, Some(DialError::NotTheHub(_))), "{other:?}");
    assert!(hub.dial_as(&url, &hub.worker_key, &own, "a boot with spaces & é").await.is_err());
    assert!(hub.dial(&url).await.is_ok());
    let nobody = hub.dial("http://127.0.0.1:1").await.err();
    assert_eq!(nobody, Some(DialError::Link(LinkError::Refused)));
    hub.server.stop().await;
}

#[tokio::test]
async fn a_server_without_links_or_with_a_plain_answer_is_told_apart() {
    let hub = Hub::start(Ways::new(None)).await;
    let plain = Server::start(|_| axum::Router::new()).await;
    let error = hub.dial(&format!("http://{}", plain.address)).await.err();
    assert_eq!(error, Some(DialError::Link(LinkError::Http { status: 404 })));
    plain.stop().await;
    let odd = Server::start(|_| {
        let answer = || async { (http::StatusCode::SWITCHING_PROTOCOLS, [("upgrade", "websocket")]) };
        axum::Router::new().route(PATH, axum::routing::get(answer))
    })
    .await;
    let error = hub.dial(&format!("http://{}", odd.address)).await.err();
    assert!(matches!(error, Some(DialError::NotTheHub(_))), "{error:?}");
    odd.stop().await;
    hub.server.stop().await;
}

#[tokio::test]
async fn who_asks_for_no_websocket_gets_none() {
    let hub = Hub::start(Ways::new(None)).await;
    let signer =
        transport::signed::Signer { key: hub.worker_key.clone(), sender: "w".into(), audience: "hub".into() };
    let target = transport::connect::Target::new(hub.url(), transport::connect::Credentials::Signed(signer));
    let client = crate::support::connector().http(target).unwrap();
    let bounds = transport::http::Bounds::new(soon(), 10_000);
    let error = client.get_json::<serde_json::Value>(&format!("{PATH}?boot=b&key=k"), bounds).await;
    assert_eq!(error.unwrap_err().code(), ErrorCode::Field);
    hub.server.stop().await;
}

#[tokio::test]
async fn a_proxy_that_meddles_ends_the_link_and_nothing_runs_that_was_not_asked() {
    for side in [Side::Hub, Side::Worker] {
        for meddling in
            [Meddling::Alter(side), Meddling::Repeat(side), Meddling::Drop(side), Meddling::Swap(side)]
        {
            let (host, _) = Fixture::new();
            let reversed = Reversed::start_beside(Arc::clone(&host), Ways::new(None), meddling).await;
            let ways: Arc<dyn Link> = reversed.ways.clone();
            let (first, second) = tokio::join!(call(&ways, "echo"), call(&ways, "echo"));
            let failed = [&first, &second].into_iter().filter(|result| result.is_err()).count();
            assert!(failed > 0, "{meddling:?}: {first:?}, {second:?}");
            for error in [first.err(), second.err()].into_iter().flatten() {
                assert!(
                    matches!(error, LinkError::ClosedEarly | LinkError::Refused),
                    "{meddling:?}: {error:?}"
                );
            }
            // Each of the two at most once, and none that the worker could not open.
            let most = if side == Side::Worker { 2 } else { usize::from(meddling == Meddling::Repeat(side)) };
            assert!(host.calls.load(Ordering::SeqCst) <= most, "{meddling:?}");
            let end = within(reversed.serving).await.unwrap();
            match side {
                Side::Hub => assert_eq!(end, End::Forged, "{meddling:?}"),
                Side::Worker => {
                    assert!(matches!(end, End::Closed { .. } | End::Broken(_)), "{meddling:?}: {end}")
                }
            }
            reversed.hub.server.stop().await;
        }
    }
}

#[tokio::test]
async fn what_the_hub_said_cannot_be_said_back_to_it() {
    let (host, _) = Fixture::new();
    let reversed = Reversed::start_beside(host, Ways::new(None), Meddling::Reflect(Side::Worker)).await;
    let ways: Arc<dyn Link> = reversed.ways.clone();
    assert_eq!(call(&ways, "echo").await, Err(LinkError::ClosedEarly));
    reversed.serving.abort();
    reversed.hub.server.stop().await;
}

#[tokio::test]
async fn the_link_is_the_way_while_it_is_open_and_then_the_url() {
    let (at_url, _) = Fixture::new();
    let server = Server::start(open(Arc::clone(&at_url))).await;
    let (linked_host, mut seen) = Fixture::new();
    let ways = Ways::new(Some(link(&server.url())));
    let link: Arc<dyn Link> = ways.clone();
    call(&link, "echo").await.unwrap();
    assert_eq!(at_url.calls.load(Ordering::SeqCst), 1);

    let reversed = Reversed::start_beside(Arc::clone(&linked_host), ways.clone(), Meddling::Nothing).await;
    call(&link, "echo").await.unwrap();
    assert_eq!(linked_host.calls.load(Ordering::SeqCst), 1);
    assert_eq!(at_url.calls.load(Ordering::SeqCst), 1);

    let calling = link.clone();
    let once = tokio::spawn(async move { call(&calling, "hang").await });
    assert_eq!(within(seen.recv()).await, Some(Seen::Started));
    reversed.closing.cancel();
    assert_eq!(within(once).await.unwrap(), Err(LinkError::ClosedEarly));
    assert_eq!(within(seen.recv()).await, Some(Seen::Cancelled));
    assert!(!ways.is_dialled());
    call(&link, "echo").await.unwrap();
    assert_eq!(at_url.calls.load(Ordering::SeqCst), 2);
    reversed.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn only_a_repeatable_call_goes_over_the_other_way() {
    for (repeatable, expected) in [(true, 1), (false, 0)] {
        let (at_url, mut seen_at_url) = Fixture::new();
        let server = Server::start(open(Arc::clone(&at_url))).await;
        let (linked_host, mut seen) = Fixture::new();
        let ways = Ways::new(Some(link(&server.url())));
        let reversed = Reversed::start_beside(linked_host, ways.clone(), Meddling::Nothing).await;
        let waiting = tokio::spawn(async move {
            let mut options = CallOptions::until(soon());
            options.repeatable = repeatable;
            ways.call("hang", &object(json!({})), options).await
        });
        assert_eq!(within(seen.recv()).await, Some(Seen::Started));
        reversed.closing.cancel();
        if repeatable {
            assert_eq!(within(seen_at_url.recv()).await, Some(Seen::Started));
            waiting.abort();
        } else {
            assert_eq!(within(waiting).await.unwrap(), Err(LinkError::ClosedEarly));
        }
        assert_eq!(at_url.calls.load(Ordering::SeqCst), expected);
        reversed.stop().await;
        server.stop().await;
    }
}

#[tokio::test]
async fn a_newer_connection_takes_the_place_of_an_older_one() {
    let (older, mut seen) = Fixture::new();
    let reversed = Reversed::start(older).await;
    let ways: Arc<dyn Link> = reversed.ways.clone();
    let calling = ways.clone();
    let waiting = tokio::spawn(async move { call(&calling, "hang").await });
    assert_eq!(within(seen.recv()).await, Some(Seen::Started));

    let (newer, _) = Fixture::new();
    let host = Arc::clone(&newer);
    let second = reversed.hub.dial(&reversed.hub.url()).await.unwrap();
    let closing = reversed.closing.clone();
    let serving = tokio::spawn(async move { second.serve(host, &closing).await });
    assert_eq!(within(waiting).await.unwrap(), Err(LinkError::ClosedEarly));
    linked(&reversed.ways).await;
    call(&ways, "echo").await.unwrap();
    assert_eq!(newer.calls.load(Ordering::SeqCst), 1);
    reversed.stop().await;
    within(serving).await.unwrap();
}

#[tokio::test]
async fn without_a_link_and_a_url_there_is_no_connection() {
    let ways: Arc<dyn Link> = Ways::new(None);
    assert_eq!(call(&ways, "echo").await, Err(LinkError::Refused));
    assert_eq!(ways.tools(soon()).await, Err(LinkError::Refused));
    ways.close().await;
    assert_eq!(call(&ways, "echo").await, Err(LinkError::Cancelled));
}

#[tokio::test]
async fn a_link_that_comes_after_the_end_is_turned_away() {
    let ways = Ways::new(None);
    let hub = Hub::start(ways.clone()).await;
    ways.close().await;
    let (host, _) = Fixture::new();
    let dialled = hub.dial(&hub.url()).await.unwrap();
    let end = within(dialled.serve(host, &tokio_util::sync::CancellationToken::new())).await;
    assert!(matches!(end, End::Closed { .. }), "{end}");
    hub.server.stop().await;
}
