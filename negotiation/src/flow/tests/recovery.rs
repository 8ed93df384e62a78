//! A crash behind any stored event leads to the same decisions.

use protocol::award::ReceiptStatus;
use protocol::event::{Event, StoredEvent};
use protocol::ids::{PrincipalId, WorkerId};
use protocol::job::{AttemptNumber, Job};

use super::script::{at, job, judge, opened, proposal_id, receipt, replied, workers};
use crate::flow::{Flow, FlowAction, FlowEvent, step};
use crate::samples::{id, negotiation as negotiation_id};

/// What each worker does with an award.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Accepts,
    Refuses,
    /// Says nothing; a void finds that it never saw the award.
    Silent,
    /// Says nothing; a void finds that it has accepted.
    SilentlyAccepts,
}

/// A whole negotiation with a reliable network, from some state to its end.
struct Run {
    log: Vec<StoredEvent>,
    flow: Flow,
    manners: [Manner; 3],
    accepted_job: bool,
}

impl Run {
    fn store(&mut self, events: Vec<Event>) {
        for event in events {
            let sequence = u64::try_from(self.log.len()).unwrap() + 1;
            let owner = PrincipalId::parse("ann").unwrap();
            self.log.push(StoredEvent { sequence, at: at(30), owner, event });
        }
    }

    fn manner(&self, worker: &WorkerId) -> Manner {
        self.manners[workers().iter().position(|one| one == worker).unwrap()]
    }

    /// Performs an action; gives what comes back.
    fn perform(&mut self, action: FlowAction) -> Vec<FlowEvent> {
        match action {
            FlowAction::Store(events) => {
                self.store(events);
                Vec::new()
            }
            FlowAction::SendCalls(calls) => calls.keys().map(replied).collect(),
            FlowAction::AskAgain => {
                let calls = workers().iter().map(|one| (one.clone(), proposal_id(one))).collect();
                vec![FlowEvent::AskedAgain { calls, deadline: at(60) }]
            }
            FlowAction::Judge => {
                let mut events = vec![judge(&self.flow)];
                if !self.accepted_job {
                    events.push(FlowEvent::AwardRequested { job: job(), worker_id: None });
                }
                events
            }
            FlowAction::SendAward { worker_id, award } => {
                let attempt = award.attempt;
                match self.manner(&worker_id) {
                    Manner::Accepts => vec![FlowEvent::AwardAnswered {
                        receipt: receipt(&worker_id, attempt.0, ReceiptStatus::Success),
                    }],
                    Manner::Refuses => vec![FlowEvent::AwardAnswered {
                        receipt: receipt(&worker_id, attempt.0, ReceiptStatus::Failed),
                    }],
                    Manner::Silent | Manner::SilentlyAccepts => {
                        vec![FlowEvent::AwardUnanswered { attempt }]
                    }
                }
            }
            FlowAction::SendVoid { worker_id, attempt, .. } => {
                let status = match self.manner(&worker_id) {
                    Manner::Silent | Manner::Refuses => ReceiptStatus::Failed,
                    Manner::SilentlyAccepts | Manner::Accepts => ReceiptStatus::Success,
                };
                vec![FlowEvent::VoidAnswered { receipt: receipt(&worker_id, attempt.0, status) }]
            }
            _ => Vec::new(),
        }
    }

    fn play_out(&mut self, first: FlowEvent) {
        let mut events = vec![first];
        while !events.is_empty() {
            let (flow, actions) = step(self.flow.clone(), events.remove(0), at(30));
            self.flow = flow;
            for action in actions {
                events.extend(self.perform(action));
            }
        }
    }

    fn fresh(manners: [Manner; 3], accepted_job: Option<Box<Job>>) -> Self {
        let mut run = Self {
            log: Vec::new(),
            flow: Flow::new(negotiation_id("neg-1")),
            manners,
            accepted_job: accepted_job.is_some(),
        };
        if let Some(job) = accepted_job.clone() {
            run.store(vec![Event::JobAccepted { job }]);
        }
        run.play_out(opened(&workers(), accepted_job));
        run
    }

    /// The hub comes back with the first events only.
    fn recovered(&self, events: usize) -> Self {
        let log = self.log[..events].to_vec();
        let flow = Flow::recover(negotiation_id("neg-1"), &log);
        let mut run = Self { log, flow, ..*self };
        run.play_out(FlowEvent::Recovered);
        // A client whose answer was lost in the crash asks for the award (again).
        if run.flow.can_be_awarded() {
            run.play_out(FlowEvent::AwardRequested { job: job(), worker_id: None });
        }
        run
    }

    fn awards(&self) -> Vec<(WorkerId, AttemptNumber)> {
        self.log
            .iter()
            .filter_map(|stored| match &stored.event {
                Event::AwardOffered { worker_id, attempt, .. } => Some((worker_id.clone(), *attempt)),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn a_crash_behind_any_event_leads_to_the_same_decisions() {
    use Manner::{Accepts, Refuses, Silent, SilentlyAccepts};
    for manners in [
        [Accepts, Accepts, Accepts],
        [Refuses, Accepts, Refuses],
        [Silent, Refuses, Accepts],
        [SilentlyAccepts, Accepts, Accepts],
        [Refuses, Silent, SilentlyAccepts],
        [Refuses, Refuses, Silent],
    ] {
        for accepted in [None, Some(job())] {
            let first = usize::from(accepted.is_some()) + 1;
            let whole = Run::fresh(manners, accepted);
            assert!(whole.flow.is_settled());
            for events in first..=whole.log.len() {
                let again = whole.recovered(events);
                assert_eq!(again.awards(), whole.awards(), "{manners:?} behind {events} events");
                assert_eq!(again.flow.stage(), whole.flow.stage());
                assert_eq!(again.flow.live_award(), whole.flow.live_award());
                let names = |run: &Run| -> Vec<String> {
                    run.log
                        .iter()
                        .map(|stored| serde_json::to_value(&stored.event).unwrap()["event"].to_string())
                        .collect()
                };
                assert_eq!(names(&again), names(&whole), "{manners:?} behind {events} events");
            }
        }
    }
}

#[test]
fn a_restart_sends_the_same_award_again_and_never_another() {
    let whole = Run::fresh([Manner::Refuses, Manner::Accepts, Manner::Accepts], None);
    let offered =
        whole.log.iter().position(|stored| matches!(stored.event, Event::AwardOffered { .. })).unwrap();
    let flow = Flow::recover(negotiation_id("neg-1"), &whole.log[..=offered]);
    let (flow, actions) = step(flow, FlowEvent::Recovered, at(40));
    assert!(matches!(&actions[..], [FlowAction::SendAward { worker_id, award }]
        if *worker_id == id("a") && award.attempt == AttemptNumber(1)));
    // It may have been sent before the crash, so a connection that fails now proves nothing.
    let (_, actions) = step(flow, FlowEvent::AwardNotSent { attempt: AttemptNumber(1) }, at(41));
    assert!(matches!(&actions[..], [FlowAction::SendVoid { .. }]));
}

#[test]
fn events_of_other_negotiations_and_jobs_are_passed_over() {
    let whole = Run::fresh([Manner::Accepts; 3], Some(job()));
    let mut mixed = Vec::new();
    for stored in &whole.log {
        let mut other = job();
        other.job_id = protocol::ids::JobId::parse("job-9").unwrap();
        mixed.push(StoredEvent { event: Event::JobAccepted { job: other.clone() }, ..stored.clone() });
        mixed.push(stored.clone());
        mixed.push(StoredEvent {
            event: Event::CancelRequested { job_id: other.job_id.clone() },
            ..stored.clone()
        });
        mixed.push(StoredEvent {
            event: Event::AwardsExhausted { negotiation_id: negotiation_id("neg-9"), job_id: other.job_id },
            ..stored.clone()
        });
    }
    assert_eq!(
        Flow::recover(negotiation_id("neg-1"), &mixed),
        Flow::recover(negotiation_id("neg-1"), &whole.log)
    );
}

#[test]
fn a_cancelled_offer_stays_cancelled_over_a_restart() {
    let whole = Run::fresh([Manner::Accepts; 3], None);
    let offered =
        whole.log.iter().position(|stored| matches!(stored.event, Event::AwardOffered { .. })).unwrap();
    let flow = Flow::recover(negotiation_id("neg-1"), &whole.log[..=offered]);
    let mut run =
        Run { log: whole.log[..=offered].to_vec(), flow, manners: [Manner::Silent; 3], accepted_job: false };
    let (flow, actions) = step(run.flow.clone(), FlowEvent::CancelRequested, at(31));
    run.flow = flow;
    for action in actions {
        if let FlowAction::Store(events) = action {
            run.store(events);
        }
    }
    let flow = Flow::recover(negotiation_id("neg-1"), &run.log);
    run.flow = flow;
    run.play_out(FlowEvent::Recovered);
    assert!(run.flow.is_settled());
    assert_eq!(run.awards().len(), 1, "no other worker is asked");
}
