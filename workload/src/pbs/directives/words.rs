//! The words for `qsub`: the options of OpenPBS and of Torque, and back.

use super::Directives;
use crate::pbs::Flavour;

const EXCLUSIVE: &str = "place=scatter:excl";
const FREE: &str = "place=free";

impl Directives {
    /// The words for `qsub`.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
        add("-N", self.job_name.clone());
        add("-q", self.queue.clone());
        if let Some(account) = &self.account {
            add("-A", account.clone());
        }
        let mut chunk = match self.flavour {
            Flavour::OpenPbs => format!("select={}:ncpus={}", self.chunks, self.cores),
            Flavour::Torque => format!("nodes={}:ppn={}", self.chunks, self.cores),
        };
        let mut part = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                chunk.push_str(&format!(":{name}{value}"));
            }
        };
        let gpus = (self.gpus > 0).then(|| self.gpus.to_string());
        match self.flavour {
            Flavour::OpenPbs => {
                part("mpiprocs=", self.ranks.map(|ranks| ranks.to_string()));
                part("ngpus=", gpus);
                part("mem=", self.memory_mib.map(|mib| format!("{mib}mb")));
            }
            Flavour::Torque => part("gpus=", gpus),
        }
        for resource in &self.resources {
            part("", Some(resource.clone()));
        }
        add("-l", chunk);
        match self.flavour {
            Flavour::OpenPbs => add("-l", if self.whole_nodes { EXCLUSIVE } else { FREE }.to_owned()),
            Flavour::Torque => {
                if let Some(mib) = self.memory_mib {
                    add("-l", format!("mem={}mb", mib.saturating_mul(self.chunks.into())));
                }
            }
        }
        if let Some(walltime) = self.walltime {
            add("-l", format!("walltime={walltime}"));
        }
        words
    }

    /// Reads the words of [`Self::words`] back; `None` when one of them is something else. Torque's words do
    /// not say whether nodes are whole: that is for the one who reads them to know.
    #[must_use]
    pub fn parse(flavour: Flavour, whole_nodes: bool, words: &[String]) -> Option<Self> {
        let mut read = Self {
            flavour,
            job_name: String::new(),
            chunks: 0,
            cores: 0,
            ranks: None,
            gpus: 0,
            memory_mib: None,
            resources: Vec::new(),
            whole_nodes,
            walltime: None,
            queue: String::new(),
            account: None,
        };
        for pair in words.chunks(2) {
            let [option, value] = pair else { return None };
            match (option.as_str(), value.split_once('=')) {
                ("-N", _) => read.job_name = value.clone(),
                ("-q", _) => read.queue = value.clone(),
                ("-A", _) => read.account = Some(value.clone()),
                ("-l", Some(("select" | "nodes", chunk))) => read.read_chunk(chunk)?,
                ("-l", Some(("place", _))) => read.whole_nodes = value == EXCLUSIVE,
                ("-l", Some(("mem", sum))) => {
                    let sum: u64 = sum.strip_suffix("mb")?.parse().ok()?;
                    read.memory_mib = Some(sum.checked_div(read.chunks.into())?);
                }
                ("-l", Some(("walltime", seconds))) => read.walltime = Some(seconds.parse().ok()?),
                _ => return None,
            }
        }
        Some(read)
    }

    fn read_chunk(&mut self, chunk: &str) -> Option<()> {
        let mut parts = chunk.split(':');
        self.chunks = parts.next()?.parse().ok()?;
        for part in parts {
            match part.split_once('=') {
                Some(("ncpus" | "ppn", cores)) => self.cores = cores.parse().ok()?,
                Some(("mpiprocs", ranks)) => self.ranks = Some(ranks.parse().ok()?),
                Some(("ngpus" | "gpus", gpus)) => self.gpus = gpus.parse().ok()?,
                Some(("mem", memory)) => self.memory_mib = Some(memory.strip_suffix("mb")?.parse().ok()?),
                _ => self.resources.push(part.to_owned()),
            }
        }
        Some(())
    }
}
