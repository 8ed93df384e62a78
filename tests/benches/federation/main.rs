//! How fast the federation is: real processes (`mcpserver start`, `mcpserver simulate`) over real loopback
//! sockets, against the targets that it is built for.
//!
//! ```text
//! cargo build --release --workspace && cargo bench -p tests                 all of it, under a minute
//! cargo bench -p tests -- negotiate-1000 --rounds 30 --json                 one part, longer, as JSON
//! ```
//!
//! Times depend on whatever else the machine does, so the report also has processor seconds, which hardly
//! do, and ratios of figures that were taken side by side. The client runs on the same processors as the
//! servers, so its share is in every figure.

#![expect(clippy::expect_used, clippy::panic, reason = "a measurement that cannot go on says so and ends")]

#[path = "../../tests/all/harness.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod harness;

mod asking;
mod calling;
mod counters;
mod predecessor;
mod report;
mod starting;

use report::Report;

/// What to measure and how to tell.
struct Options {
    parts: Vec<String>,
    rounds: Option<usize>,
    json: bool,
}

impl Options {
    fn parse() -> Self {
        let mut options = Self { parts: Vec::new(), rounds: None, json: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => options.json = true,
                // cargo says so to every benchmark.
                "--bench" => {}
                "--rounds" => {
                    let rounds = arguments.next().and_then(|text| text.parse().ok());
                    options.rounds = Some(rounds.expect("--rounds takes a number"));
                }
                other if other.starts_with('-') => panic!("there is no option {other}"),
                part => options.parts.push(part.to_owned()),
            }
        }
        options
    }

    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

fn main() {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut report = Report::new();
    runtime.block_on(async {
        if options.wants("start") {
            starting::measure(&mut report).await;
        }
        for (workers, rounds) in [(20, 40), (100, 25), (1000, 10)] {
            if options.wants(&format!("negotiate-{workers}")) {
                asking::measure(workers, options.rounds.unwrap_or(rounds), &mut report).await;
            }
        }
        if options.wants("calls") {
            calling::measure(options.rounds.unwrap_or(3), &mut report).await;
        }
        if options.wants("predecessor") {
            predecessor::measure(options.rounds.unwrap_or(5), &mut report).await;
        }
    });
    if options.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.text());
    }
}
