//! Mistakes: one line and the documented code, whatever is wrong.

use crate::starting::{outcome, run};

#[test]
fn a_mistake_is_one_line_with_a_documented_code() {
    let home = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = port.local_addr().unwrap().port().to_string();
    std::fs::write(home.path().join("prices.json"), "{\"gold\": 1}").unwrap();
    std::fs::write(home.path().join("file"), "").unwrap();
    let table: &[(&[&str], i32, &str)] = &[
        (&["frobnicate"], 2, "frobnicate"),
        (&["start", "--nope"], 2, "--nope"),
        (&["start", "--port", "x"], 2, "--port"),
        (&["start", "--hub", "--join", "http://127.0.0.1:1"], 2, "--join"),
        (&["start", "--hub", "--hub-secret", ""], 2, "--hub-secret"),
        (&["start", "--join", "http://127.0.0.1:1"], 2, "MCPSERVER_JOIN_SECRET"),
        (&["start", "--join", "nonsense", "--join-secret", "s"], 2, "http://host:port"),
        (&["start", "--dual"], 2, "--hub"),
        (&["start", "--hub", "--mock", "hpc"], 2, "--dual"),
        (&["start", "--honesty", "0.5"], 2, "--mock"),
        (&["start", "--mock", "mainframe"], 2, "hpc, cloud, standalone"),
        (&["start", "--mock", "--fault", "explode"], 2, "refuse-award"),
        (&["start", "--mock", "--prices", "prices.json"], 2, "--prices"),
        (&["start", "--transport", "stdio", "--hub"], 2, "stdio"),
        (&["start", "--transport", "stdio", "--port", "0"], 2, "--port"),
        (&["start", "--hub", "--path", "/jobs"], 2, "/jobs"),
        (&["simulate", "--join", "http://127.0.0.1:1"], 2, "--workers"),
        (&["simulate", "--join", "http://127.0.0.1:1", "--workers", "2"], 2, "--join-secret"),
        (&["detect", "kitchen"], 2, "hardware"),
        (&["detect", "hardware", "kitchen"], 2, "cpu"),
        (&["start", "--hub", "--host", "0.0.0.0"], 78, "SSH"),
        (&["start", "--hub", "--port", &taken, "--data-dir", "hub"], 78, &taken),
        (&["start", "--mock", "--port", &taken], 78, "--port"),
        (&["start", "--prices", "prices.json", "--port", "0", "--data-dir", "w"], 78, "gold"),
        (&["start", "--prices", "missing.json", "--port", "0", "--data-dir", "w"], 78, "missing.json"),
        (&["start", "--port", "0", "--data-dir", "file/below"], 78, "file/below"),
        (&["job", "run", "missing.json"], 1, "missing.json"),
    ];
    for (arguments, code, needle) in table {
        let (found, said) = outcome(home.path(), arguments);
        assert_eq!(found, *code, "{arguments:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{arguments:?}: {said}");
        assert!(said.starts_with("mcpserver: ") && said.contains(needle), "{arguments:?}: {said}");
    }
}

#[test]
fn a_log_filter_that_cannot_be_read_is_one_line_too() {
    let home = tempfile::tempdir().unwrap();
    let mut command = crate::starting::command(home.path(), &["providers"]);
    let output = command.env("RUST_LOG", "parley=loudest").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("RUST_LOG"));
}

#[test]
fn help_has_examples_and_the_table_of_codes() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&["--help"][..], &["start", "--help"], &["simulate", "--help"]] {
        let output = run(home.path(), arguments);
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("Examples:") && text.contains("75  data directory in use"), "{text}");
    }
    assert_eq!(run(home.path(), &[]).status.code(), Some(2));
    assert!(run(home.path(), &["--version"]).stdout.starts_with(b"mcpserver "));
}

#[test]
fn what_is_printed_for_programs_is_json() {
    let home = tempfile::tempdir().unwrap();
    for arguments in
        [&["detect", "--json"][..], &["providers", "--json"], &["detect", "hardware", "cpu", "--json"]]
    {
        let output = run(home.path(), arguments);
        let list: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert!(list.iter().any(|one| one["name"] == "cpu"), "{list:?}");
    }
    let table = String::from_utf8(run(home.path(), &["detect", "hardware"]).stdout).unwrap();
    assert!(table.contains("cpu") && table.contains("memory"), "{table}");
    let script = run(home.path(), &["completions", "bash"]).stdout;
    assert!(String::from_utf8(script).unwrap().contains("simulate"));
    assert_eq!(std::fs::read_dir(home.path().join("tmp")).unwrap().count(), 0, "something is left behind");
}
