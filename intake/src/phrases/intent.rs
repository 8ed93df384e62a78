//! What matters most: "cheapest", "as soon as possible", "minimise time to completion".

use std::sync::LazyLock;

use protocol::understanding::Intent;

use crate::meaning::{Meaning, Piece};
use crate::phrase::PhraseTable;
use crate::reading::Reading;

static TABLE: LazyLock<PhraseTable<Intent>> = LazyLock::new(|| {
    use Intent::{Balanced, Cheapest, Fastest, Soonest};
    PhraseTable::new(&[
        ("cheapest possible? option|place|way|site|one|available?", Cheapest),
        ("cheaply|inexpensively|frugally", Cheapest),
        ("cheap|inexpensive|low-cost", Cheapest),
        (
            "as cheap|cheaply|inexpensive|inexpensively|economical|economically as possible|you_can|we_can|it_gets|can_be",
            Cheapest,
        ),
        ("least|less expensive|costly", Cheapest),
        ("lowest|least|minimum|smallest|lower possible? cost|costs|price|prices|bill|spend", Cheapest),
        (
            "minimise|reduce|limit|lower the|my|our|total|overall|what? total|overall? cost|costs|spend|spending|price|expense|expenses|bill|it_costs|money_spent",
            Cheapest,
        ),
        (
            "keep the? cost|costs|price|spending|bill|it|this|things down|low|minimum|cheap|as_low_as_possible|to_a_minimum|to_the_minimum",
            Cheapest,
        ),
        ("low cost|costs|price", Cheapest),
        ("save|saving me|us? money|costs", Cheapest),
        (
            "most|more economical|economic|affordable|cost-efficient|cost-effective|cost_efficient|cost_effective",
            Cheapest,
        ),
        ("spend|spending|cost|costs|pay|paying as little|less money? as possible|we_can|i_can", Cheapest),
        ("as little money|cost|budget as possible", Cheapest),
        ("as cost-effective|cost-efficient|affordable as possible", Cheapest),
        ("best price|deal|bargain", Cheapest),
        (
            "cost|price is|comes what|the|most? most|first|key|important|critical|priority|paramount|everything matters|important|priority|concern?",
            Cheapest,
        ),
        ("cost|price matters most|more?", Cheapest),
        (
            "cost|price|money matters|is|counts more|most? important? than speed|time|performance|runtime",
            Cheapest,
        ),
        (
            "cost|price|money over|before|above|rather_than|more_than|then speed|time|performance|runtime",
            Cheapest,
        ),
        (
            "prioritise|optimise|optimising|prioritising for? low|lower|lowest|minimum|the? cost|price|costs|money",
            Cheapest,
        ),
        ("cost-optimised|cost-optimal|cost-sensitive|budget-friendly|cost-conscious", Cheapest),
        ("on a shoestring|tight_budget budget?", Cheapest),
        ("whichever|whatever|wherever|whoever is|costs|charges the? cheapest|least|lowest|less", Cheapest),
        (
            "as soon as possible|you_can|we_can|it_can|can_be|feasible|practical|practicable|humanly_possible",
            Soonest,
        ),
        ("asap", Soonest),
        ("a.s.a.p", Soonest),
        ("soonest possible? start|slot|available?", Soonest),
        ("at the? earliest possible? opportunity|time|moment|convenience?", Soonest),
        ("earliest possible? start|slot|available|possible|opportunity|time|start_time", Soonest),
        (
            "start|starts|starting|begin|begins run? first|earliest|soonest|as_soon_as_possible|as_early_as_possible|asap|as_soon_as_you_can",
            Soonest,
        ),
        ("as early as possible|you_can", Soonest),
        ("first available slot|site|place|cluster|machine|one?", Soonest),
        (
            "shortest|minimum|least|lowest|smallest possible? wait|queue|waiting|queueing|queuing|delay time|times|delay?",
            Soonest,
        ),
        (
            "minimise|reduce|shorten the|my|our? wait|queue|queueing|waiting|queuing|start|delay|time_to_start|time_in_the_queue|time_in_queue time|times?",
            Soonest,
        ),
        (
            "whoever|whatever|whichever|wherever can|could|would? starts|start|is|available|run|launch|begin it|me|this|us? first|soonest|earliest|sooner",
            Soonest,
        ),
        (
            "fastest possible? option|turnaround|place|run|way|site|time|machine|completion|finish|results|result?",
            Fastest,
        ),
        ("quickest possible? option|turnaround|place|way|time|completion|finish|results|result?", Fastest),
        ("speediest", Fastest),
        ("as fast|quick|quickly|speedily|rapidly as possible|you_can|we_can|it_gets|can_be|it_can", Fastest),
        ("quickly|rapidly|swiftly", Fastest),
        (
            "minimise|reduce|shorten the|my|our|total|overall? total|overall? time|makespan|time-to-solution|time-to-completion|time-to-result|time-to-results|runtime|turnaround|walltime|duration|run_time|wall_time|wall-clock|completion|turn-around time? to|until? the|a? solution|completion|result|results|finish|complete|end?",
            Fastest,
        ),
        (
            "minimum|shortest|least|lowest|best|smallest possible? time|makespan|time-to-solution|runtime|turnaround|run_time|completion|turn-around time? to|until? the|a? solution|completion|result|results|finish|complete|end?",
            Fastest,
        ),
        (
            "finish|finished|done|complete|completed|ends|end|ready|over as soon|quickly|early|fast as possible|you_can|we_can|it_can",
            Fastest,
        ),
        (
            "finish|finished|done|complete|completed|finishes|completes it|the_job|the_work|this? asap|first|soonest|earliest|fastest|fast|quickly|quick|sooner",
            Fastest,
        ),
        ("earliest|soonest possible? finish|completion|end|results|result|finish_time|end_time", Fastest),
        ("results|result|answer|answers|output asap|fast|quickly", Fastest),
        (
            "results|result|answer|answers|output as soon|fast|quickly|early as possible|you_can|we_can",
            Fastest,
        ),
        ("maximum|maximise|best|highest|top speed|performance|throughput", Fastest),
        (
            "speed|time|performance|runtime|turnaround is|comes what|the|most|of? most|first|key|important|critical|priority|paramount|everything|essence|the_essence matters|important|priority|concern?",
            Fastest,
        ),
        ("speed|time|performance|runtime matters most|more?", Fastest),
        (
            "speed|time|performance|runtime matters|is|counts more|most? important? than cost|price|money|costs",
            Fastest,
        ),
        (
            "speed|time|performance|runtime over|before|above|rather_than|more_than cost|price|money|costs",
            Fastest,
        ),
        (
            "prioritise|optimise|optimising|prioritising for? the? speed|time|runtime|performance|turnaround|shortest|fast|minimum completion? time?",
            Fastest,
        ),
        ("money|cost|price|budget is? no object|issue|concern|matter|problem|consideration", Fastest),
        ("money|cost|price|budget doesn't|don't|does_not|do_not matter", Fastest),
        (
            "money|cost|price|budget is|are not|irrelevant|unimportant important|relevant|an_issue|a_problem|a_concern?",
            Fastest,
        ),
        ("regardless|irrespective of the? cost|price|expense|costs", Fastest),
        ("no matter what? the|how_much_it? cost|price|costs", Fastest),
        ("whatever it|the costs|cost|takes|price", Fastest),
        ("at any cost|price", Fastest),
        ("don't|do not? care about|what|how? the|much|it? cost|price|money|costs|it_costs", Fastest),
        (
            "whichever|whatever|whoever|wherever would|will|can|could? finishes|finish|completes|complete|ends it|this|me? first|soonest|earliest|sooner",
            Fastest,
        ),
        (
            "best|good|reasonable|fair trade-off|tradeoff|balance|compromise|value|mix between|of|for? cost|price|time|money|speed? and? cost|price|time|speed|money?",
            Balanced,
        ),
        (
            "balance|balanced|balancing between|of? cost|price|speed|time and|with|against cost|speed|time|price",
            Balanced,
        ),
        ("balanced", Balanced),
        ("reasonable|fair price|cost", Balanced),
        (
            "trade-off|tradeoff|compromise between|of cost|speed|time|price and cost|speed|time|price",
            Balanced,
        ),
    ])
});

pub fn read(reading: &mut Reading<'_>) {
    let mut at = 0;
    while at < reading.len() {
        let found = TABLE.at(reading, at).filter(|_| !is_negated(reading, at));
        at = match found {
            Some((intent, next)) => {
                reading.find(at..next, Meaning::Intent(intent));
                next
            }
            None => {
                finish_first(reading, at);
                at + 1
            }
        };
    }
}

/// "which site can finish a 10-node CESM run first?": the words between belong to the demand.
fn finish_first(reading: &mut Reading<'_>, at: usize) {
    if !matches!(reading.word(at), "finish" | "finishes" | "complete" | "completes") {
        return;
    }
    let reach = (at + 1..at + 10).take_while(|next| !reading.is_break(*next));
    let Some(last) =
        reach.into_iter().find(|next| matches!(reading.word(*next), "first" | "soonest" | "earliest"))
    else {
        return;
    };
    let piece = |tokens: std::ops::Range<usize>| Piece { tokens, leaf: "" };
    reading.find_pieces(vec![piece(at..at + 1), piece(last..last + 1)], Meaning::Intent(Intent::Fastest));
}

/// "not the cheapest", "doesn't have to be the fastest".
fn is_negated(reading: &Reading<'_>, at: usize) -> bool {
    (1..=5).take_while(|back| at.checked_sub(*back).is_some_and(|before| !reading.is_break(before))).any(
        |back| matches!(reading.word_before(at, back), "not" | "needn't" | "doesn't" | "don't" | "isn't"),
    )
}
