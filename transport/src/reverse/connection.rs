//! One open connection: frames in and out, each opened and sealed in its order, until one side ends it.
//!
//! A single task does both directions without ever waiting for one of them alone, so two sides that both
//! have much to say cannot block each other. What waits to be written goes out in one flush.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, error::CapacityError};
use tokio_util::sync::CancellationToken;

use super::handshake::Seals;
use super::{MESSAGE_LIMIT, Pace};
use crate::link::LinkError;

/// A hub has a thousand connections, most of them idle, and their buffers keep the size of the largest frame
/// that went through them. So they are small, and messages go in fragments that fit, header included.
const READ_BUFFER: usize = 4 * 1024;
const WRITE_BUFFER: usize = 4 * 1024;
const FRAGMENT: usize = READ_BUFFER - 14;

/// How long the other side may take to hear that we close.
const COURTESY_TIME: Duration = Duration::from_secs(1);

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// We closed it.
    #[error("it was closed here")]
    Told,
    /// The other side closed it, and may have said why.
    #[error("the other side closed it{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Closed {
        /// The other side's words.
        reason: String,
    },
    /// The socket broke, or what came was no WebSocket frame.
    #[error("it broke: {0}")]
    Broken(String),
    /// Nothing was heard for too long.
    #[error("nothing was heard for too long")]
    Silent,
    /// A message does not open.
    #[error("a message was altered, repeated, lost or moved")]
    Forged,
    /// A message is too large.
    #[error("a message is larger than {MESSAGE_LIMIT} bytes")]
    TooLarge,
    /// A message is not JSON.
    #[error("a message is not JSON")]
    BadJson,
    /// A message is JSON of another shape, or no binary one.
    #[error("a message has an unexpected shape")]
    BadSchema,
}

impl End {
    /// What calls in flight get.
    pub(crate) const fn error(&self) -> LinkError {
        match self {
            Self::Told => LinkError::Cancelled,
            Self::Closed { .. } | Self::Broken(_) | Self::Silent | Self::Forged => LinkError::ClosedEarly,
            Self::TooLarge => LinkError::TooLarge { limit: MESSAGE_LIMIT },
            Self::BadJson => LinkError::BadJson,
            Self::BadSchema => LinkError::BadSchema,
        }
    }

    /// How the other side is told.
    fn close_frame(&self) -> CloseFrame {
        let code = match self {
            Self::Told => CloseCode::Away,
            Self::TooLarge => CloseCode::Size,
            Self::Closed { .. } | Self::Broken(_) | Self::Silent => CloseCode::Normal,
            Self::Forged | Self::BadJson | Self::BadSchema => CloseCode::Policy,
        };
        CloseFrame { code, reason: self.to_string().into() }
    }
}

/// What becomes of messages that come in.
pub(crate) trait Receives: Send {
    /// Takes a message and gives the answer, if there is one at once.
    fn receive(&mut self, message: Vec<u8>) -> Result<Option<Vec<u8>>, End>;
}

/// A WebSocket over a connection that both sides have agreed to use as one.
pub(crate) async fn socket<S: AsyncRead + AsyncWrite + Unpin>(stream: S, role: Role) -> WebSocketStream<S> {
    let limit = Some(MESSAGE_LIMIT + Seals::OVERHEAD);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(limit)
        .max_frame_size(limit);
    WebSocketStream::from_raw_socket(stream, role, Some(config)).await
}

/// One side of a connection.
pub(crate) struct Connection<S> {
    pub(crate) socket: WebSocketStream<S>,
    pub(crate) seals: Seals,
    pub(crate) pace: Pace,
    /// Whether this side pings; the other one answers.
    pub(crate) pings: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Passes messages in both directions until one side ends it, and says goodbye.
    pub(crate) async fn run(
        self,
        outgoing: mpsc::Receiver<Vec<u8>>,
        receiver: impl Receives,
        closing: &CancellationToken,
    ) -> End {
        let Self { socket, seals, pace, pings } = self;
        let mut exchange = Exchange {
            socket,
            seals,
            outgoing,
            receiver,
            answer: None,
            rest: Bytes::new(),
            rest_continues: false,
            ping_is_due: false,
            is_unflushed: false,
            was_heard: false,
        };
        let mut turns = interval_at(Instant::now() + pace.ping, pace.ping);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let told = closing.cancelled();
        tokio::pin!(told);
        let end = loop {
            tokio::select! {
                biased;
                () = &mut told => break End::Told,
                end = std::future::poll_fn(|context| exchange.poll(context)) => break end,
                now = turns.tick() => {
                    if std::mem::take(&mut exchange.was_heard) {
                        heard = now;
                    } else if now.saturating_duration_since(heard) > pace.silence {
                        break End::Silent;
                    }
                    exchange.ping_is_due = pings;
                }
            }
        };
        // A peer that does not read does not have to know.
        let _ = timeout(COURTESY_TIME, exchange.socket.close(Some(end.close_frame()))).await;
        end
    }
}

struct Exchange<S, R> {
    socket: WebSocketStream<S>,
    seals: Seals,
    outgoing: mpsc::Receiver<Vec<u8>>,
    receiver: R,
    /// An answer that waits for room. Nothing more is read meanwhile: who does not take answers may not ask.
    answer: Option<Vec<u8>>,
    /// What is left to send of a sealed message, and whether some of it was sent.
    rest: Bytes,
    rest_continues: bool,
    ping_is_due: bool,
    is_unflushed: bool,
    was_heard: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin, R: Receives> Exchange<S, R> {
    /// Ready when the connection has ended.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        match self.advance(context) {
            Ok(never) => never,
            Err(end) => Poll::Ready(end),
        }
    }

    /// Writes and reads until neither can go on.
    fn advance<T>(&mut self, context: &mut Context<'_>) -> Result<Poll<T>, End> {
        loop {
            let is_writable = self.write(context)?;
            if self.answer.is_none() {
                match Pin::new(&mut self.socket).poll_next(context) {
                    Poll::Ready(Some(message)) => {
                        self.was_heard = true;
                        self.take(message.map_err(|error| end_of(&error))?)?;
                        continue;
                    }
                    Poll::Ready(None) => return Err(End::Closed { reason: String::new() }),
                    Poll::Pending => {}
                }
            }
            if self.is_unflushed
                && is_writable
                && let Poll::Ready(flushed) = Pin::new(&mut self.socket).poll_flush(context)
            {
                flushed.map_err(|error| end_of(&error))?;
                self.is_unflushed = false;
            }
            return Ok(Poll::Pending);
        }
    }

    /// Hands over to the socket whatever waits. False when the socket takes no more.
    fn write(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        loop {
            match Pin::new(&mut self.socket).poll_ready(context) {
                Poll::Pending => return Ok(false),
                Poll::Ready(ready) => ready.map_err(|error| end_of(&error))?,
            }
            let message = if std::mem::take(&mut self.ping_is_due) {
                Message::Ping(Bytes::new())
            } else if !self.rest.is_empty() {
                self.next_fragment()
            } else {
                // What was reported before an answer goes out before it.
                let next = match self.outgoing.poll_recv(context) {
                    Poll::Ready(Some(message)) => Some(message),
                    Poll::Ready(None) | Poll::Pending => self.answer.take(),
                };
                let Some(next) = next else { return Ok(true) };
                self.rest = self.seals.seal(next).map_err(|_| End::Forged)?.into();
                self.rest_continues = false;
                self.next_fragment()
            };
            Pin::new(&mut self.socket).start_send(message).map_err(|error| end_of(&error))?;
            self.is_unflushed = true;
        }
    }

    fn next_fragment(&mut self) -> Message {
        let part = self.rest.split_to(self.rest.len().min(FRAGMENT));
        let kind =
            if std::mem::replace(&mut self.rest_continues, true) { Data::Continue } else { Data::Binary };
        Message::Frame(Frame::message(part, OpCode::Data(kind), self.rest.is_empty()))
    }

    fn take(&mut self, message: Message) -> Result<(), End> {
        match message {
            Message::Binary(sealed) => {
                let message = self.seals.open(sealed.into()).map_err(|_| End::Forged)?;
                self.answer = self.receiver.receive(message)?;
                Ok(())
            }
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(frame) => {
                let reason = frame.map(|frame| frame.reason.as_str().chars().take(200).collect());
                Err(End::Closed { reason: reason.unwrap_or_default() })
            }
            Message::Text(_) | Message::Frame(_) => Err(End::BadSchema),
        }
    }
}

fn end_of(error: &Error) -> End {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => End::Closed { reason: String::new() },
        Error::Capacity(CapacityError::MessageTooLong { .. }) => End::TooLarge,
        other => End::Broken(other.to_string()),
    }
}
