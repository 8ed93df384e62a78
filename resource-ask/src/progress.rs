//! What is shown while a negotiation runs: who has answered, who has not, who is awarded.
//!
//! A terminal gets a live view that is wiped at the end, because the table below repeats it; anything
//! else gets plain lines. Both go to standard error.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use protocol::award::ReceiptStatus;
use protocol::ids::WorkerId;
use protocol::negotiation::Notice;

use crate::output::Format;
use crate::render::text;

/// Fleets up to this size get a line for each worker; larger ones get a bar.
const LINE_PER_WORKER: usize = 20;

/// Is told of each step of a negotiation.
pub trait Watcher: Send {
    /// Takes note of a step.
    fn on_notice(&mut self, notice: &Notice);

    /// Leaves the screen to the result.
    fn finish(&mut self);
}

/// The watcher that suits standard error and the wanted format.
#[must_use]
pub fn watcher(format: Format) -> Box<dyn Watcher> {
    if format == Format::Quiet {
        Box::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Box::new(Live::new(ProgressDrawTarget::stderr()))
    } else {
        Box::new(Lines::new(std::io::stderr()))
    }
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Watcher for Silent {
    fn on_notice(&mut self, _: &Notice) {}

    fn finish(&mut self) {}
}

/// Writes plain lines.
#[derive(Debug)]
pub struct Lines<W> {
    out: W,
    tenths: u32,
}

impl<W: Write> Lines<W> {
    /// Lines to this writer; a writer that fails is not complained about, for nothing depends on it.
    pub const fn new(out: W) -> Self {
        Self { out, tenths: 0 }
    }
}

impl<W: Write + Send> Watcher for Lines<W> {
    fn on_notice(&mut self, notice: &Notice) {
        if let Notice::Answered { answered, asked, .. } = notice
            && *asked as usize > LINE_PER_WORKER
        {
            // A line for each tenth of a large fleet.
            let tenths = answered.saturating_mul(10) / asked;
            if tenths > self.tenths {
                self.tenths = tenths;
                let _ = writeln!(self.out, "{answered} of {asked} workers have answered");
            }
            return;
        }
        if let Some(line) = notice_line(notice) {
            let _ = writeln!(self.out, "{line}");
        }
    }

    fn finish(&mut self) {
        let _ = self.out.flush();
    }
}

/// One step in one line, safe to show.
#[must_use]
pub fn notice_line(notice: &Notice) -> Option<String> {
    Some(match notice {
        Notice::Asked { workers, excluded, .. } => {
            let asked = text::count(workers.len(), "worker");
            if excluded.is_empty() {
                format!("asking {asked}")
            } else {
                format!("asking {asked}, not asking {}", excluded.len())
            }
        }
        Notice::Answered { worker_id, answer, answered, asked } => {
            format!("{worker_id}: {} ({answered} of {asked})", text::excerpt(answer, 40))
        }
        Notice::Selected { selection } => match &selection.worker_id {
            Some(worker) => format!("chosen by {}: {worker}", text::excerpt(&selection.strategy, 40)),
            None => "nothing can be chosen".to_owned(),
        },
        Notice::Awarding { worker_id } => format!("offering the job to {worker_id}"),
        Notice::Receipt { receipt } => match receipt.status {
            ReceiptStatus::Success => format!("{} accepted {}", receipt.worker_id, receipt.job_id),
            ReceiptStatus::Failed => format!(
                "{} refused: {}",
                receipt.worker_id,
                receipt
                    .error
                    .as_ref()
                    .map_or_else(|| "no reason given".to_owned(), |e| text::excerpt(&e.message, 200))
            ),
        },
    })
}

/// A live view on a terminal.
pub struct Live {
    bars: MultiProgress,
    waiting: BTreeSet<WorkerId>,
    /// The line of each worker, in a small fleet. A finished line stays in here: one that is dropped
    /// would stay on the terminal for ever.
    lines: BTreeMap<WorkerId, ProgressBar>,
    summary: Option<ProgressBar>,
}

impl Live {
    /// A live view on this target.
    #[must_use]
    pub fn new(target: ProgressDrawTarget) -> Self {
        let bars = MultiProgress::with_draw_target(target);
        Self { bars, waiting: BTreeSet::new(), lines: BTreeMap::new(), summary: None }
    }

    fn spinner(&self, message: String) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.set_message(message);
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    fn on_asked(&mut self, workers: &[WorkerId]) {
        self.finish();
        self.waiting = workers.iter().cloned().collect();
        if workers.len() <= LINE_PER_WORKER {
            self.lines =
                workers.iter().map(|worker| (worker.clone(), self.spinner(format!("{worker} …")))).collect();
            return;
        }
        let bar = self.bars.add(ProgressBar::new(workers.len() as u64));
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} answered{msg}") {
            bar.set_style(style);
        }
        self.summary = Some(bar);
    }

    fn on_answered(&mut self, worker: &WorkerId, answer: &str, answered: u32) {
        self.waiting.remove(worker);
        if let Some(line) = self.lines.get(worker) {
            line.finish_with_message(format!("{worker} {}", text::excerpt(answer, 40)));
        }
        if let Some(summary) = &self.summary {
            summary.set_position(u64::from(answered));
            summary.set_message(self.still_waiting());
        }
    }

    /// The first few that have not answered, for a fleet that is shown as one bar.
    fn still_waiting(&self) -> String {
        let names: Vec<&str> = self.waiting.iter().take(3).map(WorkerId::as_str).collect();
        match self.waiting.len() {
            0 => String::new(),
            1..=3 => format!(", waiting for {}", names.join(", ")),
            many => format!(", waiting for {} and {} more", names.join(", "), many - names.len()),
        }
    }
}

impl Watcher for Live {
    fn on_notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Asked { workers, .. } => self.on_asked(workers),
            Notice::Answered { worker_id, answer, answered, .. } => {
                self.on_answered(worker_id, answer, *answered);
            }
            Notice::Selected { .. } | Notice::Awarding { .. } | Notice::Receipt { .. } => {
                if let Some(line) = notice_line(notice) {
                    self.finish();
                    self.summary = Some(self.spinner(line));
                }
            }
        }
    }

    fn finish(&mut self) {
        for bar in self.lines.values().chain(&self.summary) {
            bar.finish_and_clear();
        }
        let _ = self.bars.clear();
        self.lines.clear();
        self.summary = None;
        self.waiting.clear();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;
    use protocol::ids::NegotiationId;

    use super::*;

    fn worker(number: usize) -> WorkerId {
        WorkerId::parse(format!("w-{number}")).unwrap()
    }

    fn asked(workers: usize) -> Notice {
        Notice::Asked {
            negotiation_id: NegotiationId::mint(1),
            understanding: Box::default(),
            workers: (0..workers).map(worker).collect(),
            excluded: BTreeMap::new(),
        }
    }

    fn answered(number: usize, asked: u32, answer: &str) -> Notice {
        let answered = u32::try_from(number).unwrap() + 1;
        Notice::Answered { worker_id: worker(number), answer: answer.to_owned(), answered, asked }
    }

    #[test]
    fn a_small_fleet_gets_a_line_for_each_worker() {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out);
        lines.on_notice(&asked(2));
        lines.on_notice(&answered(0, 2, "READY"));
        lines.on_notice(&answered(1, 2, "time\u{1b}[2Jout"));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "asking 2 workers\nw-0: READY (1 of 2)\nw-1: time\\u{1b}[2Jout (2 of 2)\n"
        );
    }

    #[test]
    fn a_large_fleet_gets_a_line_for_each_tenth() {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out);
        lines.on_notice(&asked(1000));
        for number in 0..1000 {
            lines.on_notice(&answered(number, 1000, "READY"));
        }
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 11);
        assert!(text.ends_with("1000 of 1000 workers have answered\n"), "{text}");
    }

    /// A terminal that keeps every line that was drawn on it.
    #[derive(Debug, Clone, Default)]
    struct Terminal(Arc<Mutex<String>>);

    impl Terminal {
        fn drawn(&self) -> String {
            self.0.lock().unwrap().clone()
        }
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            100
        }
        fn height(&self) -> u16 {
            50
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, line: &str) -> io::Result<()> {
            self.write_str(line)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            let mut drawn = self.0.lock().unwrap();
            drawn.push_str(text);
            drawn.push('\n');
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn live() -> (Terminal, Live) {
        let terminal = Terminal::default();
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255);
        (terminal, Live::new(target))
    }

    #[test]
    fn a_terminal_shows_who_has_answered_and_who_has_not() {
        let (terminal, mut live) = live();
        live.on_notice(&asked(3));
        live.on_notice(&answered(0, 3, "REA\u{1b}DY"));
        live.finish();
        let drawn = terminal.drawn();
        assert!(drawn.contains("w-0 REA\\u{1b}DY"), "{drawn}");
        assert!(drawn.contains("w-2 …"), "{drawn}");
        assert!(!drawn.contains("w-2 READY"), "{drawn}");
    }

    #[test]
    fn a_terminal_shows_a_large_fleet_as_one_bar() {
        let (terminal, mut live) = live();
        live.on_notice(&asked(30));
        for number in 0..25 {
            live.on_notice(&answered(number, 30, "READY"));
            std::thread::sleep(Duration::from_millis(5));
        }
        let drawn = terminal.drawn();
        assert!(drawn.contains("/30 answered, waiting for"), "{drawn}");
        assert!(!drawn.contains("w-7 …"), "{drawn}");
    }
}
