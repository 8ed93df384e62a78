//! Any text at all: nothing panics, spans say where they stand, and time grows with the length.

#![expect(clippy::unwrap_used, reason = "a test helper may fail its test")]

use std::time::{Duration, Instant};

use intake::{Vocabulary, understand};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use protocol::request::Request;
use protocol::understanding::Understanding;
use protocol::units::Timestamp;

fn read(prompt: &str) -> Understanding {
    let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
    let mut vocabulary = Vocabulary::shipped();
    for name in ["mysolver", "go", "x", "slurm", "a-1"] {
        vocabulary.add_software(name);
    }
    let request = Request { prompt: Some(prompt.to_owned()), ..Request::default() };
    understand(&request, &vocabulary, now)
}

fn check(prompt: &str) {
    let understanding = read(prompt);
    let letters: Vec<char> = prompt.chars().collect();
    let places = understanding
        .spans
        .iter()
        .map(|span| (&span.text, span.start, span.end))
        .chain(understanding.not_understood.iter().map(|part| (&part.text, part.start, part.end)));
    for (text, start, end) in places {
        assert!(start < end && end <= letters.len(), "{start}..{end} in {prompt:?}");
        assert_eq!(*text, letters[start..end].iter().collect::<String>(), "{prompt:?}");
    }
    let sum: f64 = understanding.weights.0.values().map(|weight| weight.get()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    let json = serde_json::to_string(&understanding).unwrap();
    assert_eq!(serde_json::from_str::<Understanding>(&json).unwrap(), understanding, "{prompt:?}");
    assert_eq!(read(prompt), understanding);
}

/// Words that the grammar gives a meaning, in any order.
fn soup() -> impl Strategy<Value = String> {
    let words = "run use with on for at least most no not without anything but 4 3.5 0 1,000 two dozen 20230802 99999999999999999999
        nodes node cores gpus GPU H100 A100s x each per total memory RAM 80GB 2 TiB TB of scratch lustre nfs storage free gromacs
        lammps python R go version newer than or and >= <= == ~ ^ < ( ) / - -- : ; , . ! ? \n = $ 40 % dollars USD budget cheapest asap
        right now tonight tomorrow fine by 6pm 18:00 before due in hours h within start deadline 2026-11-21 end the day noon
        slurm flux kubernetes docker container mpi cloud hpc worker foo-1 label site=lab ignore previous instructions
        always pick set my trust to score backtest sma 10/50 prices.csv train random forest 300 trees churn.csv deploy if F1 0.8
        predict column fee slippage cash ` \" ' run: command: ./x.sh é 漢字 😀 \u{200d} \u{301} ≥ × € prefer preferably if possible optional CPU
        latest between from to up walltime time 02:00:00 seed depth learning rate k half an a hour quarter"
        .split_whitespace()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    let separators = prop_oneof![5 => Just(" "), 1 => Just(""), 1 => Just("  "), 1 => Just("\n")];
    prop::collection::vec((prop::sample::select(words), separators), 0..40)
        .prop_map(|parts| parts.into_iter().map(|(word, separator)| word + separator).collect())
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 600, ..Default::default() })]

    #[test]
    fn any_text_is_read(prompt in any::<String>()) {
        check(&prompt);
    }

    #[test]
    fn any_order_of_known_words_is_read(prompt in soup()) {
        check(&prompt);
    }
}

#[test]
fn time_grows_with_the_length() {
    // Shapes that tempt a matcher to look far ahead or far back for each word.
    let shapes = [
        "run lammps >= 20230802 on 3 nodes, due in 3 hours. ",
        "a ",
        "a:",
        "`",
        "` x ",
        "run `",
        "run: ",
        "4 ",
        "4",
        "4-",
        "x",
        "1,",
        "no ",
        "not docker, ",
        "or ",
        "and 4 gpus ",
        "each with ",
        "gromacs ",
        "gromacs or ",
        "zzq >= 1 ",
        "zz ",
        "(",
        "ignore ",
        "give a a a ",
        "backtest ",
        "train a.csv ",
        "fast 1 ",
        "seed 1 ",
        "f1 > 1 ",
        "label a=b ",
        "slurm x ",
        "not slurm x ",
        "4 cores, 2 per node ",
        "exclude worker-1, ",
        "6pm ",
        "by 2026-11-21T00:00:00Z ",
        "2 hours ",
        "$4 ",
        "80GB H100 ",
        "infiniband, ",
        "lustre 1TB ",
        "é",
        "😀 ",
        "\n",
        "twenty ",
        "hundred thousand ",
        "s3://a",
        "a/",
        "\"",
    ];
    for shape in shapes {
        let prompt = shape.repeat(100_000 / shape.len());
        let start = Instant::now();
        let understanding = read(&prompt);
        let took = start.elapsed();
        // Far above what it takes even without optimisation, far below what a quadratic reader needs.
        assert!(took < Duration::from_secs(5), "{shape:?} took {took:?}");
        assert!(understanding.requirement.software.len() <= 256);
    }
}
