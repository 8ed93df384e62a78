//! The rules agent: a proposal as a pure function of the call and the facts. Everything that decides is
//! in `matching`, which the hub's gate and audit call too, so the two cannot disagree about what a
//! requirement means.

use protocol::call::Call;
use protocol::facts::Facts;
use protocol::proposal::{Constraint, FactorScore, Promises, Proposal, ProviderCall, Verdict};
use protocol::units::{Number, Timestamp};

use crate::sentence::reasoning;

/// The proposal for a call. `hold_until` is the hold that the worker would place; only a site that can
/// run the work now keeps it.
#[must_use]
pub fn propose(
    call: &Call,
    facts: &Facts,
    calls: Vec<ProviderCall>,
    hold_until: Option<Timestamp>,
) -> Proposal {
    let requirement = &call.requirement;
    let unmet = matching::unmet::unmet(requirement, facts);
    let verdict = matching::unmet::verdict(&unmet);
    // What cannot be run has no start, no run time and no price.
    let promises = match verdict {
        Verdict::Incompatible => Promises::default(),
        _ => matching::promises::promises(requirement, facts),
    };
    let allocation = matching::allocation::allocation(requirement, facts);
    let factors = call
        .factors
        .iter()
        .filter_map(|factor| {
            let value = matching::values::factor_value(factor.name, requirement, facts, &promises)?;
            let score = matching::scale::score(&factor.scale, value);
            let shown = FactorScore {
                score: Number::saturating(score),
                value: Number::saturating(value),
                unit: factor.unit.clone(),
                reason: format!("{} {}", plain(value), factor.unit),
                verified: false,
            };
            Some((factor.name, shown))
        })
        .collect();
    let text = reasoning(verdict, &unmet, allocation.as_ref(), &promises);
    let constraints = unmet.into_iter().map(|reason| Constraint {
        code: reason.code,
        wanted: reason.wanted,
        had: reason.had,
    });
    Proposal {
        proposal_id: call.proposal_id.clone(),
        verdict,
        factors,
        promises,
        claims: matching::claims::claims(requirement, facts),
        constraints: constraints.collect(),
        flags: facts.flags.clone(),
        reasoning: text,
        evidence: facts.provenance.clone(),
        hold_until: hold_until.filter(|_| verdict == Verdict::Ready),
        hold_is_firm: None,
        as_of: facts.as_of.clone(),
        calls: if call.verbose { calls } else { Vec::new() },
    }
}

/// At most three decimals, none when they are zero.
fn plain(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}
