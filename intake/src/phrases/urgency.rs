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
        ("this instant|second|minute|very_moment", Immediate),
        (
            "without waiting|delay|queueing|queuing|any_delay|a_wait|any_wait|further_delay|any_waiting",
            Immediate,
        ),
        ("no waiting|wait|queue|queueing|queuing|delay|delays time?", Immediate),
        ("can't|cannot|won't|can_not wait", Immediate),
        ("now|rn", Immediate),
        ("urgent|urgently", Soon),
        ("very? soon", Soon),
        ("shortly", Soon),
        ("high priority", Soon),
        ("in a hurry|rush|great_hurry", Soon),
        ("before too long", Soon),
        ("time-critical|time-sensitive", Soon),
        (
            "no great|particular|real|big|special|hurry_or? rush|hurry|urgency|pressure at_all|here|whatsoever?",
            Flexible,
        ),
        (
            "not|isn't|nothing|aren't|never at_all|really|that|very|so|too|particularly? urgent|time-critical|time-sensitive|pressing|urgently",
            Flexible,
        ),
        ("not in a|any|much_of_a great? hurry|rush", Flexible),
        ("there isn't|is_not any|a? rush|hurry", Flexible),
        ("isn't any|a? rush|hurry", Flexible),
        ("there's|there_is no rush|hurry|urgency", Flexible),
        (
            "whenever you|it|there|we|capacity|a|some|the? like|can|wants|is|are|works|slot|room|space|node|nodes|capacity|suits|cluster|machine? is|are|frees|opens|works|can? free|up|room|space|convenient|possible|available|ready|you|me|idle|cheap|cheapest|run?",
            Flexible,
        ),
        ("whenever possible|convenient|works|suits?", Flexible),
        ("any time|day|moment|point is|works|will|would? be|do? fine|ok|okay|good|do|works?", Flexible),
        (
            "anytime today|tomorrow|tonight|this_week|next_week? is|works|will? be|do? fine|ok|okay|good|works?",
            Flexible,
        ),
        ("can|could|may|will|happy_to|willing_to|prepared_to|able_to wait", Flexible),
        ("happy|willing|okay|ok|fine|prepared|able to wait", Flexible),
        ("don't|doesn't|do_not|does_not mind waiting|a_wait|the_wait|when", Flexible),
        (
            "tonight|overnight|tomorrow|later|weekend|today|then morning|afternoon|evening|night? is|are|would|will|works|suits|also? be|also|just|totally|perfectly|completely? fine|ok|okay|good|acceptable|enough|alright|me|do|great|well|works|too|soon_enough|early_enough",
            Flexible,
        ),
        ("tonight|overnight|tomorrow|later works|ok|okay|fine", Flexible),
        ("over the weekend is|would|works? be? fine|ok|okay?", Flexible),
        (
            "this|next|the week|weekend|month is|would|works|will be|also|just? fine|ok|okay|good|do?",
            Flexible,
        ),
        ("this|next week|weekend|month works|ok|okay|fine", Flexible),
        ("some|any time this|next week|month|weekend", Flexible),
        ("sometime|anytime this|next week|month|weekend", Flexible),
        ("sometime today|tomorrow|tonight|soon", Flexible),
        ("eventually", Flexible),
        ("low priority", Flexible),
        ("at your leisure|convenience|earliest_convenience", Flexible),
        ("when|if it's|it_is|is? convenient", Flexible),
        ("time is not|no_an? issue|concern|problem|critical|important|pressing|of_the_essence", Flexible),
        ("time isn't an? issue|concern|problem|critical|important|pressing", Flexible),
        ("timing|time|schedule|start|deadline is flexible", Flexible),
        ("flexible on|about|with|start|timing? the? time|timing|start|schedule|when|deadline?", Flexible),
        ("in no rush|hurry", Flexible),
        ("take your time", Flexible),
        ("overnight", Flexible),
        ("in the background", Flexible),
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
