//! Urgency and times. Latest times are bounds, so the earlier of two holds; two lengths of the same
//! work contradict each other.

use protocol::requirement::Urgency;
use protocol::units::Seconds;

use crate::assembly::Assembled;
use crate::meaning::{Finding, Meaning, Moment};

/// Fills the time part of the requirement.
pub fn assemble(findings: &[Finding], assembled: &mut Assembled) {
    let torn = urgency(findings, assembled);
    for (moment, path) in [
        (Moment::Deadline, "requirement.time.deadline_seconds"),
        (Moment::StartBy, "requirement.time.start_by_seconds"),
        (Moment::Duration, "requirement.time.duration_seconds"),
    ] {
        let said: Vec<(&Finding, f64)> = findings
            .iter()
            .filter_map(|finding| match finding.meaning {
                // "Right now" sets both; where the urgency is contradicted, neither counts.
                Meaning::Time(found, seconds) if found == moment && !(torn && seconds == 0.0) => {
                    Some((finding, seconds))
                }
                _ => None,
            })
            .collect();
        let Some(least) = said.iter().map(|(_, seconds)| *seconds).reduce(f64::min) else { continue };
        if moment == Moment::Duration && said.iter().any(|(_, seconds)| *seconds != least) {
            assembled.contradict(said.iter().map(|(finding, _)| *finding), "how long it runs");
            continue;
        }
        let time = &mut assembled.requirement.time;
        let field = match moment {
            Moment::Deadline => &mut time.deadline_seconds,
            Moment::StartBy => &mut time.start_by_seconds,
            Moment::Duration => &mut time.duration_seconds,
        };
        *field = Some(Seconds::saturating(least));
        for (finding, _) in said {
            assembled.fill(finding, path);
        }
    }
}

/// Fills the urgency; true when the text says both that it can wait and that it cannot.
fn urgency(findings: &[Finding], assembled: &mut Assembled) -> bool {
    let said: Vec<(&Finding, Urgency)> = findings
        .iter()
        .filter_map(|finding| match finding.meaning {
            Meaning::Urgency(urgency) => Some((finding, urgency)),
            _ => None,
        })
        .collect();
    let has = |wanted: Urgency| said.iter().any(|(_, urgency)| *urgency == wanted);
    if has(Urgency::Flexible) && has(Urgency::Immediate) {
        assembled.contradict(said.iter().map(|(finding, _)| *finding), "how urgent it is");
        return true;
    }
    assembled.requirement.time.urgency = said.iter().map(|(_, urgency)| *urgency).max();
    for (finding, _) in said {
        assembled.fill(finding, "requirement.time.urgency");
    }
    false
}
