//! What matters most: "cheapest", "as soon as possible", "minimise time to completion".

use std::sync::LazyLock;

use protocol::understanding::Intent;

use crate::meaning::Meaning;
use crate::phrase::PhraseTable;
use crate::reading::Reading;

static TABLE: LazyLock<PhraseTable<Intent>> = LazyLock::new(|| {
    use Intent::{Balanced, Cheapest, Fastest, Soonest};
    PhraseTable::new(&[
        ("cheapest possible? option?|place?|way?|site?|one?", Cheapest),
        ("cheaply|inexpensively|frugally", Cheapest),
        ("cheap|inexpensive|low-cost", Cheapest),
        (
            "as cheap|cheaply|inexpensive|inexpensively|economical as possible|you can|we can|it gets",
            Cheapest,
        ),
        ("least|less expensive|costly", Cheapest),
        ("lowest|least|minimum|smallest possible? cost|costs|price|bill|spend", Cheapest),
        (
            "minimise|reduce|limit|lower the|my|our|total|overall? cost|costs|spend|spending|price|expense|expenses|bill|money spent?",
            Cheapest,
        ),
        ("keep the? cost|costs|price|spending|bill|it|this down|low|minimum|cheap", Cheapest),
        ("low|lower cost|costs|price", Cheapest),
        ("save|saving me? money|costs", Cheapest),
        (
            "most|more economical|economic|affordable|cost-efficient|cost-effective|cost efficient|effective",
            Cheapest,
        ),
        ("spend|spending|cost|costs|pay as little|less as possible", Cheapest),
        ("as little money|cost as possible", Cheapest),
        ("best price|deal|bargain", Cheapest),
        ("cost|price is|matters|comes what? most|first|matters? most?|key?|the? priority?", Cheapest),
        ("cost|price|money over|before|rather|above|more than|then? speed|time|performance", Cheapest),
        (
            "prioritise|optimise|optimising|prioritising for? low|lower|lowest|minimum? cost|price|costs|money",
            Cheapest,
        ),
        ("cost-optimised|cost-optimal|cost-sensitive|budget-friendly", Cheapest),
        ("on a shoestring|tight budget?", Cheapest),
        ("as soon as possible|you can|we can|it|can|feasible|practical", Soonest),
        ("asap", Soonest),
        ("a.s.a.p", Soonest),
        ("soonest possible? start?", Soonest),
        ("at the? earliest", Soonest),
        ("earliest possible? start|slot|available|possible|opportunity|time", Soonest),
        ("start|starts|starting|begin|run first|earliest|soonest", Soonest),
        ("as early as possible", Soonest),
        ("first available slot?|site?|place?|cluster?|machine?", Soonest),
        ("shortest|minimum|least|lowest possible? wait|queue|waiting|queueing time?|times?|delay?", Soonest),
        ("minimise|reduce the|my? wait|queue|queueing|waiting|start time|delay|times?", Soonest),
        (
            "whoever|whatever|whichever|wherever can? starts|start|is|available first|soonest|earliest",
            Soonest,
        ),
        ("start as soon|early as possible|you can", Soonest),
        ("fastest possible? option?|turnaround?|place?|run?|way?|site?|time?|machine?", Fastest),
        ("quickest possible? option?|turnaround?|place?|way?|time?", Fastest),
        ("speediest", Fastest),
        ("as fast|quick|quickly|speedily as possible|you can|we can|it gets|can be", Fastest),
        (
            "minimise|reduce|shorten the|my|total|overall? time|makespan|time-to-solution|time-to-completion|runtime|turnaround|walltime|duration|run|wall|wall-clock|completion time?|to? solution?|completion?|result?|results?|finish?|complete?",
            Fastest,
        ),
        (
            "minimum|shortest|least|lowest|best possible? time|makespan|time-to-solution|runtime|turnaround|run|completion time?|to? solution?|completion?|results?|finish?",
            Fastest,
        ),
        (
            "finish|finished|done|complete|completed|ends|end|ready|over as soon|quickly|early|fast as possible|you can",
            Fastest,
        ),
        ("finish|finished|done|complete|completed asap|first|soonest|earliest|fastest", Fastest),
        ("earliest|soonest possible? finish|completion|end|results|result", Fastest),
        ("results|result|answer|output asap", Fastest),
        ("results|result|answer as soon|fast|quickly as possible", Fastest),
        ("maximum|maximise|best|highest|top speed|performance|throughput", Fastest),
        (
            "speed|time|performance is|matters|comes what? most|first|matters? most?|key?|the? priority?|of? the? essence?",
            Fastest,
        ),
        ("speed|time|performance over|before|above|rather than? cost|price|money", Fastest),
        (
            "prioritise|optimise|optimising|prioritising for? speed|time|runtime|performance|turnaround|fast|the? shortest? completion? time?",
            Fastest,
        ),
        ("money|cost|price|budget is? no object|issue|concern|matter|problem", Fastest),
        ("money|cost|price doesn't|don't matter", Fastest),
        ("money|cost|price|budget does|is|are not matter|important|relevant|an? issue?", Fastest),
        ("regardless|irrespective of the? cost|price|expense", Fastest),
        ("whatever it|the costs|cost|takes|price", Fastest),
        ("at any cost|price", Fastest),
        ("don't|do not? care about|what|how the|much|it? cost|price|money|costs", Fastest),
        (
            "best trade-off|tradeoff|balance|compromise|value between|of|for? cost?|price?|time?|money?|speed?|and? cost?|price?|time?|speed?|money?",
            Balanced,
        ),
        ("balance|balanced|balancing cost|price|speed|time|between? and? cost|speed|time|price", Balanced),
        ("balanced", Balanced),
        (
            "good balance|compromise|tradeoff|trade-off between|of? cost|speed|time|price and cost|speed|time|price",
            Balanced,
        ),
        ("reasonable|fair price|cost|balance", Balanced),
    ])
});

pub fn read(reading: &mut Reading<'_>) {
    let mut at = 0;
    while at < reading.len() {
        let Some((intent, next)) = TABLE.at(reading, at).filter(|_| !is_negated(reading, at)) else {
            at += 1;
            continue;
        };
        reading.find(at..next, Meaning::Intent(intent));
        at = next;
    }
}

/// "not the cheapest", "doesn't have to be the fastest".
fn is_negated(reading: &Reading<'_>, at: usize) -> bool {
    (1..=5).take_while(|back| at.checked_sub(*back).is_some_and(|before| !reading.is_break(before))).any(
        |back| matches!(reading.word_before(at, back), "not" | "needn't" | "doesn't" | "don't" | "isn't"),
    )
}
