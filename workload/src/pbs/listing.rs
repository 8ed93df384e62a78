//! The records in which PBS lists jobs, queues, nodes and the server: a name and its attributes. OpenPBS
//! prints them as JSON or as text, Torque as text; both become the same here, with `Resource_List.ncpus`
//! for an attribute within another.
//!
//! What users wrote (variables, arguments) stands in the same listings. It can break the JSON, and it could
//! pass for a record in the text: none of it is kept, and text is read only where there is no JSON.

use std::collections::BTreeMap;

use serde_json::Value;

/// Attributes that hold what users wrote and that nothing here needs.
const WRITTEN_BY_USERS: &[&str] =
    &["Variable_List", "Submit_arguments", "submit_args", "argument_list", "executable", "Job_Name"];

/// What a listing is of: the key of its JSON, and how a record begins in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    key: &'static str,
    header: &'static str,
}

pub(super) const JOBS: Kind = Kind { key: "Jobs", header: "Job Id: " };
pub(super) const QUEUES: Kind = Kind { key: "Queue", header: "Queue: " };
pub(super) const SERVER: Kind = Kind { key: "Server", header: "Server: " };
/// The name of a node stands alone on its line.
pub(super) const NODES: Kind = Kind { key: "nodes", header: "" };

/// One record.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Record {
    pub(super) name: String,
    attributes: BTreeMap<String, String>,
}

impl Record {
    /// An attribute that has a value.
    pub(super) fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The attributes within another, by their own names.
    pub(super) fn within<'a>(&'a self, attribute: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.attributes.iter().filter_map(move |(name, value)| {
            Some((name.strip_prefix(attribute)?.strip_prefix('.')?, value.trim()))
        })
    }

    /// Whether it is set to true.
    pub(super) fn is_true(&self, attribute: &str) -> bool {
        self.get(attribute).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

/// Reads JSON. Without a record the key is missing, so a document that has neither it nor the time of the
/// listing is something else.
pub(super) fn json(text: &str, kind: Kind) -> Result<Vec<Record>, String> {
    // Values of variables are printed with their control characters as they stand.
    let document: Value = serde_json::from_str(text).or_else(|error| {
        let plain: String = text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
        serde_json::from_str(&plain).map_err(|_| error.to_string())
    })?;
    let records = match (document.get(kind.key), document.get("timestamp")) {
        (Some(Value::Object(records)), _) => records,
        (None, Some(_)) => return Ok(Vec::new()),
        _ => return Err(format!("it is no listing with {}", kind.key)),
    };
    Ok(records.iter().map(|(name, value)| record(name, value)).collect())
}

fn record(name: &str, value: &Value) -> Record {
    let mut record = Record { name: name.to_owned(), attributes: BTreeMap::new() };
    for (name, value) in value.as_object().into_iter().flatten() {
        if WRITTEN_BY_USERS.contains(&name.as_str()) {
            continue;
        }
        match value {
            Value::Object(parts) => {
                for (part, value) in parts {
                    record.attributes.insert(format!("{name}.{part}"), plain(value));
                }
            }
            value => {
                record.attributes.insert(name.clone(), plain(value));
            }
        }
    }
    record
}

/// A value as the text form has it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Reads text: a line for the name, indented `attribute = value` lines, lines that go on behind a tab, an
/// empty line.
pub(super) fn text(text: &str, kind: Kind) -> Result<Vec<Record>, String> {
    let mut records: Vec<Record> = Vec::new();
    // The attribute that a line behind a tab goes on with; empty for one that is not kept.
    let mut open: Option<String> = None;
    for line in text.lines() {
        if let (Some(rest), Some(record)) = (line.strip_prefix('\t'), records.last_mut()) {
            if let Some(value) = open.as_ref().and_then(|name| record.attributes.get_mut(name)) {
                value.push_str(rest);
            }
        } else if let (true, Some(record), Some((name, value))) =
            (line.starts_with("    "), records.last_mut(), line.split_once(" = "))
        {
            let name = name.trim();
            open = (!WRITTEN_BY_USERS.contains(&name)).then(|| name.to_owned());
            if let Some(name) = &open {
                record.attributes.insert(name.clone(), value.to_owned());
            }
        } else if let Some(name) = line.strip_prefix(kind.header).map(str::trim_end)
            && !name.is_empty()
            && !name.starts_with(' ')
        {
            open = None;
            records.push(Record { name: name.to_owned(), attributes: BTreeMap::new() });
        }
    }
    // What has no attributes is a line of something else.
    records.retain(|record| !record.attributes.is_empty());
    if records.is_empty() && !text.trim().is_empty() {
        return Err("it has no record in it".to_owned());
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let json_text = r#"{"timestamp": 1, "Jobs": {"4.node1": {"job_state": "R", "Job_Name": 7,
            "Resource_List": {"ncpus": 2, "mem": "2gb"}, "Variable_List": {"A": "x"}, "comment": "one two"}}}"#;
        let text_form = "Job Id: 4.node1\n    Job_Name = 007\n    job_state = R\n    Resource_List.mem = 2gb\n    \
                         Resource_List.ncpus = 2\n    Variable_List = A=x,B=\n\tJob Id: 9.node1,\n\tC = d\n    \
                         comment = one\n\t two\n\n";
        let from_json = json(json_text, JOBS).unwrap();
        assert_eq!(from_json, text(text_form, JOBS).unwrap());
        assert_eq!((from_json.len(), from_json[0].get("comment")), (1, Some("one two")));
        assert_eq!(
            from_json[0].within("Resource_List").collect::<Vec<_>>(),
            [("mem", "2gb"), ("ncpus", "2")]
        );
    }

    #[test]
    fn control_characters_of_users_do_not_hide_jobs() {
        let listing = "{\"timestamp\": 1, \"Jobs\": {\"1.s\": {\"Variable_List\": {\"A\": \"\u{1}\u{1b}\"}, \"queue\": \"q\"}}}";
        assert_eq!(json(listing, JOBS).unwrap()[0].get("queue"), Some("q"));
        assert_eq!(json("{\"timestamp\": 1}", JOBS).unwrap(), []);
        for bad in ["", "{}", "[]", "{\"Jobs\": 3}", "{\"timestamp\": 1, \"Jobs\": {\"1.s\"", "usage: qstat"]
        {
            assert!(json(bad, JOBS).is_err(), "{bad}");
        }
        assert!(text("qstat: nothing\n", JOBS).is_err());
        assert_eq!(text("", JOBS).unwrap(), []);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(strange in "(\\PC|[\n\t =]){0,60}") {
            for kind in [JOBS, QUEUES, SERVER, NODES] {
                let _ = (json(&strange, kind), text(&strange, kind));
            }
        }
    }
}
