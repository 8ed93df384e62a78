//! How urgent it is: "right now", "tonight is fine", "no rush".

use std::sync::LazyLock;

use protocol::requirement::Urgency;

use crate::meaning::{Meaning, Moment, Piece};
use crate::phrase::PhraseTable;
use crate::reading::Reading;

static TABLE: LazyLock<PhraseTable<Urgency>> = LazyLock::new(|| {
    use Urgency::{Flexible, Immediate, Soon};
    PhraseTable::new(&[
        ("right now|away", Immediate),
        ("immediately", Immediate),
        ("immediate start|access|availability|execution|run|launch|dispatch?", Immediate),
        ("at once", Immediate),
        ("straight away", Immediate),
        ("straightaway|instantly|pronto", Immediate),
        ("this instant|second|minute|very moment?", Immediate),
        ("without waiting|delay|queueing|queuing|any delay?|waiting?|wait?", Immediate),
        ("no waiting|wait|queue|queueing|queuing|delay time?", Immediate),
        ("can't|cannot|won't wait", Immediate),
        ("now|rn", Immediate),
        ("urgent|urgently", Soon),
        ("very? soon", Soon),
        ("shortly", Soon),
        ("high priority", Soon),
        ("in a hurry|rush", Soon),
        ("before too long", Soon),
        ("no great|particular|real|big? rush|hurry|urgency|pressure", Flexible),
        ("not|isn't|nothing at all? urgent|time-critical|time-sensitive|pressing", Flexible),
        ("not in a|any hurry|rush", Flexible),
        ("isn't any|a? rush|hurry", Flexible),
        ("there's|there is? no rush|hurry", Flexible),
        (
            "whenever you|it|there|we|capacity|is|works|convenient|possible|can|like|suits|you're|a|slot|free|has|room|s? is?|can?|like?|frees?|free?|up?|room?|convenient?|possible?|available?|ready?",
            Flexible,
        ),
        ("whenever", Flexible),
        ("any time|day|moment is|works|will? fine|ok|okay|good|do?", Flexible),
        ("any time", Flexible),
        ("anytime is|works? fine|ok|okay|good?", Flexible),
        ("can|could|may|will wait", Flexible),
        ("happy|willing|okay|ok|fine|prepared to wait", Flexible),
        ("don't|doesn't|do|does not? mind waiting", Flexible),
        (
            "tonight|overnight|tomorrow|later|then|weekend|week|month is|are|would|will|works|suits be? also? fine|ok|okay|good|acceptable|enough|alright|me|do|great|well?",
            Flexible,
        ),
        ("tonight|overnight|tomorrow|later works|ok|okay|fine", Flexible),
        ("over the weekend is|would be? fine|ok|okay", Flexible),
        ("this|next week|weekend|month is|would|works be? fine|ok|okay|good?", Flexible),
        ("some|any time this|next week|month", Flexible),
        ("sometime this|next week|month", Flexible),
        ("eventually", Flexible),
        ("low priority", Flexible),
        ("at your leisure|convenience", Flexible),
        ("when|if convenient", Flexible),
        ("time is|isn't not? an? issue|concern|problem|critical|important", Flexible),
        ("timing|time is flexible", Flexible),
        ("flexible on|about|with? time|timing|start|schedule|when?", Flexible),
        ("in no rush|hurry", Flexible),
        ("take your time", Flexible),
        ("overnight", Flexible),
    ])
});

pub fn read(reading: &mut Reading<'_>) {
    let mut at = 0;
    while at < reading.len() {
        let Some((urgency, next)) = TABLE.at(reading, at).filter(|(_, next)| applies(reading, at, *next))
        else {
            at += 1;
            continue;
        };
        let piece = Piece { tokens: at..next, leaf: "" };
        reading.find_pieces(vec![piece], Meaning::Urgency(urgency));
        if urgency == Urgency::Immediate {
            reading.find(at..next, Meaning::Time(Moment::StartBy, 0.0));
        }
        at = next;
    }
}

/// "For now", "from now", "until now" say nothing about urgency, and "as soon as" is no "soon".
fn applies(reading: &Reading<'_>, at: usize, next: usize) -> bool {
    match reading.word(at) {
        "now" => !matches!(
            reading.any_word_before(at, 1),
            "for" | "from" | "until" | "by" | "till" | "just" | "up" | "to" | "as" | "you" | "are" | "is"
        ),
        "soon" | "very" => {
            reading.word_before(at, 1) != "as"
                && reading.word(next) != "as"
                && reading.word_before(at, 1) != "how"
        }
        "tonight" | "tomorrow" | "overnight" | "later" => {
            !matches!(reading.any_word_before(at, 1), "by" | "before" | "due" | "until")
        }
        _ => true,
    }
}
