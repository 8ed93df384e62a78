//! The hub as the commands see it: tools with typed answers, and bytes over plain HTTP.

use std::sync::Arc;
use std::time::Duration;

use protocol::clock::Clock;
use protocol::error::ErrorBody;
use protocol::negotiation::Notice;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use transport::connect::{BadUrl, Connector, Credentials, Target};
use transport::host::{Object, ToolOutcome};
use transport::http::HttpClient;
use transport::link::{CallOptions, Link};
use transport::progress::ProgressUpdate;

use crate::failure::Failure;
use crate::render::text;

/// How long an answer may take that needs no negotiation.
const PATIENCE: Duration = Duration::from_secs(30);

/// Proposals of a thousand workers with their traces fit into this.
const LIMIT_BYTES: usize = 256 * 1024 * 1024;

/// Notices that wait to be shown; more are dropped, for nothing depends on them.
const NOTICES: usize = 4096;

/// An answer as it came and as a type. The JSON that a command prints is the former, so that fields of
/// a newer hub pass through.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// As it came.
    pub raw: Value,
    /// As a type.
    pub value: T,
}

impl<T: DeserializeOwned> Answer<T> {
    /// Reads an answer as a type.
    pub fn read(raw: Value) -> Result<Self, Failure> {
        let value = T::deserialize(&raw).map_err(|error| {
            Failure::Answer(format!(
                "{}; hub and client may not be of one version",
                text::excerpt(&error.to_string(), 300)
            ))
        })?;
        Ok(Self { raw, value })
    }
}

/// A list as the hub's list tools answer it.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Items<T> {
    /// The entries.
    pub items: Vec<T>,
}

/// A hub and how it is reached.
pub struct Hub {
    link: Arc<dyn Link>,
    http: HttpClient,
    url: String,
    base: String,
    token: Option<String>,
}

/// The MCP address and the base of the plain HTTP routes; `http://host:port` alone means its `/mcp`.
pub fn addresses(url: &str) -> Result<(String, String), Failure> {
    let trimmed = url.trim().trim_end_matches('/');
    let (scheme, rest) = trimmed.split_once("://").unwrap_or(("", ""));
    if !matches!(scheme, "http" | "https") || rest.is_empty() || rest.starts_with('/') {
        return Err(Failure::usage(format!(
            "--url is {:?}, must be like http://localhost:8000/mcp",
            text::excerpt(url, 200)
        )));
    }
    if rest.contains(['?', '#']) || rest.split('/').next().is_some_and(|authority| authority.contains('@')) {
        return Err(Failure::usage(
            "--url has a query, a fragment or a password in it; give a token with --token instead",
        ));
    }
    let base = trimmed.strip_suffix("/mcp").unwrap_or(trimmed);
    let mcp = if rest.contains('/') { trimmed.to_owned() } else { format!("{trimmed}/mcp") };
    Ok((mcp, base.to_owned()))
}

impl Hub {
    /// The hub at an address. Nothing is sent before the first call.
    pub fn at(url: &str, token: Option<String>, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        let (mcp, base) = addresses(url)?;
        let token = token.filter(|token| !token.is_empty());
        let credentials = token.clone().map_or(Credentials::Anonymous, Credentials::Bearer);
        let connector = Connector::new("resource-ask", env!("CARGO_PKG_VERSION"), clock)
            .map_err(|error| Failure::Start(error.to_string()))?;
        let bad = |error: BadUrl| Failure::usage(format!("--url: {error}"));
        let link = connector.connect(Target::new(mcp.clone(), credentials.clone())).map_err(bad)?;
        let http = connector.http(Target::new(base.clone(), credentials)).map_err(bad)?;
        Ok(Self { link, http, url: mcp, base, token })
    }

    /// Calls a tool that answers soon, and may be called again when the connection breaks.
    pub async fn get<T: DeserializeOwned>(&self, tool: &str, arguments: Value) -> Result<Answer<T>, Failure> {
        let options = CallOptions::until(Instant::now() + PATIENCE).limit(LIMIT_BYTES).repeatable();
        Answer::read(self.call(tool, &arguments, options, PATIENCE).await?)
    }

    /// Calls a tool that changes something and must not be sent twice.
    pub async fn act<T: DeserializeOwned>(&self, tool: &str, arguments: Value) -> Result<Answer<T>, Failure> {
        let options = CallOptions::until(Instant::now() + PATIENCE).limit(LIMIT_BYTES);
        Answer::read(self.call(tool, &arguments, options, PATIENCE).await?)
    }

    /// Calls a tool that negotiates, and passes on what happens meanwhile.
    pub async fn negotiate<T: DeserializeOwned>(
        &self,
        tool: &str,
        arguments: Value,
        patience: Duration,
        on_notice: &mut (dyn FnMut(&Notice) + Send),
    ) -> Result<Answer<T>, Failure> {
        let (updates, mut received) = mpsc::channel::<ProgressUpdate>(NOTICES);
        let mut options = CallOptions::until(Instant::now() + patience).limit(LIMIT_BYTES).progress(updates);
        // With a key the hub knows a request that it has seen.
        options.repeatable = arguments.get("idempotency_key").is_some();
        let call = self.call(tool, &arguments, options, patience);
        tokio::pin!(call);
        let raw = loop {
            tokio::select! {
                biased;
                Some(update) = received.recv() => pass_on(&update, on_notice),
                answer = &mut call => break answer?,
            }
        };
        while let Ok(update) = received.try_recv() {
            pass_on(&update, on_notice);
        }
        Answer::read(raw)
    }

    async fn call(
        &self,
        tool: &str,
        arguments: &Value,
        options: CallOptions,
        patience: Duration,
    ) -> Result<Value, Failure> {
        let empty = Object::new();
        let arguments = arguments.as_object().unwrap_or(&empty);
        let outcome = self
            .link
            .call(tool, arguments, options)
            .await
            .map_err(|error| Failure::of_link(&error, &self.url, patience.as_secs_f64()))?;
        result_of(outcome)
    }

    /// The base of the plain HTTP routes.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The plain HTTP routes.
    #[must_use]
    pub const fn http(&self) -> &HttpClient {
        &self.http
    }

    /// The token, when there is one.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }
}

fn pass_on(update: &ProgressUpdate, on_notice: &mut (dyn FnMut(&Notice) + Send)) {
    let notice = update.message.as_deref().and_then(|message| serde_json::from_str::<Notice>(message).ok());
    if let Some(notice) = notice {
        on_notice(&notice);
    }
}

/// The structured result of a tool, or its error.
fn result_of(outcome: ToolOutcome) -> Result<Value, Failure> {
    if outcome.is_error {
        let body = outcome.structured.as_ref().and_then(|structured| {
            let inner = structured.get("error").unwrap_or(structured);
            serde_json::from_value::<ErrorBody>(inner.clone()).ok()
        });
        return Err(match (body, outcome.first_text()) {
            (Some(body), _) => Failure::Hub(body),
            (None, Some(said)) => Failure::Answer(text::excerpt(said, 600)),
            (None, None) => Failure::Answer("an error without a reason".to_owned()),
        });
    }
    if let Some(structured) = outcome.structured {
        return Ok(structured);
    }
    // A predecessor's hub answers with text only.
    outcome
        .first_text()
        .and_then(|text| serde_json::from_str(text).ok())
        .ok_or_else(|| Failure::Answer("it is not structured".to_owned()))
}

/// The arguments of a tool that takes none.
#[must_use]
pub fn nothing() -> Value {
    json!({})
}

#[cfg(test)]
mod tests {
    use protocol::error::ErrorCode;

    use super::*;
    use crate::failure::Exit;

    #[test]
    fn an_address_means_its_mcp_path() {
        let parts = |url: &str| addresses(url).map_err(|failure| failure.exit());
        let both = |mcp: &str, base: &str| Ok((mcp.to_owned(), base.to_owned()));
        assert_eq!(
            parts("http://localhost:8000/mcp"),
            both("http://localhost:8000/mcp", "http://localhost:8000")
        );
        assert_eq!(parts("http://h:1/"), both("http://h:1/mcp", "http://h:1"));
        assert_eq!(parts("https://h/parley/mcp/"), both("https://h/parley/mcp", "https://h/parley"));
        for bad in
            ["", "localhost:8000", "ftp://h/mcp", "http://", "http:///mcp", "http://a:b@h/mcp", "http://h/?x"]
        {
            assert_eq!(parts(bad), Err(Exit::Usage), "{bad}");
        }
    }

    #[test]
    fn errors_of_tools_keep_their_code() {
        let body = ErrorBody::new(ErrorCode::NoWorker, "nothing fits");
        let wrapped = result_of(ToolOutcome::failed(&body)).unwrap_err();
        assert_eq!(wrapped.exit(), Exit::NothingFits);
        let bare = ToolOutcome {
            structured: Some(json!({"code": "SCOPE", "message": "no"})),
            is_error: true,
            ..ToolOutcome::default()
        };
        assert_eq!(result_of(bare).unwrap_err().exit(), Exit::Refused);
        let text = ToolOutcome { is_error: true, ..ToolOutcome::text("boom\u{1b}[2J") };
        assert_eq!(
            result_of(text).unwrap_err().to_string(),
            "the hub's answer cannot be used: boom\\u{1b}[2J"
        );
    }

    #[test]
    fn text_that_is_json_is_an_answer_too() {
        assert_eq!(result_of(ToolOutcome::text("{\"a\": 1}")).unwrap(), json!({"a": 1}));
        assert_eq!(result_of(ToolOutcome::text("hello")).unwrap_err().exit(), Exit::Internal);
    }
}
