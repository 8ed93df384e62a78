//! MPI: "with MPI", "MPI job", "support for low latency MPI".

use crate::meaning::Meaning;
use crate::reading::Reading;

pub fn read(reading: &mut Reading<'_>) {
    for at in 0..reading.len() {
        if !matches!(reading.word(at), "mpi" | "mpi-parallel" | "mpi-based" | "mpi+openmp") {
            continue;
        }
        let mut start = at;
        while start > 0
            && matches!(
                reading.word(start - 1),
                "low" | "latency" | "low-latency" | "an" | "support" | "for" | "fast" | "need" | "parallel"
            )
        {
            start -= 1;
        }
        while start < at && matches!(reading.word(start), "an" | "for" | "need") {
            start += 1;
        }
        let end = reading.skip(
            at + 1,
            &[
                "support",
                "job",
                "jobs",
                "application",
                "program",
                "code",
                "parallel",
                "parallelism",
                "library",
                "implementation",
                "stack",
                "environment",
                "enabled",
                "run",
            ],
        );
        reading.find(start..end, Meaning::Mpi(true));
    }
}
