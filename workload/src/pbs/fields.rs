//! The forms in which PBS writes its values: sizes, durations, times, lists of hosts and resources. What
//! does not have the form is `None`; nothing here fails or guesses.

use protocol::units::{GiB, Seconds, Timestamp};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// More places than the largest machines have cores; a longer list is not understood.
const MOST_PLACES: usize = 10_000_000;

/// A time as commands print it with `TZ=UTC0`: `Fri Nov 20 19:24:24 2026`, or seconds since the epoch.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<i64>() {
        return (seconds > 0).then(|| Timestamp::from_millis(seconds.saturating_mul(1000)));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, month, day, clock, year] = words.as_slice() else { return None };
    let month = MONTHS.iter().position(|known| known == month)? + 1;
    let (day, year) = (day.parse::<u8>().ok()?, year.parse::<u16>().ok()?);
    format!("{year:04}-{month:02}-{day:02}T{clock}Z").parse().ok()
}

/// A duration: `HH:MM:SS`, `MM:SS` or seconds.
pub(super) fn duration(text: &str) -> Option<Seconds> {
    let parts = text.split(':').map(|part| part.parse::<u32>().ok()).collect::<Option<Vec<u32>>>()?;
    let seconds = match parts.as_slice() {
        [seconds] => f64::from(*seconds),
        [minutes, seconds] => f64::from(*minutes) * 60.0 + f64::from(*seconds),
        [hours, minutes, seconds] => {
            f64::from(*hours) * 3600.0 + f64::from(*minutes) * 60.0 + f64::from(*seconds)
        }
        _ => return None,
    };
    Some(Seconds::saturating(seconds))
}

/// A size in KiB, rounded up: `16gb`, `1048576kb`, `0b`; `w` in place of `b` is a word of 8 bytes.
pub(super) fn kib(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let value: u128 = digits.parse().ok()?;
    let unit = &text[digits.len()..];
    let (unit, bytes) = match unit.strip_suffix('w') {
        Some(unit) => (unit, 8),
        None => (unit.strip_suffix('b').unwrap_or(unit), 1),
    };
    let factor = match unit {
        "" => 1_u128,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        "p" => 1 << 50,
        _ => return None,
    };
    u64::try_from(value.checked_mul(factor)?.checked_mul(bytes)?.div_ceil(1024)).ok()
}

/// KiB as GiB.
pub(super) fn gib(kib: u64) -> GiB {
    #[expect(clippy::cast_precision_loss, reason = "a size in KiB is far below 2^53")]
    GiB::saturating(kib as f64 / 1_048_576.0)
}

/// A part of a vnode that a job has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// The vnode, or the node where there are no vnodes.
    pub(super) vnode: String,
    pub(super) cores: u32,
    pub(super) gpus: u32,
    pub(super) memory_kib: u64,
}

/// `(node1[2]:ncpus=6:mem=4194304kb)+(node2:ncpus=2:ngpus=1)`.
pub(super) fn exec_vnode(text: &str) -> Option<Vec<Part>> {
    let parts = text.split('+').map(|part| {
        let mut words = part.trim_matches(['(', ')']).split(':');
        let mut read = Part { vnode: words.next()?.to_owned(), ..Part::default() };
        for word in words {
            let (name, value) = word.split_once('=')?;
            match name {
                "ncpus" => read.cores = value.parse().ok()?,
                "ngpus" => read.gpus = value.parse().ok()?,
                "mem" => read.memory_kib = kib(value)?,
                _ => {}
            }
        }
        (!read.vnode.is_empty()).then_some(read)
    });
    parts.collect()
}

/// How many ids `0-3,7` names.
pub(super) fn count(ids: &str) -> Option<u32> {
    ids.split(',').try_fold(0_u32, |sum, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<u32>().ok()?, last.trim().parse::<u32>().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

/// Torque's `node1/0-3+node2/0,2`, a core for each number.
pub(super) fn exec_host(text: &str) -> Option<Vec<Part>> {
    let parts = text.split('+').map(|part| {
        let (vnode, ids) = part.split_once('/')?;
        (!vnode.is_empty()).then_some(())?;
        Some(Part { vnode: vnode.to_owned(), cores: count(ids)?, ..Part::default() })
    });
    let parts: Vec<Part> = parts.collect::<Option<_>>()?;
    (parts.len() <= MOST_PLACES).then_some(parts)
}

/// Cores and GPUs that Torque's `2:ppn=8:gpus=1+bigmem:ppn=4` asks for.
pub(super) fn node_request(text: &str) -> Option<(u32, u32)> {
    text.split('+').try_fold((0_u32, 0_u32), |(cores, gpus), part| {
        let mut words = part.split(':');
        // A name of a node or of a property is one node.
        let nodes = words.next()?.parse::<u32>().unwrap_or(1);
        let (mut cores_each, mut gpus_each) = (1_u32, 0_u32);
        for word in words {
            match word.split_once('=') {
                Some(("ppn", count)) => cores_each = count.parse().ok()?,
                Some(("gpus", count)) => gpus_each = count.parse().ok()?,
                _ => {}
            }
        }
        let sum = |sum: u32, each: u32| sum.checked_add(nodes.checked_mul(each)?);
        Some((sum(cores, cores_each)?, sum(gpus, gpus_each)?))
    })
}

/// What `state_count` (`Queued:6 Held:3 Running:7`) says of one state.
pub(super) fn state_count(text: &str, state: &str) -> Option<u32> {
    text.split_whitespace().find_map(|word| word.strip_prefix(state)?.strip_prefix(':')?.parse().ok())
}

/// A model's short name: `NVIDIA-H100` is `h100`.
pub(super) fn gpu_model(kind: &str) -> String {
    let kind = kind.to_ascii_lowercase();
    let kind =
        kind.strip_prefix("nvidia").map_or(kind.as_str(), |rest| rest.trim_start_matches(['-', '_', ' ']));
    kind.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_those_that_pbs_prints() {
        assert_eq!(time("Fri Nov 20 19:24:24 2026").unwrap().to_string(), "2026-11-20T19:24:24.000Z");
        assert_eq!(time("Sun Nov  1 00:00:00 2026").unwrap().to_string(), "2026-11-01T00:00:00.000Z");
        assert_eq!(time("1795202625").unwrap().as_millis(), 1_795_202_625_000);
        for bad in ["", "0", "--", "Fri Nov 31 19:24:24 2026", "Fri Foo 20 19:24:24 2026", "19:24"] {
            assert_eq!(time(bad), None, "{bad}");
        }
        let of = |text| duration(text).map(Seconds::get);
        assert_eq!((of("100:00:10"), of("02:03"), of("75")), (Some(360_010.0), Some(123.0), Some(75.0)));
        assert_eq!((of(""), of("1:2:3:4"), of("-1"), of("abc")), (None, None, None, None));
        for (text, size) in
            [("16gb", 16 << 20), ("1048576KB", 1 << 20), ("0b", 0), ("1", 1), ("1mw", 8192), ("2tb", 2 << 30)]
        {
            assert_eq!(kib(text), Some(size), "{text}");
        }
        for bad in ["", "gb", "1.5gb", "-1kb", "1xb", "340282366920938463463374607431768211455pb"] {
            assert_eq!(kib(bad), None, "{bad}");
        }
        assert_eq!((gpu_model("NVIDIA-H100"), gpu_model("v100")), ("h100".to_owned(), "v100".to_owned()));
        let counts = "Transit:0 Queued:7 Held:3 Waiting:1 Running:8 Exiting:0 Begun:1 ";
        assert_eq!((state_count(counts, "Queued"), state_count(counts, "Complete")), (Some(7), None));
    }

    #[test]
    fn places_are_read_with_what_is_taken_of_them() {
        let parts = exec_vnode("(node1[2]:ncpus=6:mem=4194304kb)+(node2:ncpus=2:ngpus=1)").unwrap();
        assert_eq!(
            (parts[0].vnode.as_str(), parts[0].cores, parts[0].memory_kib),
            ("node1[2]", 6, 4_194_304)
        );
        assert_eq!((parts[1].vnode.as_str(), parts[1].cores, parts[1].gpus), ("node2", 2, 1));
        assert_eq!(exec_vnode("(a:ncpus=1+b:ncpus=2)").unwrap().len(), 2);
        assert_eq!((exec_vnode(""), exec_vnode("(a:ncpus=x)")), (None, None));
        let hosts = exec_host("n1/0-3+n2/1,5-6+n2/0").unwrap();
        assert_eq!(hosts.iter().map(|part| part.cores).collect::<Vec<_>>(), [4, 3, 1]);
        assert_eq!((exec_host("n1"), exec_host("n1/3-1"), exec_host("/0")), (None, None, None));
        for (text, size) in [
            ("2:ppn=8:gpus=1", (16, 2)),
            ("3", (3, 0)),
            ("node7:ppn=4+2:bigmem:ppn=2", (8, 0)),
            ("n1+n2", (2, 0)),
        ] {
            assert_eq!(node_request(text), Some(size), "{text}");
        }
        assert_eq!((node_request("1:ppn=x"), node_request("4294967295:ppn=2")), (None, None));
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC*|[0-9a-z:=+,/() -]*") {
            let _ = (time(&text), duration(&text), kib(&text), exec_vnode(&text));
            let _ = (exec_host(&text), node_request(&text), state_count(&text, "Queued"), gpu_model(&text));
        }
    }
}
