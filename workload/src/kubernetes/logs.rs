//! What a pod prints, appended to the log in the job's directory as it comes.
//!
//! The API has no place in a log but its time, to the second. Each line comes with its time to the
//! nanosecond, so what was written before is known exactly. How far the log was written is kept beside it on
//! disk, with its length: what a crash left half written is written again.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff;
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

use crate::attempts;
use crate::error::WorkloadError;

/// The longest line that is kept whole; the kubelet writes longer ones in several parts too.
const LINE_LIMIT: usize = 1024 * 1024;

/// How far a log was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The time of the last line.
    until: Option<jiff::Timestamp>,
    /// How many lines had that time.
    lines_then: u64,
    /// Bytes in the log.
    written: u64,
    /// Bytes that came and were dropped because the log is bounded.
    pub(super) dropped: u64,
}

/// The log of one attempt.
#[derive(Debug)]
pub(super) struct Log {
    position: Position,
    kept_at: PathBuf,
    file: File,
    limit: u64,
    /// The beginning of a line that has not come to its end.
    begun: Vec<u8>,
    /// Lines of the time `until` that came again.
    again: u64,
    /// The last line was written before, so the rest of it was, too.
    skips: bool,
    /// Where it was left.
    before: Position,
}

impl Log {
    /// Opens a log where it was left. The directory belongs to whoever wrote the job: a link in the log's
    /// place is not followed.
    pub(super) fn open(path: &Path, kept_at: PathBuf, limit: u64) -> Result<Self, WorkloadError> {
        let failed = || WorkloadError::io("cannot write", path);
        let position: Position = match std::fs::read(&kept_at) {
            // What was cut off by a crash is of a log that is written from its beginning again.
            Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
            Err(_) => Position::default(),
        };
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(path)
            .map_err(failed())?;
        file.set_len(position.written).map_err(failed())?;
        file.seek(SeekFrom::End(0)).map_err(failed())?;
        let before = position.clone();
        Ok(Self { position, kept_at, file, limit, begun: Vec::new(), again: 0, skips: false, before })
    }

    /// The time from which on the log is asked for: the second of the last line.
    pub(super) fn since(&self) -> Option<jiff::Timestamp> {
        jiff::Timestamp::from_second(self.position.until?.as_second()).ok()
    }

    /// Whether no more of it is kept.
    pub(super) fn is_full(&self) -> bool {
        self.position.dropped > 0
    }

    /// Takes a part of the answer; `false` when no more of it is wanted.
    pub(super) fn take(&mut self, part: &[u8]) -> std::io::Result<bool> {
        let mut rest = part;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, behind) = rest.split_at(end + 1);
            rest = behind;
            if self.begun.is_empty() {
                self.line(line)?;
            } else {
                self.begun.extend_from_slice(line);
                let line = std::mem::take(&mut self.begun);
                self.line(&line)?;
            }
        }
        self.begun.extend_from_slice(rest);
        if self.begun.len() > LINE_LIMIT {
            let line = std::mem::take(&mut self.begun);
            self.line(&line)?;
        }
        Ok(!self.is_full())
    }

    /// One line, its time before it.
    fn line(&mut self, line: &[u8]) -> std::io::Result<()> {
        let space = line.iter().position(|byte| *byte == b' ');
        let timed = space.and_then(|space| {
            let time = std::str::from_utf8(&line[..space]).ok()?.parse::<jiff::Timestamp>().ok()?;
            Some((time, &line[space + 1..]))
        });
        // The rest of a line that was too long comes without a time.
        let Some((time, text)) = timed else {
            return if self.skips { Ok(()) } else { self.write(line) };
        };
        self.skips = match self.position.until {
            Some(until) if time < until => true,
            Some(until) if time == until => {
                self.again += 1;
                self.again <= self.position.lines_then
            }
            _ => {
                (self.position.until, self.position.lines_then) = (Some(time), 0);
                self.again = 1;
                false
            }
        };
        if self.skips {
            return Ok(());
        }
        self.position.lines_then += 1;
        self.write(text)
    }

    fn write(&mut self, text: &[u8]) -> std::io::Result<()> {
        let room = usize::try_from(self.limit.saturating_sub(self.position.written)).unwrap_or(usize::MAX);
        let kept = &text[..text.len().min(room)];
        self.file.write_all(kept)?;
        self.position.written += kept.len() as u64;
        self.position.dropped += (text.len() - kept.len()) as u64;
        Ok(())
    }

    /// Notes how far it was written. A line without an end stays out until its end comes, or, when the pod
    /// prints no more, is written as it is.
    pub(super) fn close(mut self, is_over: bool) -> Result<Position, WorkloadError> {
        let path = self.kept_at.clone();
        let line = std::mem::take(&mut self.begun);
        let last = if is_over && !line.is_empty() { self.line(&line) } else { Ok(()) };
        last.map_err(WorkloadError::io("cannot write the log of", &path))?;
        if self.position != self.before {
            attempts::write(&path, &serde_json::to_vec(&self.position).unwrap_or_default())?;
        }
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "2026-11-20T18:16:00.1Z one\n2026-11-20T18:16:00.2Z two\n2026-11-20T18:16:00.2Z two\n\
                         2026-11-20T18:16:01.000000007+00:00 three\n";

    struct Kept {
        directory: tempfile::TempDir,
    }

    impl Kept {
        fn open(&self, limit: u64) -> Log {
            let at = self.directory.path();
            Log::open(&at.join("log"), at.join("position"), limit).unwrap()
        }

        fn text(&self) -> String {
            std::fs::read_to_string(self.directory.path().join("log")).unwrap()
        }
    }

    fn kept() -> Kept {
        Kept { directory: tempfile::tempdir().unwrap() }
    }

    #[test]
    fn wherever_an_answer_is_cut_every_line_is_written_once() {
        for cut in 0..=LINES.len() {
            let kept = kept();
            let mut log = kept.open(1000);
            assert!(log.take(&LINES.as_bytes()[..cut]).unwrap());
            log.close(false).unwrap();
            // The next answer begins at the second of the last line.
            let mut log = kept.open(1000);
            let from = if log.since().is_some_and(|since| since.as_second() % 60 == 1) {
                LINES.rfind("2026").unwrap()
            } else {
                0
            };
            for byte in &LINES.as_bytes()[from..] {
                log.take(&[*byte]).unwrap();
            }
            log.close(true).unwrap();
            assert_eq!(kept.text(), "one\ntwo\ntwo\nthree\n", "cut at {cut}");
        }
    }

    #[test]
    fn a_line_without_an_end_waits_for_it() {
        let kept = kept();
        let mut log = kept.open(1000);
        log.take(b"2026-11-20T18:16:00Z half").unwrap();
        log.close(false).unwrap();
        assert_eq!(kept.text(), "");
        let mut log = kept.open(1000);
        log.take(b"2026-11-20T18:16:00Z half a line").unwrap();
        log.close(true).unwrap();
        assert_eq!(kept.text(), "half a line");
    }

    #[test]
    fn what_a_crash_left_is_written_again() {
        let kept = kept();
        let mut log = kept.open(1000);
        log.take(b"2026-11-20T18:16:00Z one\n").unwrap();
        // It ends before it notes how far it came.
        drop(log);
        let mut log = kept.open(1000);
        log.take(b"2026-11-20T18:16:00Z one\n").unwrap();
        log.close(true).unwrap();
        assert_eq!(kept.text(), "one\n");
    }

    #[test]
    fn a_log_is_bounded_and_says_so() {
        let kept = kept();
        let mut log = kept.open(5);
        assert!(!log.take(LINES.as_bytes()).unwrap());
        let position = log.close(true).unwrap();
        assert_eq!((kept.text().as_str(), position.dropped), ("one\nt", 13));
        assert!(kept.open(5).is_full());
    }

    #[test]
    fn a_link_in_the_logs_place_is_not_followed() {
        let kept = kept();
        let at = kept.directory.path();
        std::fs::write(at.join("other"), "precious").unwrap();
        std::os::unix::fs::symlink(at.join("other"), at.join("log")).unwrap();
        assert!(Log::open(&at.join("log"), at.join("position"), 10).is_err());
        assert_eq!(std::fs::read_to_string(at.join("other")).unwrap(), "precious");
    }
}
