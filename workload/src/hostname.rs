//! Whether a node of a manager is the machine that asks.

/// This machine's name, without its domain; empty when nobody can tell.
fn own() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    short(name.trim()).to_owned()
}

/// Whether one of these hosts, or lists of hosts, is or has this machine.
pub(crate) fn is_any_of<'a>(mut lists: impl Iterator<Item = &'a str>) -> bool {
    let own = own();
    lists.any(|list| is_in(list, &own))
}

/// A host's name without its domain.
fn short(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

/// Whether a list of hosts in the form that Slurm and Flux print (`login,node[01-16,20]`) has a machine
/// in it; `own` is its name without domain.
fn is_in(list: &str, own: &str) -> bool {
    let mut depth = 0_u32;
    let parts = list.split(|character| {
        match character {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts.map(str::trim).any(|part| is_one_of(part, own))
}

fn is_one_of(part: &str, own: &str) -> bool {
    let Some((before, rest)) = part.split_once('[') else {
        return !own.is_empty() && (short(part) == own || part == "localhost");
    };
    let Some((ranges, after)) = rest.split_once(']') else { return false };
    let number = own.strip_prefix(before).and_then(|rest| rest.strip_suffix(short(after)));
    let Some(number) = number.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())) else {
        return false;
    };
    let Ok(value) = number.parse::<u64>() else { return false };
    ranges.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Ok(from), Ok(to)) = (first.parse::<u64>(), last.parse::<u64>()) else { return false };
        // `[01-16]` has names of two digits.
        (from..=to).contains(&value) && number.len() == first.len().max(value.to_string().len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_found_in_lists_of_hosts() {
        for (list, own, expected) in [
            ("login,node[01-16,20]", "node07", true),
            ("login,node[01-16,20]", "node7", false),
            ("login,node[01-16,20]", "node20", true),
            ("login,node[01-16,20]", "node19", false),
            ("login,node[01-16,20]", "login", true),
            ("node[8-12]", "node10", true),
            ("node[8-12]", "node", false),
            ("gpu[1-2]x", "gpu2x", true),
            ("gpu-a.site.org", "gpu-a", true),
            ("vm,vm,vm", "vm", true),
            ("localhost", "vm", true),
            ("", "", false),
            ("node[", "node1", false),
            ("node[1-99999999999999999999]", "node1", false),
        ] {
            assert_eq!(is_in(list, own), expected, "{own} in {list}");
        }
    }
}
