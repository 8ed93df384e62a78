//! Text that tries to instruct the system instead of saying what is needed: choosing the worker,
//! setting scores or trust, lifting rules. It is listed, never followed.

use std::sync::LazyLock;

use crate::phrase::PhraseTable;
use crate::reading::Reading;

const REASON: &str = "tries to instruct the system; a request only says what is needed";
const WORKER_REASON: &str =
    "a worker cannot be chosen in the text; name the workers to ask in the request's `workers`";

static TABLE: LazyLock<PhraseTable<&str>> = LazyLock::new(|| {
    PhraseTable::new(&[
        (
            "ignore|disregard|forget|override|overrule|bypass|skip ... message|messages|context|conversation|text|request|requests|instructions|instruction|rules|rule|prompt|prompts|guidelines|policy|policies|restrictions|checks|limits|safeguards|gates|gate|audit|audits",
            REASON,
        ),
        ("ignore|disregard|forget everything|anything|all|what", REASON),
        (
            "ignore|disregard|bypass|override the? constraints|requirements|weights|trust|scores|score|factors",
            REASON,
        ),
        ("do|don't not? verify|audit|check the|any|my|its|their|claims|proposals|proposal", REASON),
        (
            "you are|must|will|should now? a|an|the|act|pretend|obey|comply|always|never|only select|choose",
            REASON,
        ),
        ("you are now", REASON),
        (
            "you must|should|will|shall always? pick|choose|select|answer|say|reply|return|report|output|award|ignore|give|set|mark|rank",
            REASON,
        ),
        ("act as", REASON),
        ("pretend", REASON),
        ("roleplay", REASON),
        ("jailbreak", REASON),
        ("system|developer|hidden|secret prompt|message|instructions|instruction", REASON),
        ("system|assistant|developer override", REASON),
        ("new instructions|instruction", REASON),
        (
            "reveal|print|show|leak|repeat|tell|expose|dump me|us? the|your|all|every? the|your? hidden|system|internal|secret|other? prompt|secrets|secret|instructions|password|passwords|credentials|weights|proposals",
            REASON,
        ),
        (
            "always|only|please|just|simply? pick|choose|select|award|prefer|favour|favor|use|recommend|assign|nominate the|a? worker|workers|secretary|site|bidder",
            WORKER_REASON,
        ),
        (
            "always|automatically pick|choose|select|award|prefer|favour|favor|recommend|assign|accept|approve",
            REASON,
        ),
        (
            "pick|choose|select|award|favour|favor|recommend this|my|our|me|us|his|their proposal|worker|bid|site|cluster",
            REASON,
        ),
        ("on|to|at|by|via|use|using|through worker|workers", WORKER_REASON),
        ("award everything|all|anything|it|this|them|the_job|the_work ... to?", REASON),
        (
            "secretary|secretaries|hub|selector|auditor|worker|workers must|should|has_to|have_to|needs_to|need_to|will|shall always|just|only? report|answer|say|claim|return|reply|accept|approve|choose|pick|ignore|award|prefer|select|rank",
            REASON,
        ),
        ("give|grant|assign|award ... score|scores|trust|rank|rating", REASON),
        (
            "set|change|raise|increase|lower|reset|make|update|adjust|modify|boost|put ... trust|score|scores|rank|ranking|verdict|weight|weights|reputation|rating|honesty",
            REASON,
        ),
        (
            "rank|rate|score|mark|flag|treat|declare it|me|this|us|worker|him|them|all|my|its|every|any|workers ... as? first|highest|top|best|winner|trusted|ready|passed|verified|approved|compatible|incompatible|untrusted|liar",
            REASON,
        ),
        ("rank it|this|me|us|worker", REASON),
        ("trust|believe worker|workers|me|this|every|all|my", REASON),
        ("my|its|the|their trust|reputation|score is|must|should|to|=|be", REASON),
        ("score|trust|verdict of|is|to|must|should|be? ready|infinite|perfect|full|100|zero", REASON),
        (
            "answer|reply|respond|say|return|output only|with|always|just|that ... ready|verdict|json|yes|incompatible|compatible",
            REASON,
        ),
        (
            "exclude|reject|disqualify|ban|quarantine|penalise|penalize|downrank all|every|each|any the? other|others workers|worker|proposals|bids|sites|ones",
            REASON,
        ),
        ("reject|disqualify|ignore all|every|any other|others", REASON),
        (
            "without|skip|skipping|disable the|any? audit|audits|auditing|verification|verifying|checking|gate|gates|trust",
            REASON,
        ),
        ("approve|accept|authorise|authorize automatically|everything|anything|all|without", REASON),
        ("this is an? order|override|instruction", REASON),
        ("admin|administrator|developer|god|debug|sudo mode|override", REASON),
    ])
});

/// Words that may stand in front of an instruction and belong to it.
const LEAD: &[&str] =
    &["please", "also", "and", "then", "now", "you", "must", "should", "kindly", "just", "always"];

pub fn read(reading: &mut Reading<'_>) {
    let mut at = 0;
    while at < reading.len() {
        let Some((reason, next)) = TABLE.at(reading, at).filter(|(reason, next)| {
            !(is_avoided(reading, at) || *reason == WORKER_REASON && describes(reading, *next))
        }) else {
            at += 1;
            continue;
        };
        let mut start = at;
        while start > 0 && LEAD.contains(&reading.word(start - 1)) && reading.word(start - 1) != "and" {
            start -= 1;
        }
        let end = instruction_end(reading, next);
        reading.refuse(start..end, reason);
        at = end;
    }
}

/// "On workers with label site=lab", "on worker nodes" describe workers and name none.
fn describes(reading: &Reading<'_>, next: usize) -> bool {
    matches!(reading.word(next - 1), "worker" | "workers")
        && matches!(
            reading.word(next),
            "nodes"
                | "node"
                | "with"
                | "labelled"
                | "tagged"
                | "that"
                | "which"
                | "having"
                | "in"
                | "at"
                | "from"
                | "where"
                | "whose"
                | "label"
                | "machines"
        )
}

/// "Not on worker foo", "anywhere but worker foo" are exclusions, which a request may have.
fn is_avoided(reading: &Reading<'_>, at: usize) -> bool {
    let negators = [
        "not",
        "never",
        "don't",
        "avoid",
        "but",
        "except",
        "exclude",
        "than",
        "shouldn't",
        "off",
        "can't",
        "cannot",
    ];
    (1..=3).any(|back| negators.contains(&reading.word_before(at, back)))
        && matches!(
            reading.word(at),
            "on" | "to"
                | "at"
                | "by"
                | "via"
                | "use"
                | "using"
                | "through"
                | "trust"
                | "pick"
                | "choose"
                | "select"
        )
}

/// An instruction reaches to the end of its clause, or to an "and" behind which the request goes on.
fn instruction_end(reading: &Reading<'_>, from: usize) -> usize {
    let goes_on = |at: usize| {
        matches!(
            reading.word(at),
            "run"
                | "i"
                | "we"
                | "need"
                | "use"
                | "using"
                | "on"
                | "with"
                | "for"
                | "budget"
                | "find"
                | "execute"
                | "train"
                | "backtest"
                | "launch"
                | "at"
                | "within"
                | "under"
        )
    };
    let mut at = from;
    while at < reading.len() {
        let ends = matches!(reading.any_symbol(at), Some('\n' | ';' | '!' | '?' | ','))
            || reading.any_symbol(at) == Some('<')
            || reading.any_symbol(at) == Some('.')
                && !reading.tokens.get(at + 1).is_some_and(|token| token.glued)
            || matches!(reading.word(at), "and" | "then" | "but") && goes_on(at + 1)
            || matches!(reading.word(at), "for" | "with" | "because" | "since") && at > from;
        if ends {
            break;
        }
        at += 1;
    }
    at
}
