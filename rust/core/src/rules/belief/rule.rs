//! The rule: read what a stage says, weigh what is in hand, compare the best belief with the limits of the situation.

use serde_json::Value;

use super::super::given::Given;
use super::super::observation::Observation;
use super::super::prediction::NO_PREDICTION;
use super::super::progress::Progress;
use super::super::reach::avoids;
use super::super::rule::{Entry, Rule};
use super::calibration::Calibration;
use super::entry::EntryCuts;
use super::node::Node;
use super::nothing::Nothing;
use super::reading::{Reading, SLOTS};
use super::time::{Finder, Time};
use super::weigh::Beliefs;
use super::without::Without;
use crate::error::{Checked, check};
use crate::plan::{Intervals, NO_STAGE, Row, STOP, unsigned};
use crate::price::Price;

/// Calibration, weights and limits of a fitted policy.
#[derive(Clone, Debug, PartialEq)]
pub struct BeliefRule {
    pub(super) beliefs: Beliefs,
    pub(super) nodes: Vec<Node>,
    pub(super) time: Option<Time>,
    pub(super) without: Option<Box<Without>>,
    /// How many of the nodes, the first ones, are begun with by requests that may ask all stages.
    pub(super) roots: usize,
    /// One row per node, block after block; those without time are the last.
    pub(super) decisions: Intervals,
    pub(super) nothing: Nothing,
    /// Whether some stage that may run informs and never answers.
    pub(super) has_probes: bool,
    /// By block.
    beginnings: Vec<Beginning>,
    /// Of the block that time is in, where the rule knows of time.
    finder: Option<Box<Finder>>,
    /// Decisions of roots on raw signals, block after block.
    entry: Vec<EntryCuts>,
}

/// How requests begin.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Beginning {
    /// The stage that runs first, or [`NO_STAGE`].
    stage: u16,
    /// The node that it enters.
    node: u16,
    /// The slot that its report goes to.
    slot: u8,
}

impl Beginning {
    const NONE: Self = Self { stage: NO_STAGE, node: NO_STAGE, slot: 0 };
}

/// What a request remembers.
#[derive(Clone, Copy, Debug)]
pub struct BeliefMemory {
    /// The first report: what it means is worked out when a second comes.
    pub(super) first: Observation,
    /// The belief in the best answer in hand, once a second stage has reported.
    pub(super) belief: f64,
    /// How many of the readings lack a signal or a prediction.
    pub(super) incomplete: u32,
    /// The node that is entered next; that of the last report where none is.
    pub(super) node: u16,
    /// The block of decisions that the time left is in.
    pub(super) block: u16,
    /// The slot of the first report.
    pub(super) first_slot: u8,
    /// What was read, by slot.
    pub(super) readings: [Reading; SLOTS],
}

impl BeliefRule {
    /// A rule that begins at the first of `nodes`; `decisions` say for each node, on the belief in hand, up to which
    /// limit to stop and which node is next.
    pub fn new(beliefs: Beliefs, nodes: Vec<Node>, decisions: Intervals) -> Self {
        let (nothing, beginnings, entry) = (Nothing::NEVER, Vec::new(), Vec::new());
        let (time, without, finder, roots, has_probes) = (None, None, None, 0, false);
        Self { beliefs, nodes, time, without, roots, decisions, nothing, has_probes, beginnings, finder, entry }
    }

    /// The same where nothing may be answered, at this loss in the unit of the losses; `at_once`: before anything runs.
    #[must_use]
    pub fn or_nothing(self, loss: f64, at_once: bool) -> Self {
        Self { nothing: Nothing::new(loss, at_once, self.beliefs.scale), ..self }
    }

    /// The same with decisions of their own where little time is left: one row per node, block after block.
    #[must_use]
    pub fn within(self, time: Time, mut decisions: Intervals) -> Self {
        decisions.extend(&self.decisions);
        Self { time: Some(time), decisions, ..self }
    }

    /// How beliefs are formed.
    pub fn beliefs(&self) -> &Beliefs {
        &self.beliefs
    }

    /// The sets of stages that a request can pass through.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What holds where little time is left, if the rule knows of time.
    pub fn time(&self) -> Option<&Time> {
        self.time.as_ref()
    }

    /// Stop or go to which node where time does not matter, one row per node, on the belief in hand.
    pub fn decisions(&self) -> Intervals {
        self.decisions.part(self.row(self.timeless(), 0)..self.decisions.rows())
    }

    /// The same where little time is left, block after block.
    pub fn decisions_within(&self) -> Intervals {
        self.decisions.part(0..self.row(self.timeless(), 0))
    }

    /// The block of decisions where time does not matter: the last.
    #[inline]
    pub(super) fn timeless(&self) -> u16 {
        self.time.as_ref().map_or(0, |time| time.until.len() as u16)
    }

    /// The block of decisions for so many seconds left.
    #[inline]
    fn block(&self, remaining: f64) -> u16 {
        self.finder.as_ref().map_or(0, |finder| finder.block(remaining))
    }

    /// The row of a node in a block of decisions.
    #[inline]
    pub(super) fn row(&self, block: u16, node: usize) -> usize {
        usize::from(block) * self.nodes.len() + node
    }

    /// The node that requests begin with; no node where nothing is answered at once.
    #[inline]
    pub(super) fn root(&self, block: u16) -> u16 {
        let time = self.time.as_ref();
        let timed = time.and_then(|time| time.entries.get(usize::from(block)).copied());
        timed.unwrap_or(if self.nothing.at_once { NO_STAGE } else { 0 })
    }

    /// How requests begin in a block.
    #[inline]
    fn beginning(&self, block: u16) -> Beginning {
        self.beginnings.get(usize::from(block)).copied().unwrap_or(Beginning::NONE)
    }

    /// Every node with its row of every block.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&Node, &Row)> {
        self.nodes.iter().cycle().zip(self.decisions.table())
    }

    /// What it costs to answer with nothing.
    pub fn nothing(&self) -> &Nothing {
        &self.nothing
    }

    /// The stage that runs on entering a node; [`NO_STAGE`] for [`STOP`].
    #[inline]
    pub(super) fn stage_of(&self, node: i32) -> u16 {
        usize::try_from(node).ok().and_then(|node| self.nodes.get(node)).map_or(NO_STAGE, |node| node.stage)
    }

    /// The node that follows the first report, which that of `root` is.
    #[expect(clippy::inline_always, reason = "one hot caller; the call itself is a tenth of the work")]
    #[inline(always)]
    pub(super) fn first_action(&self, block: u16, root: u16, observation: Observation) -> i32 {
        let root = usize::from(root);
        if observation.signal.is_nan() {
            let stage = self.nodes.get(root).map_or(0, |node| node.stage);
            return self.decisions.action(self.row(block, root), self.beliefs.missing(stage));
        }
        let cuts = self.entry.get(usize::from(block) * self.roots + root);
        cuts.map_or(STOP, |cuts| cuts.action(observation.signal, observation.prediction))
    }

    /// So many seconds are left, if that is said.
    #[inline]
    fn look_at_clock(&self, memory: &mut BeliefMemory, remaining: f64) {
        if !remaining.is_nan() {
            memory.block = self.block(remaining);
        }
    }

    /// Works out the first report, which the second is about to join.
    #[inline]
    fn catch_up(&self, progress: &Progress, memory: &mut BeliefMemory) {
        let first = self.beliefs.read(progress.answer, memory.first);
        memory.incomplete = u32::from(!first.is_complete());
        if let Some(slot) = memory.readings.get_mut(usize::from(memory.first_slot)) {
            *slot = first;
        }
    }

    /// Works out the first report, which the second will not join.
    fn hold_first(&self, progress: &Progress, memory: &mut BeliefMemory) {
        self.catch_up(progress, memory);
        let first = memory.readings.get(usize::from(memory.first_slot)).copied().unwrap_or(Reading::NONE);
        memory.belief = self.beliefs.alone(progress.answer, &first);
    }

    /// The stage of `node` reports: remember and weigh, without deciding.
    #[inline]
    fn weigh(&self, node: &Node, progress: &mut Progress, memory: &mut BeliefMemory, observation: Observation) {
        let reading = self.beliefs.read(node.stage, observation);
        if let Some(slot) = memory.readings.get_mut(usize::from(node.slot)) {
            *slot = reading;
        }
        memory.incomplete += u32::from(!reading.is_complete());
        let is_complete = memory.incomplete == 0;
        (memory.belief, progress.answer) = if node.places.is_empty() {
            self.believe(node, &memory.readings, is_complete)
        } else {
            self.believe(node, &node.hand(&memory.readings), is_complete)
        };
    }

    /// The belief in the best answer in hand and whose it is.
    #[expect(clippy::inline_always, reason = "one hot caller; the call itself is a tenth of the work")]
    #[inline(always)]
    fn believe(&self, node: &Node, hand: &[Reading; SLOTS], is_complete: bool) -> (f64, u16) {
        if !is_complete && let Some(found) = self.believe_without_failed(node, hand) {
            return found;
        }
        self.beliefs.believe(node, hand, is_complete)
    }

    /// The same without the members that failed, if some have and it is known how to weigh the others by themselves.
    #[cold]
    fn believe_without_failed(&self, node: &Node, hand: &[Reading; SLOTS]) -> Option<(f64, u16)> {
        let answered = || node.members.iter().zip(hand).filter(|(_, reading)| !reading.is_failed());
        if answered().count() == node.members.len() {
            return None;
        }
        let mut others = [Reading::NONE; SLOTS];
        for (other, (_, reading)) in others.iter_mut().zip(answered()) {
            *other = *reading;
        }
        let members: Vec<u16> = answered().map(|(member, _)| *member).collect();
        if let [only] = *members {
            let [reading, ..] = &others;
            return Some((self.beliefs.alone(only, reading), only));
        }
        let weighs = |other: &&Node| other.members == members && (self.beliefs.recall || other.stage == node.stage);
        let smaller = self.nodes.iter().find(weighs)?;
        let is_complete = answered().all(|(_, reading)| reading.is_complete());
        Some(self.beliefs.believe(smaller, &others, is_complete))
    }

    /// Goes to a node; ends with what is no node.
    #[expect(clippy::inline_always, reason = "one hot caller; the call itself is a tenth of the work")]
    #[inline(always)]
    pub(super) fn enter(&self, child: i32, progress: &mut Progress, memory: &mut BeliefMemory) {
        let child = unsigned(child);
        progress.next = NO_STAGE;
        if let Some(node) = self.nodes.get(usize::from(child)) {
            memory.node = child;
            progress.next = node.stage;
        }
    }

    /// The nodes that a row of decisions leads to.
    pub(super) fn children<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = usize> + 'a {
        self.decisions.actions(row).filter_map(|next| usize::try_from(next).ok())
    }
}

impl Rule for BeliefRule {
    type Memory = BeliefMemory;

    fn complete(&mut self, stages: usize, price: &Price) -> Checked {
        let beliefs = &self.beliefs;
        check(beliefs.calibration.len() == stages, "the calibrations do not fit the stages")?;
        beliefs.calibration.iter().try_for_each(Calibration::check)?;
        check(beliefs.scale.is_finite(), "the scale of the losses is not finite")?;
        check(beliefs.margin.is_finite(), "the margin of the favoured answer is not finite")?;
        check((1..=usize::from(u16::MAX)).contains(&self.nodes.len()), "there must be 1 to 65535 situations")?;
        self.nothing.check()?;
        self.nodes.iter().try_for_each(|node| node.check(stages))?;
        let beginning = self.beginning_nodes();
        check(beginning > 0, "the first situation does not begin")?;
        let grows = self.nodes.iter().skip(beginning).all(|node| node.members.len() > 1);
        check(grows, "a situation with one member is not among the first")?;
        self.time.iter().try_for_each(|time| time.check(stages, &self.nodes))?;
        let rows = (usize::from(self.timeless()) + 1) * self.nodes.len();
        check(self.decisions.rows() == rows, "the decisions do not fit the situations")?;
        // Children come after their parents.
        let nodes = self.nodes.len();
        self.decisions.check(nodes, |row| (row % nodes) as i32)?;
        self.check_growth()?;
        self.find_disputes()?;
        self.check_stages()?;
        self.find_probes()?;
        self.price_nodes(price)?;
        self.check_detours(price)?;
        let begins = |block: u16| {
            let node = self.root(block);
            let root = self.nodes.get(usize::from(node));
            root.map_or(Beginning::NONE, |root| Beginning { stage: root.stage, node, slot: root.slot })
        };
        self.beginnings = (0..=self.timeless()).map(begins).collect();
        self.finder = self.time.as_ref().map(|time| Box::new(Finder::new(&time.until)));
        self.roots = if self.time.is_some() { beginning } else { 1 };
        self.entry = self.cut();
        Ok(())
    }

    fn recall(&self) -> bool {
        self.beliefs.recall
    }

    fn latency(&self) -> Option<&[f64]> {
        self.time.as_ref().map(|time| time.latency.as_slice())
    }

    fn describe(&self) -> Value {
        self.described()
    }

    #[expect(clippy::inline_always, reason = "its result is made where it is wanted, not copied there")]
    #[inline(always)]
    fn begin(&self, Given { remaining, .. }: Given) -> (Progress, BeliefMemory) {
        let block = self.block(remaining);
        let Beginning { stage, node, slot } = self.beginning(block);
        let memory = BeliefMemory {
            first: Observation::EMPTY,
            belief: f64::INFINITY,
            incomplete: 0,
            node,
            block,
            first_slot: slot,
            readings: [Reading::NONE; SLOTS],
        };
        (Progress::new(stage), memory)
    }

    #[inline]
    fn begin_again(&self, progress: &mut Progress, memory: &mut BeliefMemory, given: Given) {
        // Everything else is written before it is read.
        memory.block = self.block(given.remaining);
        let Beginning { stage, node, slot } = self.beginning(memory.block);
        *progress = Progress::new(stage);
        (memory.node, memory.first_slot) = (node, slot);
    }

    #[inline]
    fn observe(&self, progress: &mut Progress, memory: &mut BeliefMemory, observation: Observation, _: &Price) {
        let Some(node) = self.nodes.get(usize::from(memory.node)) else { return };
        let members = node.members.len();
        if members == 2 {
            self.catch_up(progress, memory);
        }
        progress.pay(node.price);
        self.look_at_clock(memory, observation.remaining);
        let child = if members == 1 {
            // Most requests end here: what the signal means is worked out only if it is asked for.
            memory.first = observation;
            progress.answer = node.stage;
            self.first_action(memory.block, memory.node, observation)
        } else {
            self.weigh(node, progress, memory, observation);
            self.decisions.action(self.row(memory.block, usize::from(memory.node)), memory.belief)
        };
        self.enter(child, progress, memory);
    }

    fn fail(&self, progress: &mut Progress, memory: &mut BeliefMemory, missing: &[u16], remaining: f64, _: &Price) {
        let Some(node) = self.nodes.get(usize::from(memory.node)) else { return };
        self.look_at_clock(memory, remaining);
        if self.go_on_without(node, missing, progress, memory) {
            return;
        }
        // Without an answer in hand the first report is read as a failure.
        if node.members.len() == 2 {
            self.hold_first(progress, memory);
        }
        if let Some(slot) = memory.readings.get_mut(usize::from(node.slot)) {
            *slot = Reading::FAILED;
        }
        memory.incomplete += 1;
        progress.pay(node.price);
        let belief = if progress.answer == NO_STAGE { self.empty_handed(node.stage) } else { memory.belief };
        let row = self.row(memory.block, usize::from(memory.node));
        self.enter(self.decisions.action(row, belief), progress, memory);
    }

    fn stop(&self, progress: &mut Progress, memory: &mut BeliefMemory, price: &Price) {
        if self.nodes.get(usize::from(memory.node)).is_some_and(|node| node.members.len() == 2) {
            self.hold_first(progress, memory);
        }
        progress.pay_from(price);
        progress.next = NO_STAGE;
    }

    fn alone(&self, stage: u16, observation: Observation) -> Option<f64> {
        let beliefs = &self.beliefs;
        beliefs.calibration.get(usize::from(stage)).filter(|it| !it.is_probe())?;
        Some(beliefs.loss_of(beliefs.alone(stage, &beliefs.read(stage, observation))))
    }

    fn expected_loss(&self, progress: &Progress, memory: &BeliefMemory) -> f64 {
        if self.declines(progress, memory) {
            return self.nothing.loss;
        }
        self.beliefs.loss_of(self.belief(progress, memory)).min(self.nothing.loss)
    }

    #[inline]
    fn answer(&self, progress: &Progress, memory: &BeliefMemory) -> u16 {
        if self.may_decline() && self.declines(progress, memory) { NO_STAGE } else { progress.answer }
    }

    fn default_loss(&self) -> f64 {
        self.nothing.loss
    }

    #[inline]
    fn may_decline(&self) -> bool {
        self.nothing.limit() < f64::INFINITY || self.has_probes
    }

    fn is_exact_without(&self, barred: &[u16]) -> bool {
        let blocks = 0..=self.timeless();
        let rows =
            |node: usize| blocks.clone().filter_map(move |block| self.decisions.table().get(self.row(block, node)));
        let onward = |node: usize| rows(node).flat_map(|row| self.children(row));
        let asks = |node: usize| self.nodes.get(node).is_some_and(|node| barred.contains(&node.stage));
        avoids(self.nodes.len(), blocks.clone().map(|block| usize::from(self.root(block))), asks, onward)
    }

    fn entry_without(&self, barred: &[u16]) -> Option<Entry> {
        self.begin_without(barred).map(|node| [node; 2])
    }

    #[cold]
    #[inline(never)]
    fn observe_without(
        &self,
        progress: &mut Progress,
        memory: &mut BeliefMemory,
        observation: Observation,
        price: &Price,
    ) {
        let begun = memory.node;
        self.observe(progress, memory, observation, price);
        self.begin_detour(begun, progress, memory);
    }

    fn begin_at(&self, [node, _]: Entry) -> (Progress, BeliefMemory) {
        self.begin_at_node(node)
    }

    #[inline]
    fn after_first(&self, observation: Observation) -> Option<u16> {
        Some(self.stage_of(self.first_action(self.timeless(), 0, observation)))
    }

    fn after_first_of_many(&self, signal: &[f64], prediction: Option<&[i64]>, next: &mut [u16]) -> bool {
        let timeless = self.timeless();
        let after = |observation: Observation| self.stage_of(self.first_action(timeless, 0, observation));
        let cuts = self.entry.get(usize::from(timeless) * self.roots);
        let Some(found) = cuts.and_then(EntryCuts::thresholds) else {
            for (at, (next, signal)) in next.iter_mut().zip(signal).enumerate() {
                let said = prediction.and_then(|prediction| prediction.get(at).copied()).unwrap_or(NO_PREDICTION);
                *next = after(Observation::new(*signal, said));
            }
            return true;
        };
        let (onward, missing) = (self.stage_of(found.onward), after(Observation::EMPTY));
        found.after_many(signal, prediction, onward, next);
        if missing != onward {
            // A signal that is not a number is below every threshold.
            for (next, _) in next.iter_mut().zip(signal).filter(|(_, signal)| signal.is_nan()) {
                *next = missing;
            }
        }
        true
    }
}
