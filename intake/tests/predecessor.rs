//! The predecessor's 200 prompts: everything in them is understood, and exactly what is pinned here.

#![expect(clippy::unwrap_used, reason = "a test helper may fail its test")]

use intake::{Vocabulary, understand};
use protocol::request::Request;
use protocol::units::Timestamp;
use serde_json::Value;

fn prompts() -> Vec<String> {
    let data: Value = serde_json::from_str(include_str!("data/predecessor-prompts.json")).unwrap();
    data["prompts"].as_array().unwrap().iter().map(|prompt| prompt.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_prompt_is_understood_as_pinned() {
    let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
    let vocabulary = Vocabulary::shipped();
    let mut pinned = String::new();
    let prompts = prompts();
    assert_eq!(prompts.len(), 200);
    for prompt in prompts {
        let request = Request { prompt: Some(prompt.clone()), ..Request::default() };
        let understanding = understand(&request, &vocabulary, now);
        assert!(understanding.not_understood.is_empty(), "{prompt}: {:?}", understanding.not_understood);
        assert_eq!(understanding.job, None, "{prompt}");
        let requirement = serde_json::to_string(&understanding.requirement).unwrap();
        pinned.push_str(&format!("{prompt}\n    {requirement}\n"));
    }
    insta::assert_snapshot!(pinned);
}
