//! The schema of every message is a golden file; `UPDATE_SCHEMAS=1` writes them anew.

use std::path::Path;

#[test]
fn every_message_has_the_schema_on_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let update = std::env::var_os("UPDATE_SCHEMAS").is_some();
    let mut changed = Vec::new();
    let mut expected = std::collections::BTreeSet::new();
    for (name, schema) in protocol::schema::messages() {
        let path = folder.join(format!("{name}.json"));
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        expected.insert(path.clone());
        if update {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &text).unwrap();
        } else if std::fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            changed.push(name);
        }
    }
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert!(expected.contains(&path), "{} belongs to no message", path.display());
    }
    assert!(changed.is_empty(), "changed: {changed:?}; run with UPDATE_SCHEMAS=1 and read the diff");
}
