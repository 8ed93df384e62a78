//! What the documents name exists: links lead to files, paths of source files are right, and the tests
//! that hold the invariants are there.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files with an ending, without build outputs and hidden folders.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() {
            if !name.starts_with('.') && !name.starts_with("target") {
                files(&path, ending, found)?;
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    Ok(())
}

fn all(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    // An unreadable folder leaves the list short, and the tests below see that something is missing.
    let _ = files(&root(), ending, &mut found);
    found.sort();
    found
}

/// The targets of links and the code spans of a document, without its fenced blocks.
fn links_and_spans(text: &str) -> (Vec<String>, Vec<String>) {
    let prose: Vec<&str> = text.split("```").step_by(2).collect();
    let prose = prose.join("\n");
    let links = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let links = links.map(|(target, _)| target.to_owned()).collect();
    let spans = prose.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    (links, spans)
}

#[test]
fn links_lead_to_files() {
    let documents = all(".md");
    assert!(!documents.is_empty());
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        let folder = document.parent().unwrap();
        for target in links_and_spans(&text).0 {
            if target.contains("://") || target.starts_with('#') {
                continue;
            }
            let file = target.split('#').next().unwrap_or_default();
            assert!(folder.join(file).exists(), "{} links to {target}", document.display());
        }
    }
}

const ENDINGS: [&str; 6] = [".rs", ".json", ".toml", ".sh", ".sql", ".csv"];

/// The file that a span names: from the root, or the end of a path, as `local/mod.rs`.
fn is_file_name(span: &str) -> bool {
    let plain = !span.contains(['*', ' ', ':', '{', '<']) && !span.starts_with(['/', '.']);
    plain && ENDINGS.iter().any(|end| span.len() > end.len() && span.ends_with(end))
}

#[test]
fn source_files_that_documents_name_exist() {
    let known: Vec<PathBuf> = ENDINGS.iter().flat_map(|end| all(end)).collect();
    let mut named = 0;
    for name in ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md"] {
        let text = std::fs::read_to_string(root().join(name)).unwrap();
        for span in links_and_spans(&text).1.iter().filter(|span| is_file_name(span)) {
            named += 1;
            assert!(known.iter().any(|path| path.ends_with(span)), "{name} names {span}");
        }
    }
    assert!(named > 50);
}

#[test]
fn every_invariant_names_tests_that_exist() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = text.split("## Invariants").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let is_test_name = |span: &str| {
        span.matches('_').count() >= 2
            && span.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let mut source = (String::new(), String::new());
    let mut checked = 0;
    for span in links_and_spans(section).1 {
        if span.ends_with(".rs") {
            let text = std::fs::read_to_string(root().join(&span)).unwrap_or_default();
            source = (span, text);
        } else if is_test_name(&span) {
            checked += 1;
            assert!(source.1.contains(&format!("fn {span}(")), "{} has no test {span}", source.0);
        }
    }
    assert!(checked > 20);
}
