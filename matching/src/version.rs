//! Versions as tools print them, and constraints on them.
//!
//! A version is cut into parts: runs of digits, compared as numbers of any length, and words. A word
//! that announces a pre-release (`rc`, `alpha`, `beta`, `dev`) sorts before the release, any other
//! word behind it (`1.1.1w`, `update1`). A day with its month in letters (`23Jun2022`, as LAMMPS
//! prints it) is the number 20220623. What follows a `+` says how a version was built and is left out.

use std::borrow::Cow;
use std::cmp::Ordering;

/// Text beyond this many characters is not part of a version; no real one is nearly as long.
const MAX_CHARS: usize = 128;

/// How many comparisons one constraint may join.
const MAX_COMPARISONS: usize = 16;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Words that announce a pre-release, in the order in which they come before the release.
const PRE_RELEASES: [(&str, u8); 9] = [
    ("dev", 0),
    ("snapshot", 0),
    ("nightly", 0),
    ("alpha", 1),
    ("beta", 2),
    ("pre", 3),
    ("preview", 3),
    ("rc", 4),
    ("cr", 4),
];

/// One part of a version. The end of a version sorts behind `Pre` and before everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// A word that announces a pre-release, by its place in the order.
    Pre(u8),
    /// Another word.
    Word(String),
    /// Digits without leading zeros, empty for zero, so that no number is too long.
    Number(String),
}

impl Part {
    /// The end of a version has the rank 1, between a pre-release and anything that was added later.
    const fn rank(&self) -> u8 {
        match self {
            Self::Pre(_) => 0,
            Self::Word(_) => 2,
            Self::Number(_) => 3,
        }
    }

    fn is_zero(&self) -> bool {
        matches!(self, Self::Number(digits) if digits.is_empty())
    }

    fn number(digits: &str) -> Self {
        Self::Number(digits.trim_start_matches('0').to_owned())
    }
}

const END_RANK: u8 = 1;

impl Ord for Part {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Pre(a), Self::Pre(b)) => a.cmp(b),
            (Self::Word(a), Self::Word(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Part {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A version, ready to be compared. Two spellings of one version (`1.2`, `v1.2.0`) are equal.
#[derive(Debug, Clone)]
pub struct Version {
    /// The parts as written, on which prefixes are matched.
    written: Vec<Part>,
    /// The same without zeros that say nothing, on which the order is defined.
    ordered: Vec<Part>,
}

impl Version {
    /// Reads any text; what is neither an ASCII letter nor a digit only separates.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::from_parts(parts(text))
    }

    fn from_parts(written: Vec<Part>) -> Self {
        let mut ordered: Vec<Part> = Vec::with_capacity(written.len());
        for part in &written {
            if !matches!(part, Part::Number(_)) {
                drop_trailing_zeros(&mut ordered);
            }
            ordered.push(part.clone());
        }
        drop_trailing_zeros(&mut ordered);
        Self { written, ordered }
    }

    /// Whether the version begins with the parts of another: `2023` with `2023.3`, but not with
    /// `2023rc1`, which comes before it.
    fn begins_with(&self, prefix: &[Part]) -> bool {
        self.written.starts_with(prefix) && !matches!(self.written.get(prefix.len()), Some(Part::Pre(_)))
    }

    fn is_series(&self, named: &Self) -> bool {
        self == named || self.begins_with(&named.written)
    }

    /// This version with a leading `20230802` as `2023.8.2`, if it has one.
    fn with_split_date(&self) -> Option<Self> {
        let Some(Part::Number(digits)) = self.written.first() else { return None };
        if digits.len() != 8 || !is_year(digits.get(..4)?) {
            return None;
        }
        let mut parts = vec![
            Part::number(digits.get(..4)?),
            Part::number(digits.get(4..6)?),
            Part::number(digits.get(6..)?),
        ];
        parts.extend_from_slice(self.written.get(1..)?);
        Some(Self::from_parts(parts))
    }

    fn begins_with_year(&self) -> bool {
        matches!(self.written.first(), Some(Part::Number(digits)) if is_year(digits))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let mut theirs = other.ordered.iter();
        for part in &self.ordered {
            let order = theirs.next().map_or(part.rank().cmp(&END_RANK), |their| part.cmp(their));
            if order != Ordering::Equal {
                return order;
            }
        }
        theirs.next().map_or(Ordering::Equal, |their| END_RANK.cmp(&their.rank()))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.ordered == other.ordered
    }
}

impl Eq for Version {}

fn drop_trailing_zeros(parts: &mut Vec<Part>) {
    while parts.last().is_some_and(Part::is_zero) {
        parts.pop();
    }
}

fn is_year(digits: &str) -> bool {
    digits.len() == 4 && ("1990".."2100").contains(&digits)
}

/// Cuts a text into parts, drops the name in front of the first number (`v`, `stable_`, `gcc-`) and
/// joins a day with its month in letters.
fn parts(text: &str) -> Vec<Part> {
    let text: String = text.chars().take(MAX_CHARS).collect::<String>().to_ascii_lowercase();
    let released = text.split_once('+').map_or(text.as_str(), |(front, _)| front);
    let runs = runs(released);
    let first = runs.iter().position(|run| is_digits(run)).unwrap_or(0);
    let runs = runs.get(first..).unwrap_or_default();

    let mut parts = Vec::with_capacity(runs.len());
    let mut rest = runs;
    while let Some((run, behind)) = rest.split_first() {
        if let [day, month, year, further @ ..] = rest
            && let Some(date) = date(day, month, year)
        {
            parts.push(date);
            rest = further;
            continue;
        }
        if is_digits(run) {
            parts.push(Part::number(run));
        } else {
            parts.push(word(run, behind.first().is_some_and(|next| is_digits(next))));
        }
        rest = behind;
    }
    parts
}

/// Runs of ASCII digits and runs of ASCII letters.
fn runs(text: &str) -> Vec<&str> {
    let mut runs = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let run = &rest[start..];
        let digits = run.starts_with(|c: char| c.is_ascii_digit());
        let end = run
            .find(|c: char| if digits { !c.is_ascii_digit() } else { !c.is_ascii_alphabetic() })
            .unwrap_or(run.len());
        runs.push(&run[..end]);
        rest = &run[end..];
    }
    runs
}

fn is_digits(run: &str) -> bool {
    run.starts_with(|c: char| c.is_ascii_digit())
}

fn word(run: &str, before_number: bool) -> Part {
    // `1.0a2` and `1.0b2` are Python's alpha and beta; `1.1.1a` and `2023b` are later letters.
    let name = match run {
        "a" if before_number => "alpha",
        "b" if before_number => "beta",
        "c" if before_number => "rc",
        other => other,
    };
    PRE_RELEASES
        .iter()
        .find(|(known, _)| *known == name)
        .map_or_else(|| Part::Word(run.to_owned()), |(_, place)| Part::Pre(*place))
}

fn date(day: &str, month: &str, year: &str) -> Option<Part> {
    let day: u32 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    if month.len() < 3 || !is_year(year) {
        return None;
    }
    let month = (1_u32..).zip(MONTHS).find(|(_, name)| name.starts_with(month))?.0;
    Some(Part::number(&format!("{year}{month:02}{day:02}")))
}

/// A constraint that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("version constraint {shown:?} is not valid: {problem}")]
pub struct BadConstraint {
    /// The refused text, cut to 64 characters.
    pub shown: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// How a version must compare with the one that a constraint names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    AtLeast,
    AtMost,
    Above,
    Below,
    /// The version itself, or a later one of the series that it names.
    Series,
    /// At least the version, with the same leading components: `~1.4` and `~1.4.2` stay in 1.4.
    Near,
    /// At least the version, with the same first component.
    SameMajor,
}

/// Longer spellings first, so that `>=` is not read as `>`.
const OPERATORS: [(&str, Operator); 8] = [
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    ("==", Operator::Series),
    (">", Operator::Above),
    ("<", Operator::Below),
    ("~", Operator::Near),
    ("^", Operator::SameMajor),
    ("=", Operator::Series),
];

/// Comparisons that a version must pass, all of them.
#[derive(Debug, Clone)]
pub struct Constraint(Vec<(Operator, Version)>);

impl Constraint {
    /// Reads `>=1.2`, `==2023`, `~1.4`, `^2`, `1.2` (the same as `==1.2`), or several joined with
    /// commas.
    pub fn parse(text: &str) -> Result<Self, BadConstraint> {
        let bad = |problem| BadConstraint { shown: text.chars().take(64).collect(), problem };
        let mut comparisons = Vec::new();
        for part in text.split(',') {
            if comparisons.len() == MAX_COMPARISONS {
                return Err(bad("it joins more than 16 comparisons"));
            }
            comparisons.push(comparison(part.trim()).map_err(bad)?);
        }
        Ok(Self(comparisons))
    }

    /// Whether a version passes every comparison.
    #[must_use]
    pub fn accepts(&self, version: &Version) -> bool {
        self.0.iter().all(|(operator, named)| {
            let (version, named) = alike(version, named);
            passes(*operator, &version, &named)
        })
    }

    /// Whether a version is one that the constraint names, not merely one that it lets through: `2023.3`
    /// for `==2023`, `20230802` for `>=20230802`.
    #[must_use]
    pub fn names(&self, version: &Version) -> bool {
        self.0.iter().any(|(operator, named)| {
            let (version, named) = alike(version, named);
            !matches!(operator, Operator::Above | Operator::Below) && version.is_series(&named)
        })
    }
}

/// Brings both to one form: LAMMPS is 20230802 at one site and 2023.8.2 at another, and people say 2023.
fn alike<'a>(version: &'a Version, named: &'a Version) -> (Cow<'a, Version>, Cow<'a, Version>) {
    let split = |one: &'a Version, other: &Version| {
        let split = if other.begins_with_year() { one.with_split_date() } else { None };
        split.map_or(Cow::Borrowed(one), Cow::Owned)
    };
    (split(version, named), split(named, version))
}

fn passes(operator: Operator, version: &Version, named: &Version) -> bool {
    let same_leading = |count: usize| {
        let leading = named.written.get(..count.min(named.written.len())).unwrap_or_default();
        version >= named && (version == named || version.written.starts_with(leading))
    };
    match operator {
        Operator::AtLeast => version >= named,
        Operator::AtMost => version <= named,
        Operator::Above => version > named,
        Operator::Below => version < named,
        Operator::Series => version.is_series(named),
        Operator::Near => same_leading(2),
        Operator::SameMajor => same_leading(1),
    }
}

fn comparison(text: &str) -> Result<(Operator, Version), &'static str> {
    let (operator, named) = OPERATORS
        .iter()
        .find_map(|(spelling, operator)| Some((*operator, text.strip_prefix(spelling)?)))
        .unwrap_or((Operator::Series, text));
    let named = named.trim();
    let named = named.strip_suffix(".*").unwrap_or(named);
    if named.is_empty() {
        return Err("a version is missing");
    }
    if named.chars().count() > MAX_CHARS {
        return Err("the version is longer than 128 characters");
    }
    if let Some(stray) = named.chars().find(|c| !c.is_ascii_alphanumeric() && !"._-+:".contains(*c)) {
        return Err(if OPERATORS.iter().any(|(spelling, _)| spelling.starts_with(stray)) || stray == '!' {
            "the operator is none of >= <= == > < ~ ^"
        } else {
            "the version has other characters than letters, digits and . _ - + :"
        });
    }
    let version = Version::parse(named);
    if !version.written.iter().any(|part| matches!(part, Part::Number(_))) && operator != Operator::Series {
        return Err("only == can be used with a version that has no number");
    }
    if version.written.is_empty() {
        return Err("the version has no letter and no digit");
    }
    Ok((operator, version))
}

/// Whether a version satisfies every part of a constraint.
pub fn satisfies(version: &str, constraint: &str) -> Result<bool, BadConstraint> {
    Ok(Constraint::parse(constraint)?.accepts(&Version::parse(version)))
}

#[cfg(test)]
mod tests;
