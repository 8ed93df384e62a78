//! From the command line to a typed request.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use protocol::job::{CommandSpec, JobSpec};
use protocol::request::Request;
use protocol::units::Seconds;

use crate::arguments::Asking;
use crate::failure::Failure;

/// More than this is not read from a file or from standard input.
const LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// Seconds until the answer is due, unless something else is said.
pub const DEFAULT_DEADLINE_SECONDS: f64 = 10.0;

/// Reads a file, or standard input for `-`, up to a limit.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    let fail = |source| Failure::Usage(format!("cannot read {}: {source}", path.display()));
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(LIMIT_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).map_err(fail)?.take(LIMIT_BYTES + 1).read_to_string(&mut text)
    };
    if read.map_err(fail)? as u64 > LIMIT_BYTES {
        return Err(Failure::usage(format!("{} is larger than {LIMIT_BYTES} bytes", path.display())));
    }
    Ok(text)
}

/// Reads a prompt, which is given as it is or comes from standard input for `-`.
pub fn read_prompt(prompt: &str) -> Result<String, Failure> {
    if prompt == "-" { read_text(Path::new("-")) } else { Ok(prompt.to_owned()) }
}

/// Puts a request together: the typed request first, then what other flags say.
pub fn build(asking: &Asking, argv: &[String]) -> Result<Request, Failure> {
    let is_stdin = |path: &Path| path == Path::new("-");
    if asking.prompt.as_deref() == Some("-") && asking.request.as_deref().is_some_and(is_stdin) {
        return Err(Failure::usage("standard input can be the prompt or the request, not both"));
    }
    let mut request = match &asking.request {
        Some(path) => serde_json::from_str(&read_text(path)?)
            .map_err(|error| Failure::usage(format!("{} is not a request: {error}", path.display())))?,
        None => Request::default(),
    };
    if let Some(prompt) = &asking.prompt {
        request.prompt = Some(read_prompt(prompt)?);
    }
    if let Some(intent) = asking.intent {
        request.intent = Some(intent.into());
    }
    if !asking.worker.is_empty() {
        request.workers.clone_from(&asking.worker);
    }
    if !asking.select.is_empty() {
        request.strategies.clone_from(&asking.select);
    }
    if let Some(seconds) = asking.deadline {
        request.deadline_seconds = Some(Seconds::saturating(seconds));
    }
    request.deadline_seconds.get_or_insert(Seconds::saturating(DEFAULT_DEADLINE_SECONDS));
    request.verbose |= asking.verbose;
    if !argv.is_empty() {
        request.job = Some(JobSpec::Command(CommandSpec { argv: argv.to_vec(), ..CommandSpec::default() }));
    }
    intake::check(&request).map_err(Failure::Hub)?;
    Ok(request)
}

/// How long to wait for an answer: the time for proposals, and some for what the hub does then.
#[must_use]
pub fn patience(request: &Request, beyond: Duration) -> Duration {
    let seconds = request.deadline_seconds.map_or(DEFAULT_DEADLINE_SECONDS, Seconds::get);
    // A file may say anything; the hub refuses what is out of its bounds.
    Duration::from_secs_f64(seconds.clamp(0.0, 600.0)) + beyond
}

#[cfg(test)]
mod tests {
    use protocol::understanding::Intent;

    use super::*;
    use crate::arguments::IntentArgument;
    use crate::failure::Exit;

    #[test]
    fn flags_win_over_the_typed_request() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("request.json");
        std::fs::write(&path, r#"{"prompt": "old", "intent": "soonest", "deadline_seconds": 3}"#).unwrap();
        let asking = Asking {
            prompt: Some("new".into()),
            request: Some(path),
            intent: Some(IntentArgument::Cheapest),
            ..Asking::default()
        };
        let request = build(&asking, &["echo".into(), "hi".into()]).unwrap();
        assert_eq!(request.prompt.as_deref(), Some("new"));
        assert_eq!(request.intent, Some(Intent::Cheapest));
        assert_eq!(patience(&request, Duration::from_secs(1)), Duration::from_secs(4));
        assert!(matches!(request.job, Some(JobSpec::Command(spec)) if spec.argv == ["echo", "hi"]));
    }

    #[test]
    fn mistakes_are_usage_errors() {
        let nothing = Asking::default();
        assert_eq!(build(&nothing, &[]).unwrap_err().exit(), Exit::Usage);
        let missing = Asking { request: Some("/nonexistent/request.json".into()), ..Asking::default() };
        assert_eq!(build(&missing, &[]).unwrap_err().exit(), Exit::Usage);
        let both = Asking { prompt: Some("-".into()), request: Some("-".into()), ..Asking::default() };
        assert_eq!(build(&both, &[]).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn a_misspelt_field_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("request.json");
        std::fs::write(&path, r#"{"promt": "x"}"#).unwrap();
        let error = build(&Asking { request: Some(path), ..Asking::default() }, &[]).unwrap_err();
        assert!(error.to_string().contains("promt"), "{error}");
    }
}
