//! A world of one hub and three workers in which messages are lost, repeated and reordered, timers
//! ring early, and the hub crashes between any two actions. Whatever happens, at most one worker ever
//! has a live award, and once the world calms down the negotiation comes to an end.

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::award::{Receipt, ReceiptStatus};
use protocol::event::{Event, StoredEvent};
use protocol::ids::{PrincipalId, WorkerId};
use protocol::job::{AttemptNumber, AttemptState};

use super::script::{at, job, judge, opened, proposal_id, receipt, replied, workers};
use crate::flow::{Flow, FlowAction, FlowEvent, step};
use crate::samples::negotiation as negotiation_id;

/// What a worker has in its ledger about one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Refused,
    Accepted,
    Started,
    Voided,
}

/// A message on its way to a worker.
#[derive(Debug, Clone)]
enum Message {
    Award(WorkerId, AttemptNumber),
    Void(WorkerId, AttemptNumber),
}

struct World {
    flow: Flow,
    log: Vec<StoredEvent>,
    ledgers: BTreeMap<(WorkerId, AttemptNumber), Entry>,
    to_workers: Vec<Message>,
    to_hub: Vec<FlowEvent>,
    /// Whether a worker accepts awards, and whether it gives up an accepted one on a void.
    manners: BTreeMap<WorkerId, (bool, bool)>,
    /// The most attempts that were accepted and not voided at one time.
    most_live: usize,
    /// Whether the last message to a worker is an award that has not left the hub yet.
    award_is_leaving: bool,
}

impl World {
    fn new(manners: [(bool, bool); 3], accepted_job: bool) -> Self {
        let mut world = Self {
            flow: Flow::new(negotiation_id("neg-1")),
            log: Vec::new(),
            ledgers: BTreeMap::new(),
            to_workers: Vec::new(),
            to_hub: Vec::new(),
            manners: workers().into_iter().zip(manners).collect(),
            most_live: 0,
            award_is_leaving: false,
        };
        let accepted = accepted_job.then(job);
        if let Some(job) = accepted.clone() {
            world.store(vec![Event::JobAccepted { job }]);
        }
        world.feed(opened(&workers(), accepted), usize::MAX);
        world
    }

    fn store(&mut self, events: Vec<Event>) {
        for event in events {
            let sequence = u64::try_from(self.log.len()).unwrap() + 1;
            let owner = PrincipalId::parse("ann").unwrap();
            self.log.push(StoredEvent { sequence, at: at(30), owner, event });
        }
    }

    /// Takes a step and performs the first actions; if there are more, the hub crashes there.
    fn feed(&mut self, event: FlowEvent, actions_until_crash: usize) {
        let (flow, actions) = step(self.flow.clone(), event, at(30));
        self.flow = flow;
        let crashes = actions.len() > actions_until_crash;
        for action in actions.into_iter().take(actions_until_crash) {
            self.perform(action);
        }
        if crashes {
            self.crash();
        }
    }

    fn crash(&mut self) {
        self.to_hub.clear();
        self.flow = Flow::recover(negotiation_id("neg-1"), &self.log);
        self.feed(FlowEvent::Recovered, usize::MAX);
    }

    fn perform(&mut self, action: FlowAction) {
        match action {
            FlowAction::Store(events) => self.store(events),
            FlowAction::SendCalls(calls) => self.to_hub.extend(calls.keys().map(replied)),
            FlowAction::AskAgain => {
                let calls = workers().iter().map(|one| (one.clone(), proposal_id(one))).collect();
                self.to_hub.push(FlowEvent::AskedAgain { calls, deadline: at(60) });
            }
            FlowAction::Judge => self.to_hub.push(judge(&self.flow)),
            FlowAction::SendAward { worker_id, award } => {
                self.to_workers.push(Message::Award(worker_id, award.attempt));
                self.award_is_leaving = true;
            }
            FlowAction::SendVoid { worker_id, attempt, .. } => {
                self.to_workers.push(Message::Void(worker_id, attempt));
            }
            _ => {}
        }
    }

    fn deliver(&mut self, message: Message) {
        let answer = |worker: &WorkerId, attempt: AttemptNumber, entry: Entry| -> Receipt {
            let status = match entry {
                Entry::Refused | Entry::Voided => ReceiptStatus::Failed,
                Entry::Accepted | Entry::Started => ReceiptStatus::Success,
            };
            receipt(worker, attempt.0, status)
        };
        match message {
            Message::Award(worker, attempt) => {
                let accepts = self.manners[&worker].0;
                let fresh = if accepts { Entry::Accepted } else { Entry::Refused };
                let entry = *self.ledgers.entry((worker.clone(), attempt)).or_insert(fresh);
                self.to_hub.push(FlowEvent::AwardAnswered { receipt: answer(&worker, attempt, entry) });
            }
            Message::Void(worker, attempt) => {
                let gives_up = self.manners[&worker].1;
                let entry = self.ledgers.entry((worker.clone(), attempt)).or_insert(Entry::Voided);
                if *entry == Entry::Accepted && gives_up {
                    *entry = Entry::Voided;
                }
                let entry = *entry;
                self.to_hub.push(FlowEvent::VoidAnswered { receipt: answer(&worker, attempt, entry) });
            }
        }
    }

    /// Something happens, chosen by the numbers.
    fn happen(&mut self, what: u8, which: usize, crash: usize) {
        let crash = if crash < 4 { crash } else { usize::MAX };
        let attempt = self.flow.live_award().map(|(_, attempt)| attempt);
        if std::mem::take(&mut self.award_is_leaving) && what == 18 {
            if let Some(Message::Award(_, attempt)) = self.to_workers.pop() {
                self.feed(FlowEvent::AwardNotSent { attempt }, crash);
            }
            return;
        }
        match what {
            0..=2 if !self.to_workers.is_empty() => {
                let message = self.to_workers.swap_remove(which % self.to_workers.len());
                self.deliver(message);
            }
            3 if !self.to_workers.is_empty() => {
                // Delivered, and a copy stays on the way.
                let message = self.to_workers[which % self.to_workers.len()].clone();
                self.deliver(message);
            }
            4 if !self.to_workers.is_empty() => {
                self.to_workers.swap_remove(which % self.to_workers.len());
            }
            5..=8 if !self.to_hub.is_empty() => {
                let event = self.to_hub.swap_remove(which % self.to_hub.len());
                self.feed(event, crash);
            }
            9 if !self.to_hub.is_empty() => {
                let event = self.to_hub[which % self.to_hub.len()].clone();
                self.feed(event, crash);
            }
            10 if !self.to_hub.is_empty() => {
                // Only what comes over the network can get lost.
                let index = which % self.to_hub.len();
                if !matches!(self.to_hub[index], FlowEvent::AskedAgain { .. } | FlowEvent::Judged(_)) {
                    self.to_hub.swap_remove(index);
                }
            }
            11 => self.feed(FlowEvent::DeadlinePassed, crash),
            12 => {
                let worker_id = workers().get(which % 5).cloned();
                self.feed(FlowEvent::AwardRequested { job: job(), worker_id }, crash);
            }
            13 => {
                if let Some(attempt) = attempt {
                    self.feed(FlowEvent::AwardUnanswered { attempt }, crash);
                }
            }
            14 => {
                if let Some(attempt) = attempt {
                    self.feed(FlowEvent::VoidUnanswered { attempt }, crash);
                    self.feed(FlowEvent::RetryVoid { attempt }, crash);
                }
            }
            15 => self.start_and_report(which),
            16 => self.crash(),
            17 if which.is_multiple_of(8) => self.feed(FlowEvent::CancelRequested, crash),
            _ => {}
        }
    }

    /// A worker starts what it accepted, and its report comes to the hub some time.
    fn start_and_report(&mut self, which: usize) {
        let accepted: Vec<_> = self
            .ledgers
            .iter()
            .filter(|(_, entry)| matches!(entry, Entry::Accepted | Entry::Started))
            .map(|(key, _)| key.clone())
            .collect();
        if accepted.is_empty() {
            return;
        }
        let (worker_id, attempt) = accepted[which % accepted.len()].clone();
        self.ledgers.insert((worker_id.clone(), attempt), Entry::Started);
        self.to_hub.push(FlowEvent::AttemptSeen { worker_id, attempt, state: AttemptState::Running });
    }

    fn live(&self) -> usize {
        self.ledgers.values().filter(|entry| matches!(entry, Entry::Accepted | Entry::Started)).count()
    }

    fn check(&mut self) {
        self.most_live = self.most_live.max(self.live());
    }

    /// Everything that is on its way arrives, and everybody who waits is answered.
    fn calm_down(&mut self) {
        for _ in 0..200 {
            while let Some(message) = self.to_workers.pop() {
                self.deliver(message);
                self.check();
            }
            while !self.to_hub.is_empty() {
                let event = self.to_hub.remove(0);
                self.feed(event, usize::MAX);
                self.check();
            }
            if !self.to_workers.is_empty() {
                continue;
            }
            if self.flow.is_settled() {
                return;
            }
            self.feed(FlowEvent::DeadlinePassed, usize::MAX);
            if let Some((_, attempt)) = self.flow.live_award() {
                self.feed(FlowEvent::AwardUnanswered { attempt }, usize::MAX);
                self.feed(FlowEvent::RetryVoid { attempt }, usize::MAX);
            }
        }
    }
}

fn offers_and_answers(log: &[StoredEvent]) -> Vec<(AttemptNumber, bool)> {
    log.iter()
        .filter_map(|stored| match &stored.event {
            Event::AwardOffered { attempt, .. } => Some((*attempt, false)),
            Event::AwardAnswered { receipt, .. } => Some((receipt.attempt, true)),
            _ => None,
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn at_most_one_award_is_live_and_everything_comes_to_an_end(
        manners in prop::array::uniform3(any::<(bool, bool)>()),
        accepted_job in any::<bool>(),
        steps in prop::collection::vec((0..19_u8, 0..64_usize, 0..60_usize), 0..120),
    ) {
        let mut world = World::new(manners, accepted_job);
        for (what, which, crash) in steps {
            world.happen(what, which, crash);
            world.check();
            prop_assert!(world.most_live <= 1, "two live awards");
        }
        world.calm_down();
        prop_assert!(world.most_live <= 1, "two live awards");
        prop_assert!(world.flow.is_settled(), "{:?}", world.flow);
        // Offers and answers alternate, and attempts count up by one.
        let log = offers_and_answers(&world.log);
        for (index, (attempt, answered)) in log.iter().enumerate() {
            prop_assert_eq!(*answered, index % 2 == 1);
            prop_assert_eq!(attempt.0 as usize, index / 2 + 1);
        }
        // At most one answer is an acceptance, and nothing is stored behind an end.
        let accepted = world.log.iter().filter(|stored| matches!(&stored.event,
            Event::AwardAnswered { receipt, .. } if receipt.status == ReceiptStatus::Success)).count();
        let exhausted = world.log.iter().filter(|stored| matches!(stored.event, Event::AwardsExhausted { .. })).count();
        prop_assert!(accepted + exhausted <= 1);
        // What is stored tells the same story as what was lived.
        let recovered = Flow::recover(negotiation_id("neg-1"), &world.log);
        prop_assert_eq!(recovered.stage(), world.flow.stage());
        prop_assert_eq!(recovered.live_award(), world.flow.live_award());
    }
}
