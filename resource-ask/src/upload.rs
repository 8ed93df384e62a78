//! Data that lies on this machine: uploaded to the hub before the work is placed, because no worker
//! could read the path.

use std::path::{Path, PathBuf};
use std::time::Duration;

use intake::Vocabulary;
use protocol::artifact::Artifact;
use protocol::error::{ErrorBody, Problem};
use protocol::ids::Digest;
use protocol::job::JobSpec;
use protocol::request::Request;
use protocol::units::Timestamp;
use ring::digest::{Context, SHA256};
use tokio::io::AsyncReadExt as _;

use crate::download::patience;
use crate::failure::Failure;
use crate::hub::Hub;
use crate::render::text;

/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;

/// A hub that takes longer to accept a connection counts as gone.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// When the job's data is a file here, uploads it and makes the request say where the hub has it.
/// Returns what was done, for the person who asked.
pub async fn local_data(hub: &Hub, request: &mut Request, now: Timestamp) -> Result<Option<String>, Failure> {
    let Some((mut job, path)) = local_job(request, now) else { return Ok(None) };
    let (digest, size_bytes) = digest_of(&path).await?;
    let stated = job.data().and_then(|data| data.sha256.clone());
    if let Some(stated) = stated.filter(|stated| *stated != digest) {
        return Err(Failure::usage(format!(
            "{} has {digest}, but the request wants {stated}",
            path.display()
        )));
    }
    let name = file_name(&path);
    let artifact = send(hub, &path, &name, size_bytes).await?;
    if artifact.digest != digest {
        return Err(Failure::Answer(format!(
            "{} arrived with {}, was sent with {digest}; did it change meanwhile?",
            path.display(),
            artifact.digest
        )));
    }
    if let Some(data) = job.data_mut() {
        data.uri = format!("parley://artifact/{}", artifact.artifact_id);
        data.sha256 = Some(digest);
    }
    request.job = Some(job);
    let size = text::bytes(size_bytes);
    Ok(Some(format!("uploaded {} ({size}) as {}", path.display(), artifact.artifact_id)))
}

/// The job of a request and the local file that it reads, when there is one.
fn local_job(request: &Request, now: Timestamp) -> Option<(JobSpec, PathBuf)> {
    let job = match &request.job {
        Some(job) => job.clone(),
        None => intake::understand(request, &Vocabulary::shipped(), now).job?,
    };
    let uri = job.data()?.uri.as_str();
    let path = PathBuf::from(uri.strip_prefix("file://").unwrap_or(uri));
    let is_elsewhere = uri.contains("://") && !uri.starts_with("file://");
    (!uri.is_empty() && !is_elsewhere && path.is_file()).then_some((job, path))
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| "data".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn cannot_read(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    let path = path.display().to_string();
    move |source| Failure::File { doing: "cannot read", path: path.clone(), source }
}

async fn digest_of(path: &Path) -> Result<(Digest, u64), Failure> {
    let mut file = tokio::fs::File::open(path).await.map_err(cannot_read(path))?;
    let mut context = Context::new(&SHA256);
    let mut piece = vec![0; PIECE];
    let mut size_bytes = 0_u64;
    loop {
        let read = file.read(&mut piece).await.map_err(cannot_read(path))?;
        if read == 0 {
            return Ok((Digest::from_sha256(context.finish().as_ref()), size_bytes));
        }
        context.update(&piece[..read]);
        size_bytes = size_bytes.saturating_add(read as u64);
    }
}

/// The one request that is neither JSON nor a download: the file as the body of a POST.
async fn send(hub: &Hub, path: &Path, name: &str, size_bytes: u64) -> Result<Artifact, Failure> {
    let patience = patience(size_bytes);
    let url = format!("{}/artifacts/content?name={}&type=data", hub.base(), percent_encoded(name));
    let file = tokio::fs::File::open(path).await.map_err(cannot_read(path))?;
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIME)
        .timeout(patience)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|error| unreachable_hub(hub, &error))?;
    let mut request = client
        .post(url)
        .header("content-type", "application/octet-stream")
        .header("content-length", size_bytes);
    if let Some(token) = hub.token() {
        request = request.bearer_auth(token);
    }
    let response = request.body(file).send().await.map_err(|error| {
        if error.is_timeout() && !error.is_connect() {
            Failure::Late { url: hub.base().to_owned(), seconds: patience.as_secs_f64() }
        } else {
            unreachable_hub(hub, &error)
        }
    })?;
    let status = response.status();
    let body = read_bounded(response).await.map_err(|error| unreachable_hub(hub, &error))?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| Failure::Answer(error.to_string()));
    }
    Err(match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => Failure::Hub(ErrorBody::new(problem.code, problem.detail)),
        Err(_) if matches!(status.as_u16(), 401 | 403) => Failure::Refused { url: hub.base().to_owned() },
        Err(_) => Failure::Answer(format!("HTTP {status} to an upload")),
    })
}

/// The first part of an answer; a record of an artifact is much smaller.
async fn read_bounded(mut response: reqwest::Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while body.len() < PIECE
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unreachable_hub(hub: &Hub, error: &reqwest::Error) -> Failure {
    let reason = if error.is_connect() { "no connection" } else { "the connection closed during the upload" };
    Failure::Unreachable { url: hub.base().to_owned(), reason: reason.to_owned(), maybe_sent: true }
}

/// A text as part of a URL's query.
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use protocol::job::{BacktestSpec, Costs, DataRef, FillRule, Portfolio, Strategy};

    use super::*;

    fn backtest(uri: &str) -> Request {
        let spec = BacktestSpec {
            data: DataRef { uri: uri.to_owned(), ..DataRef::default() },
            strategy: Strategy::default(),
            portfolio: Portfolio::default(),
            costs: Costs::default(),
            fill: FillRule::default(),
            annualisation: None,
        };
        Request { job: Some(JobSpec::Backtest(spec)), ..Request::default() }
    }

    #[test]
    fn only_files_that_are_here_are_local() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("prices.csv");
        std::fs::write(&file, "date,price\n").unwrap();
        let found = |uri: &str| local_job(&backtest(uri), Timestamp::default()).map(|(_, path)| path);
        let shown = file.display().to_string();
        assert_eq!(found(&shown), Some(file.clone()));
        assert_eq!(found(&format!("file://{shown}")), Some(file));
        for elsewhere in ["", "/data/on/the/worker.csv", "parley://artifact/art-1", "s3://bucket/x"] {
            assert_eq!(found(elsewhere), None, "{elsewhere}");
        }
        assert_eq!(found(&directory.path().display().to_string()), None);
        assert_eq!(found("https://example.org/prices.csv"), None);
    }

    #[test]
    fn names_are_encoded_for_the_query() {
        assert_eq!(percent_encoded("a b&c=ü/1.csv"), "a%20b%26c%3D%C3%BC%2F1.csv");
    }

    #[tokio::test]
    async fn digests_are_those_of_the_whole_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("big");
        let bytes = vec![7_u8; PIECE * 2 + 1];
        std::fs::write(&file, &bytes).unwrap();
        assert_eq!(digest_of(&file).await.unwrap(), (Digest::of(&bytes), bytes.len() as u64));
    }
}
