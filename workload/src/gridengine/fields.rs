//! The forms in which Grid Engine writes its values: XML, lines of `name value`, lists with exceptions for some
//! hosts, times, sizes. What does not have the form is `None`; nothing here fails or guesses.

use std::collections::BTreeMap;

use protocol::units::{GiB, Seconds, Timestamp};
use roxmltree::{Document, Node};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A document whose root has this name.
pub(super) fn document<'a>(text: &'a str, root: &str) -> Result<Document<'a>, String> {
    let document = Document::parse(text).map_err(|error| error.to_string())?;
    match document.root_element().tag_name().name() {
        name if name == root => Ok(document),
        name => Err(format!("it is a {name:.40} and no {root}")),
    }
}

/// The text of an element's child; `None` when it has none, or an empty one.
pub(super) fn child<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let text = node.children().find(|child| child.has_tag_name(name))?.text()?.trim();
    (!text.is_empty()).then_some(text)
}

/// Objects as `qconf` shows them: `name value` lines, some continued with a backslash; the next object begins
/// where its first name comes again.
pub(super) fn objects(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut objects: Vec<BTreeMap<String, String>> = Vec::new();
    let joined = text.replace("\\\n", " ");
    let mut first: Option<&str> = None;
    for line in joined.lines() {
        let Some((name, value)) = line.split_once(char::is_whitespace) else { continue };
        if first.is_none_or(|first| first == name) {
            first = Some(name);
            objects.push(BTreeMap::new());
        }
        if let Some(object) = objects.last_mut() {
            let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
            object.insert(name.to_owned(), value);
        }
    }
    objects
}

/// The values of a setting: the usual one, and those of hosts that differ (`8,[host=4],[@group=16]`).
pub(super) fn variants(text: &str) -> impl Iterator<Item = &str> {
    let (usual, others) = text.split_once(",[").unwrap_or((text, ""));
    let others = others.split(",[").filter_map(|part| Some(part.trim_end_matches(']').split_once('=')?.1));
    std::iter::once(usual).chain(others).map(str::trim)
}

/// What stands for nothing.
pub(super) fn given(value: &str) -> Option<&str> {
    let value = value.trim();
    (!matches!(value, "" | "NONE" | "none" | "-" | "-/-" | "UNDEFINED" | "undefined")).then_some(value)
}

/// A duration: seconds, or `HH:MM:SS`, each part as large as it wants. `INFINITY` is none.
pub(super) fn duration(text: &str) -> Option<Seconds> {
    let parts = text.trim().split(':').map(|part| match part {
        "" => Some(0.0),
        part => part.parse::<u32>().ok().map(f64::from),
    });
    match parts.collect::<Option<Vec<f64>>>()?.as_slice() {
        [_] if text.trim().is_empty() => None,
        [seconds] => Some(Seconds::saturating(*seconds)),
        [hours, minutes, seconds] => Some(Seconds::saturating(hours * 3600.0 + minutes * 60.0 + seconds)),
        _ => None,
    }
}

/// A size: `23.5G`, `1024`, `512m`, and as `qacct` writes them, `308.094MB`. Capital letters are powers of 1024,
/// small ones of 1000.
pub(super) fn size(text: &str) -> Option<GiB> {
    let text = text.trim();
    let text = match text.strip_suffix('B') {
        Some(rest) => rest,
        None => text,
    };
    let (number, factor) = match text.chars().last()? {
        'K' => (&text[..text.len() - 1], 1024.0),
        'M' => (&text[..text.len() - 1], 1024.0 * 1024.0),
        'G' => (&text[..text.len() - 1], 1024.0 * 1024.0 * 1024.0),
        'T' => (&text[..text.len() - 1], 1024.0 * 1024.0 * 1024.0 * 1024.0),
        'k' => (&text[..text.len() - 1], 1e3),
        'm' => (&text[..text.len() - 1], 1e6),
        'g' => (&text[..text.len() - 1], 1e9),
        't' => (&text[..text.len() - 1], 1e12),
        _ => (text, 1.0),
    };
    let number = plain(number)?;
    Some(GiB::saturating(number * factor / (1024.0 * 1024.0 * 1024.0)))
}

/// A count; consumables are written as `4.000000`.
pub(super) fn count(text: &str) -> Option<u32> {
    let number = plain(text.trim())?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
    let count = number as u32;
    Some(count)
}

/// A number of digits and at most one dot; no sign, no `inf`.
fn plain(text: &str) -> Option<f64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (digits && !text.is_empty()).then(|| text.parse().ok()).flatten()
}

/// A time, in UTC: `2026-11-21T03:12:21` of `qstat`, `Sat Nov 21 03:12:21 2026` and `11/21/2026 03:12:21.517`
/// of `qacct`.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let iso = match words.as_slice() {
        [iso] if iso.contains('T') => (*iso).to_owned(),
        [_, month, day, time, year] => {
            let month = MONTHS.iter().position(|known| known == month)? + 1;
            format!("{year}-{month:02}-{:02}T{time}", day.parse::<u8>().ok()?)
        }
        [date, time] => match date.split('/').collect::<Vec<_>>().as_slice() {
            [month, day, year] => format!("{year}-{month}-{day}T{time}"),
            _ => return None,
        },
        _ => return None,
    };
    format!("{iso}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_those_that_grid_engine_prints() {
        for (text, time) in [
            ("2026-11-21T03:12:21", Some("2026-11-21T03:12:21.000Z")),
            ("Sat Nov  1 03:12:21 2026", Some("2026-11-01T03:12:21.000Z")),
            ("11/21/2026 03:12:21.517", Some("2026-11-21T03:12:21.517Z")),
            ("-/-", None),
            ("undefined", None),
            ("Sat Now 21 03:12:21 2026", None),
        ] {
            assert_eq!(super::time(text).map(|at| at.to_string()).as_deref(), time, "{text}");
        }
        let gib = |text| size(text).map(|size| (size.get() * 1000.0).round() / 1000.0);
        assert_eq!(gib("23.5G"), Some(23.5));
        assert_eq!(gib("308.094MB"), Some(0.301));
        assert_eq!(gib("0.000B"), Some(0.0));
        assert_eq!(gib("1073741824"), Some(1.0));
        assert_eq!(gib("1g"), Some(0.931));
        assert_eq!((size("-"), size(""), size("infG"), size("1e9")), (None, None, None, None));
        assert_eq!(duration("01:00:00"), Some(Seconds::from(3600)));
        assert_eq!(duration("100"), Some(Seconds::from(100)));
        assert_eq!(duration("::5"), Some(Seconds::from(5)));
        assert_eq!((duration("INFINITY"), duration(""), duration("1:2")), (None, None, None));
        assert_eq!((count("4.000000"), count("-1"), count("8")), (Some(4), None, Some(8)));
        assert_eq!(variants("8,[a=4],[@b=16]").collect::<Vec<_>>(), ["8", "4", "16"]);
    }

    #[test]
    fn objects_are_taken_apart() {
        let text = "qname a.q\nslots 8,[x=1], \\\n  [y=2]\nqname b.q\nslots 2\n";
        let objects = objects(text);
        assert_eq!(objects.len(), 2);
        assert_eq!(objects[0]["slots"], "8,[x=1], [y=2]");
        assert_eq!(objects[1]["qname"], "b.q");
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC*|[0-9.:/ KMGTBé,\\[\\]=-]*") {
            let _ = (time(&text), size(&text), duration(&text), count(&text), objects(&text));
            let _ = (variants(&text).count(), document(&text, "qhost").is_ok());
        }
    }
}
