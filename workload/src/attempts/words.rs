//! Words and variables of an attempt in a file in the job's directory, for managers that would lose some of
//! them: a newline, a quote, a comma. [`WORDS_SCRIPT`] reads the file on the node and takes it away.

use std::path::PathBuf;

use super::{BATCH_SCRIPT, Record, write};
use crate::error::WorkloadError;
use crate::submit::SubmitRequest;

/// What such a job begins as, with [`path`] and [`Record::notes`] as its words.
pub(crate) const WORDS_SCRIPT: &str = include_str!("words.sh");

/// What `xargs` takes without being told more, less something for what it adds.
const MOST_BYTES: usize = 120_000;

/// The file of an attempt.
pub(crate) fn path(record: &Record) -> PathBuf {
    record.directory.join(format!(".parley-{}.words", record.attempt))
}

/// Writes the file.
pub(crate) fn put(request: &SubmitRequest, record: &Record) -> Result<(), WorkloadError> {
    let mut bytes = Vec::new();
    let mut add = |word: &str| {
        bytes.extend_from_slice(word.as_bytes());
        bytes.push(0);
    };
    for (name, value) in request.variables() {
        add(&format!("{name}={value}"));
    }
    for word in ["sh", "-c", BATCH_SCRIPT, "parley"] {
        add(word);
    }
    add(&record.notes().display().to_string());
    add(&record.own_limit.map_or_else(|| "0".to_owned(), |limit| limit.get().to_string()));
    for word in &request.argv {
        add(word);
    }
    if bytes.len() > MOST_BYTES {
        let reason =
            format!("with the variables it has {} bytes, and {MOST_BYTES} fit; use a file", bytes.len());
        return Err(WorkloadError::Refused { field: "argv", reason });
    }
    write(&path(record), &bytes)
}

/// Takes the file away; that it is gone already is fine.
pub(crate) fn remove(record: &Record) {
    let _gone = std::fs::remove_file(path(record));
}
