//! What is on record of a job that has ended, from `qacct -j`. It reads the site's whole accounting file, so it
//! may be slow, and a record may come seconds after the end of its job.
//!
//! Memory is `maxvmem`: the most that all processes of the job had together, as far as sampling saw, in the
//! figure that `h_vmem` limits. A job that ended before it was looked at has none.

use protocol::units::{GiB, Timestamp};

use super::fields;

/// The job was ended by a signal.
const BY_SIGNAL: u32 = 100;

/// What `qacct` has of a job.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Accounted {
    pub(super) id: u64,
    pub(super) name: String,
    /// What went wrong besides the job itself: number and words.
    pub(super) failed: Option<(u32, String)>,
    pub(super) exit_status: Option<i32>,
    pub(super) submitted_at: Option<Timestamp>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) peak_memory: Option<GiB>,
}

impl Accounted {
    /// Whether its own end is all that happened.
    pub(super) fn ended_by_itself(&self) -> bool {
        self.failed.as_ref().is_none_or(|(number, _)| *number == BY_SIGNAL)
    }
}

/// Reads the records. A number is used again after ten million jobs, and a job that was started again has
/// several, so the last of a name counts.
pub(super) fn parse(text: &str, name: &str) -> Option<Accounted> {
    let mut found = None;
    let mut current: Option<Accounted> = None;
    for line in text.lines().chain(std::iter::once("====")) {
        if line.starts_with("====") {
            if let Some(record) = current.take().filter(|record| record.name == name && record.id > 0) {
                found = Some(record);
            }
            current = Some(Accounted::default());
            continue;
        }
        let Some(record) = &mut current else { continue };
        let (field, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let value = value.trim();
        match field {
            "jobname" => record.name = value.to_owned(),
            "jobnumber" => record.id = value.parse().unwrap_or(0),
            "qsub_time" => record.submitted_at = fields::time(value),
            "start_time" => record.started_at = fields::time(value),
            "end_time" => record.ended_at = fields::time(value),
            "failed" => record.failed = failure(value),
            // `137                  (Killed)`
            "exit_status" => {
                record.exit_status = value.split_whitespace().next().and_then(|code| code.parse().ok());
            }
            "maxvmem" => record.peak_memory = fields::size(value).filter(|size| *size > GiB::ZERO),
            _ => {}
        }
    }
    found
}

/// `0`, or `37  : qmaster enforced h_rt, h_cpu, or h_vmem limit`.
fn failure(text: &str) -> Option<(u32, String)> {
    let (number, words) = text.split_once(':').unwrap_or((text, ""));
    let number = number.trim().parse().ok().filter(|number| *number > 0)?;
    Some((number, words.trim().chars().take(200).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_of_a_name_counts() {
        let record = |name: &str, code: i32| {
            format!(
                "====\njobname      {name}\njobnumber    7\nfailed       100 : assumedly after job\n\
                 exit_status  {code}                  (Killed)\nstart_time   -/-\nmaxvmem      308.094MB\n"
            )
        };
        let text = [record("a.1", 3), record("a.1", 137), record("b.1", 4)].concat();
        let accounted = parse(&text, "a.1").unwrap();
        assert_eq!((accounted.id, accounted.exit_status), (7, Some(137)));
        assert_eq!(accounted.failed, Some((100, "assumedly after job".to_owned())));
        assert!(accounted.ended_by_itself());
        assert_eq!(accounted.started_at, None);
        assert!((0.30..0.31).contains(&accounted.peak_memory.unwrap().get()));
        assert_eq!(parse(&text, "c.1"), None);
        assert_eq!(parse("jobname x", "x"), None);
    }
}
