//! A server that answers with what a real API server said, changed or not, or does not answer at all.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::clock::SystemClock;
use serde_json::{Value, json};
use workload::kubernetes::{Kubernetes, KubernetesOptions, KubernetesReader};

use super::options;
use crate::setting::Setting;

pub const NODES: &str = "GET /api/v1/nodes";
pub const PODS: &str = "GET /api/v1/pods";
pub const OUR_PODS: &str = "GET /api/v1/namespaces/default/pods";
pub const QUOTAS: &str = "GET /api/v1/namespaces/default/resourcequotas";
pub const EVENTS: &str = "GET /api/v1/namespaces/default/events";
pub const JOBS: &str = "GET /apis/batch/v1/namespaces/default/jobs";
pub const MAKE: &str = "POST /apis/batch/v1/namespaces/default/jobs";
pub const VERSION: &str = "GET /version";

pub fn recording(file: &str) -> Vec<u8> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kubernetes-1.20");
    std::fs::read(data.join(file)).unwrap()
}

/// What the server does with a request.
#[derive(Clone)]
pub enum Answer {
    /// Answers.
    Says(u16, Vec<u8>),
    /// Answers once, then as the second says.
    Once(Box<Answer>, Box<Answer>),
    /// Takes the connection and says nothing.
    Silent,
    /// Says that there is more to come, and closes.
    Cut(Vec<u8>),
    /// Answers without an end.
    Endless,
}

pub fn file(name: &str) -> Answer {
    Answer::Says(200, recording(name))
}

pub fn says(code: u16, name: &str) -> Answer {
    Answer::Says(code, recording(name))
}

pub fn document(value: &Value) -> Answer {
    Answer::Says(200, value.to_string().into_bytes())
}

#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Method and path.
    pub what: String,
    pub query: String,
    pub body: String,
}

/// The server, on a port of this machine.
pub struct Server {
    pub answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    pub directory: tempfile::TempDir,
    port: u16,
    ends: Arc<AtomicBool>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _woken = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Server {
    /// With the recordings of the cluster as it was.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers: Arc<Mutex<BTreeMap<String, Answer>>> = Arc::default();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let ends: Arc<AtomicBool> = Arc::default();
        let (known, seen, over) = (Arc::clone(&answers), Arc::clone(&asked), Arc::clone(&ends));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (known, seen) = (Arc::clone(&known), Arc::clone(&seen));
                // A client that has enough goes away in the middle of an answer.
                std::thread::spawn(move || {
                    let _gone = serve(stream.unwrap(), &known, &seen);
                });
            }
        });
        let directory = tempfile::tempdir().unwrap();
        let server = Self { answers, asked, directory, port, ends };
        for (what, name) in [
            (NODES, "nodes.json"),
            (PODS, "pods.json"),
            (OUR_PODS, "pods.json"),
            (QUOTAS, "resourcequotas.json"),
            (EVENTS, "events.json"),
            (JOBS, "jobs.json"),
            (VERSION, "version.json"),
        ] {
            server.answers(what, file(name));
        }
        server
    }

    pub fn answers(&self, what: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(what.to_owned(), answer);
    }

    pub fn asked(&self, what: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.what == what).cloned().collect()
    }

    pub fn kubeconfig(&self) -> PathBuf {
        let path = self.directory.path().join("kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": format!("http://127.0.0.1:{}", self.port)}}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        });
        std::fs::write(&path, text.to_string()).unwrap();
        path
    }

    pub fn options(&self, root: &Path) -> KubernetesOptions {
        KubernetesOptions {
            refresh: Duration::ZERO,
            deadline: Duration::from_millis(2_000),
            ..options(&self.kubeconfig(), root)
        }
    }

    pub fn reader(&self) -> KubernetesReader {
        KubernetesReader::new(self.options(Path::new("/jobs")))
    }

    /// Without the quota, which leaves nothing.
    pub fn without_quota(self) -> Self {
        self.answers(QUOTAS, document(&json!({"items": []})));
        self
    }

    pub fn open(&self, setting: &Setting) -> Kubernetes {
        Kubernetes::open(self.options(setting.root()), setting.state(), Arc::new(SystemClock)).unwrap()
    }
}

fn serve(
    mut stream: TcpStream,
    known: &Mutex<BTreeMap<String, Answer>>,
    seen: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    let (head, length) = loop {
        let read = stream.read(&mut part)?;
        if read == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&part[..read]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let plain = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes.drain(..end + 4);
        break (plain, length.unwrap_or(0_usize));
    };
    while bytes.len() < length {
        let read = stream.read(&mut part)?;
        bytes.extend_from_slice(&part[..read]);
    }
    let line = head.lines().next().unwrap_or_default();
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let what = format!("{method} {path}");
    let body = String::from_utf8_lossy(&bytes).into_owned();
    seen.lock().unwrap().push(Asked { what: what.clone(), query: query.to_owned(), body: body.clone() });
    let answer = {
        let mut known = known.lock().unwrap();
        match known.get(&what).cloned() {
            Some(Answer::Once(first, then)) => {
                known.insert(what.clone(), *then);
                *first
            }
            Some(answer) => answer,
            // What is made is answered with itself.
            None if method == "POST" || method == "PATCH" => Answer::Says(201, body.into_bytes()),
            None => Answer::Says(404, recording("notfound.json")),
        }
    };
    let header = |code: u16, length: usize| {
        format!("HTTP/1.1 {code} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
    };
    match answer {
        Answer::Says(code, body) => {
            stream.write_all(header(code, body.len()).as_bytes())?;
            stream.write_all(&body)
        }
        Answer::Cut(body) => {
            stream.write_all(header(200, body.len() + 100).as_bytes())?;
            stream.write_all(&body)
        }
        Answer::Endless => {
            stream.write_all(header(200, usize::MAX >> 1).as_bytes())?;
            loop {
                stream.write_all(&[b' '; 4096])?;
            }
        }
        // Until the client has given up.
        Answer::Silent | Answer::Once(..) => stream.read(&mut part).map(|_| ()),
    }
}
