//! Every file under examples/requests is a request, says something, and loses nothing when it is read.

use std::path::Path;

use protocol::request::Request;
use serde_json::Value;

/// Whether everything that `written` says stands in `read` too, numbers compared as numbers.
fn holds(read: &Value, written: &Value) -> bool {
    match (read, written) {
        (Value::Object(read), Value::Object(written)) => {
            written.iter().all(|(key, value)| read.get(key).is_some_and(|other| holds(other, value)))
        }
        (Value::Array(read), Value::Array(written)) => {
            read.len() == written.len()
                && read.iter().zip(written).all(|(read, written)| holds(read, written))
        }
        (Value::Number(read), Value::Number(written)) => read.as_f64() == written.as_f64(),
        _ => read == written,
    }
}

#[test]
fn every_example_is_a_request() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/requests");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.extension().and_then(|end| end.to_str()), Some("json"), "{}", path.display());
        let text = std::fs::read_to_string(&path).unwrap();
        let request: Request =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_ne!(request, Request::default(), "{} says nothing", path.display());
        let read = serde_json::to_value(&request).unwrap();
        let written: Value = serde_json::from_str(&text).unwrap();
        assert!(holds(&read, &written), "{} is not read in full", path.display());
        seen += 1;
    }
    assert!(seen > 0);
}
