//! Moab and Maui schedule over Torque: what `qsub` hands over is theirs to start, Torque's own planning is
//! off, and `showstart` says when they would start work of a size. Read after what their documentation and
//! users show of it; it was never run.

use protocol::units::Seconds;

use super::directives::Directives;

/// How a line begins that says when: Moab's estimate from reservations, then Maui's.
const STARTS: [&str; 2] = ["Estimated Rsv based start in", "Earliest start in"];
const PARTS: [f64; 4] = [1.0, 60.0, 3600.0, 86_400.0];

/// The size in the words of `showstart`; none where they cannot say it.
pub(super) fn size(directives: &Directives) -> Option<String> {
    let is_plain = directives.gpus == 0 && directives.memory_mib.is_none() && directives.resources.is_empty();
    let cores = directives.cores.checked_mul(directives.chunks).filter(|_| is_plain)?;
    Some(match directives.walltime {
        Some(walltime) => format!("{cores}@{walltime}"),
        None => cores.to_string(),
    })
}

/// The wait in `Estimated Rsv based start in    3:31:22 on Fri Aug 15 12:40:10`.
pub(super) fn wait(text: &str) -> Option<Seconds> {
    let line = |start: &str| text.lines().find_map(|line| line.trim().strip_prefix(start));
    let line = STARTS.iter().find_map(|start| line(start))?;
    let word = line.split_whitespace().next()?;
    // A time that is just past is now.
    let (word, past) = word.strip_prefix('-').map_or((word, false), |rest| (rest, true));
    let mut seconds = 0.0;
    let mut count = 0;
    for (part, factor) in word.rsplit(':').zip(PARTS) {
        seconds += f64::from(part.parse::<u32>().ok()?) * factor;
        count += 1;
    }
    (count >= 3 && count == word.split(':').count())
        .then(|| Seconds::saturating(if past { 0.0 } else { seconds }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read_as_they_are_shown() {
        let moab = "job 2165961 requires 8 procs for 1:12:00:00\n \nEstimated Rsv based start in                 \
                    3:31:22 on Fri Aug 15 12:40:10\nEstimated Rsv based completion in         1:15:31:22 on Sun Aug 17 00:40:10\n";
        assert_eq!(wait(moab), Some(Seconds::from(12_682)));
        assert_eq!(wait("Earliest start in         1:00:00:01 on Fri Jul 15"), Some(Seconds::from(86_401)));
        assert_eq!(wait("Earliest start in         -00:00:05 on Fri Jul 15"), Some(Seconds::ZERO));
        for unknown in [
            "",
            "Estimated Rsv based start in INFINITY",
            "Earliest start in 5",
            "Earliest start in 1:2:3:4:5",
        ] {
            assert_eq!(wait(unknown), None, "{unknown}");
        }
    }
}
