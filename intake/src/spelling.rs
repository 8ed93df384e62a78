//! One spelling for words that have several, and slips of the keyboard in words that matter.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use crate::english::is_plain;
use crate::lexicon;
use crate::vocabulary::Vocabulary;

/// Other spellings and frequent slips, with the spelling that the matchers use.
const SPELLINGS: &[(&str, &str)] = &[
    ("\u{d7}", "x"),
    ("minimize", "minimise"),
    ("minimized", "minimise"),
    ("minimised", "minimise"),
    ("minimizing", "minimise"),
    ("minimising", "minimise"),
    ("minimizes", "minimise"),
    ("minimises", "minimise"),
    ("minimal", "minimum"),
    ("optimize", "optimise"),
    ("optimizing", "optimise"),
    ("optimising", "optimise"),
    ("optimized", "optimise"),
    ("optimised", "optimise"),
    ("prioritize", "prioritise"),
    ("prioritizing", "prioritise"),
    ("prioritising", "prioritise"),
    ("maximize", "maximise"),
    ("maximizing", "maximise"),
    ("maximising", "maximise"),
    ("containerized", "containerised"),
    ("containerize", "containerised"),
    ("labeled", "labelled"),
    ("canceled", "cancelled"),
    ("utilize", "use"),
    ("utilizing", "using"),
    ("utilise", "use"),
    ("utilising", "using"),
    ("center", "centre"),
    ("centers", "centres"),
    ("modeling", "modelling"),
    ("annualization", "annualisation"),
    ("analyze", "analyse"),
    ("normalize", "normalise"),
    ("infinband", "infiniband"),
    ("infiniban", "infiniband"),
    ("infininband", "infiniband"),
    ("inifiniband", "infiniband"),
    ("infinibad", "infiniband"),
    ("infiband", "infiniband"),
    ("kuberntes", "kubernetes"),
    ("kubernets", "kubernetes"),
    ("kubernetees", "kubernetes"),
    ("kubenetes", "kubernetes"),
    ("kuberenetes", "kubernetes"),
    ("singularty", "singularity"),
    ("singulrity", "singularity"),
    ("singularoty", "singularity"),
    ("aptainer", "apptainer"),
    ("apptaner", "apptainer"),
    ("slrum", "slurm"),
    ("slurn", "slurm"),
    ("luster", "lustre"),
    ("ethernt", "ethernet"),
    ("etherent", "ethernet"),
    ("cheepest", "cheapest"),
    ("cheapst", "cheapest"),
    ("chepest", "cheapest"),
    ("fastes", "fastest"),
    ("soonst", "soonest"),
    ("imediately", "immediately"),
    ("immediatly", "immediately"),
    ("immediatley", "immediately"),
    ("immedietly", "immediately"),
    ("tommorow", "tomorrow"),
    ("tommorrow", "tomorrow"),
    ("tomorow", "tomorrow"),
    ("tonite", "tonight"),
    ("budjet", "budget"),
    ("buget", "budget"),
    ("bugdet", "budget"),
    ("doller", "dollar"),
    ("dollers", "dollars"),
    ("memroy", "memory"),
    ("memmory", "memory"),
    ("momory", "memory"),
    ("stroage", "storage"),
    ("storge", "storage"),
    ("nodse", "nodes"),
    ("ndoes", "nodes"),
    ("noeds", "nodes"),
    ("noes", "nodes"),
    ("croes", "cores"),
    ("coers", "cores"),
    ("cors", "cores"),
    ("gups", "gpus"),
    ("gpu's", "gpus"),
    ("gpuss", "gpus"),
    ("gpsu", "gpus"),
    ("cpu's", "cpus"),
    ("h100's", "h100s"),
    ("a100's", "a100s"),
    ("hrs", "hours"),
    ("hourse", "hours"),
    ("huors", "hours"),
    ("minuts", "minutes"),
    ("minuets", "minutes"),
    ("deadine", "deadline"),
    ("dedline", "deadline"),
    ("dead-line", "deadline"),
    ("atleast", "at-least"),
    ("verison", "version"),
    ("versoin", "version"),
    ("verions", "version"),
    ("backtset", "backtest"),
    ("bactest", "backtest"),
    ("back-test", "backtest"),
    ("back-testing", "backtesting"),
    ("forrest", "forest"),
    ("forst", "forest"),
    ("thier", "their"),
    ("wtih", "with"),
    ("wiht", "with"),
    ("u", "you"),
    ("whith", "with"),
    ("nad", "and"),
    ("adn", "and"),
    ("teh", "the"),
    ("pls", "please"),
    ("plz", "please"),
    ("thx", "thanks"),
    ("dont", "don't"),
    ("doesnt", "doesn't"),
    ("cant", "can't"),
    ("isnt", "isn't"),
    ("im", "i'm"),
    ("ive", "i've"),
    ("whats", "what's"),
    ("gotta", "must"),
    ("wanna", "want"),
    ("gonna", "will"),
];

static SPELLING: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| SPELLINGS.iter().copied().collect());

/// The usual spelling of a word that is known to have another one.
#[must_use]
pub fn usual(word: &str) -> Option<&'static str> {
    SPELLING.get(word).copied()
}

/// Words of the grammar that are worth recognising with one slip in them.
const KEYWORDS: &str = "
nodes cores tasks ranks processes processors memory storage scratch infiniband omnipath ethernet singularity apptainer
podman docker kubernetes slurm lustre container containers cheapest fastest soonest immediately tonight tomorrow budget
dollars deadline hours minutes seconds version backtest backtesting forest minimise completion possible without urgent
whenever accelerators gigabytes terabytes monday tuesday wednesday thursday friday saturday sunday midnight machines
crossover regression logistic gradient strategy overnight walltime
";

/// The letters of a word, its first one fixed, with one of them left out or two neighbours swapped: two
/// words with a common form are one slip apart (or nearly).
fn forms(word: &str) -> impl Iterator<Item = String> + '_ {
    let letters: Vec<char> = word.chars().collect();
    let without = {
        let letters = letters.clone();
        (1..letters.len()).map(move |skip| {
            letters.iter().enumerate().filter(|(at, _)| *at != skip).map(|(_, c)| *c).collect::<String>()
        })
    };
    let swapped = (1..letters.len().saturating_sub(1)).map(move |at| {
        let mut letters = letters.clone();
        letters.swap(at, at + 1);
        letters.into_iter().collect::<String>()
    });
    without.chain(swapped)
}

/// Every form of every word that is looked for, with the word; `None` where two words share a form.
static SLIPS: LazyLock<HashMap<String, Option<&'static str>>> = LazyLock::new(|| {
    let packages = lexicon::software_names().filter(|name| name.len() >= 7);
    let words: HashSet<&str> = KEYWORDS.split_whitespace().chain(packages).collect();
    let words = || words.iter().copied().filter(|word| word.bytes().all(|b| b.is_ascii_lowercase()));
    let mut index: HashMap<String, Option<&'static str>> = HashMap::new();
    for word in words() {
        for form in forms(word) {
            let known = index.entry(form).or_insert(Some(word));
            if *known != Some(word) {
                *known = None;
            }
        }
    }
    // A word's own spelling is nobody else's slip.
    index.extend(words().map(|word| (word.to_owned(), Some(word))));
    index
});

/// The word that was meant, where an unknown one is a slip away from exactly one that matters: a
/// letter missing, doubled or swapped with its neighbour. Another letter in the place of one is taken
/// for a slip only in words of seven letters and more.
#[must_use]
pub fn meant(word: &str, vocabulary: &Vocabulary) -> Option<&'static str> {
    let length = word.len();
    if !(5..=16).contains(&length) || !word.bytes().all(|b| b.is_ascii_lowercase()) {
        return None;
    }
    if is_plain(word) || lexicon::is_reserved(word) || vocabulary.software(word).is_some() {
        return None;
    }
    let mut found: Option<&'static str> = None;
    let own = std::iter::once(word.to_owned());
    for form in own.chain(forms(word)) {
        let Some(target) = SLIPS.get(&form).copied().flatten() else { continue };
        if !is_one_slip(word, target) {
            continue;
        }
        if found.is_some_and(|other| other != target) {
            return None;
        }
        found = Some(target);
    }
    found
}

/// Whether one slip turns one word into the other.
fn is_one_slip(word: &str, target: &str) -> bool {
    let (a, b) = (word.as_bytes(), target.as_bytes());
    let same_start = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (rest_a, rest_b) = (&a[same_start..], &b[same_start..]);
    match a.len().abs_diff(b.len()) {
        0 => match (rest_a, rest_b) {
            ([x, y, tail_a @ ..], [p, q, tail_b @ ..]) if x == q && y == p && tail_a == tail_b => true,
            ([_, tail_a @ ..], [_, tail_b @ ..]) => tail_a == tail_b && a.len() >= 7,
            _ => false,
        },
        1 if a.len() > b.len() => rest_a.get(1..).is_some_and(|tail| tail == rest_b),
        1 => rest_b.get(1..).is_some_and(|tail| tail == rest_a),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_mended_and_words_left_alone() {
        let vocabulary = Vocabulary::shipped();
        for (word, expected) in [
            ("gromcas", Some("gromacs")),
            ("tensorfow", Some("tensorflow")),
            ("infinibnad", Some("infiniband")),
            ("kuberneets", Some("kubernetes")),
            ("cheapset", Some("cheapest")),
            ("noodes", Some("nodes")),
            ("modes", None),
            ("gromacs", None),
            ("scores", None),
            ("bananas", None),
        ] {
            assert_eq!(meant(word, &vocabulary), expected, "{word}");
        }
        let mut vocabulary = Vocabulary::shipped();
        vocabulary.add_software("gromcas");
        assert_eq!(meant("gromcas", &vocabulary), None);
    }
}
