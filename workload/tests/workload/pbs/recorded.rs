//! What OpenPBS 23.06.06 printed, and fake commands that print it again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocol::clock::{FixedClock, SystemClock};
use protocol::units::Timestamp;
use serde_json::Value;
use workload::pbs::{Pbs, PbsOptions, PbsReader};
use workload::program::Commands;
use workload::submit::Placement;

use crate::setting::Setting;
use crate::site::fake;

/// What the fakes do: print a file, complain with another, end with the code in a third.
const FAKE: &str = r#"
p() { [ -e "$1.err" ] && cat "$1.err" >&2; [ -e "$1" ] && cat "$1"; [ -e "$1.rc" ] && exit "$(cat "$1.rc")"; exit 0; }
case "${0##*/} $*" in
"qstat --version") p version;;
"qstat -B -f -F json") p server;;
"qstat -B -f") p server.txt;;
"qstat -Q -f -F json") p queues;;
"qstat -Q -f") p queues.txt;;
"pbsnodes -av -F json") p nodes;;
"pbsnodes -av") p nodes.txt;;
"qstat -t -f -F json") p jobs;;
"qstat -t -f") p jobs.txt;;
"qstat -x -f "[0-9]*) echo "$*" >>asked; p known;;
"qstat -f "[0-9]*) p current;;
"qselect -x -N "*) p named;;
"qselect -N "*) p named-current;;
"qsub -j oe -o /dev/null -r n -m n "*) echo "$*" >>submitted; p submit;;
"qdel "[0-9]*) echo "$*" >>cancelled; p cancel;;
*) echo "no recording of: ${0##*/} $*" >&2; exit 9;;
esac"#;

/// When the listings were recorded.
pub const RECORDED_AT: Timestamp = Timestamp::from_millis(1_795_202_756_000);

pub fn recording(file: &str) -> Vec<u8> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/openpbs-23.06");
    std::fs::read(data.join(file)).unwrap()
}

pub fn document(file: &str) -> Value {
    serde_json::from_slice(&recording(file)).unwrap()
}

/// The listing of all jobs with those of the array, as `-t` prints both.
pub fn all_jobs() -> Value {
    let mut all = document("qstat-f.json");
    let array = document("qstat-tf.json");
    let jobs = all["Jobs"].as_object_mut().unwrap();
    jobs.extend(array["Jobs"].as_object().unwrap().clone());
    all
}

/// A listing with these jobs of it alone.
pub fn only(mut listing: Value, keep: impl Fn(&str, &Value) -> bool) -> Value {
    let jobs = listing["Jobs"].as_object_mut().unwrap();
    jobs.retain(|id, job| keep(id, job));
    listing
}

/// The recorded job of that number as `qstat -x -f` prints it, under another id.
pub fn finished_as(number: &str, id: &str) -> String {
    let all = String::from_utf8(recording("qstat-xf.txt")).unwrap();
    let header = format!("Job Id: {number}.node1\n");
    let job = all.split("\n\n").find(|job| job.starts_with(&header)).unwrap();
    job.replacen(&format!("{number}.node1"), id, 1) + "\n\n"
}

pub struct Recorded {
    pub root: tempfile::TempDir,
}

impl Recorded {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let printed = root.path().join("printed");
        std::fs::create_dir(&printed).unwrap();
        for command in ["qstat", "pbsnodes", "qselect", "qsub", "qdel"] {
            fake(root.path(), command, &format!("cd {}\n{FAKE}", printed.display()));
        }
        let recorded = Self { root };
        for (name, file) in [
            ("version", "version-qstat.txt"),
            ("server", "qstat-Bf.json"),
            ("queues", "qstat-Qf.json"),
            ("nodes", "pbsnodes-av.json"),
            ("submit", "qsub-ok.txt"),
        ] {
            recorded.prints(name, recording(file));
        }
        recorded.prints("jobs", all_jobs().to_string());
        recorded.prints("named", "");
        recorded
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("printed").join(name)
    }

    pub fn prints(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.file(name), text).unwrap();
    }

    pub fn fails(&self, name: &str, code: u8, complaint: impl AsRef<[u8]>) {
        self.prints(&format!("{name}.err"), complaint);
        self.prints(&format!("{name}.rc"), code.to_string());
    }

    pub fn works_again(&self, name: &str) {
        for end in ["err", "rc"] {
            std::fs::remove_file(self.file(&format!("{name}.{end}"))).unwrap();
        }
    }

    pub fn lines(&self, name: &str) -> usize {
        std::fs::read_to_string(self.file(name)).map_or(0, |text| text.lines().count())
    }

    pub fn options(&self) -> PbsOptions {
        let mut commands = Commands::of_process(&[]);
        commands.search_path.insert(0, self.root.path().to_owned());
        PbsOptions { commands, defaults: Placement::default(), refresh: Duration::ZERO }
    }

    pub fn reader(&self) -> PbsReader {
        PbsReader::new(self.options(), Arc::new(FixedClock(RECORDED_AT)))
    }

    pub fn open(&self, setting: &Setting) -> Pbs {
        Pbs::open(self.options(), setting.state(), Arc::new(SystemClock)).unwrap()
    }
}
