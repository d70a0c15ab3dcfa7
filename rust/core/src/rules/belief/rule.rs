//! The rule: read what a stage says, weigh what is in hand, compare the best belief with the limits of the situation.

use serde_json::Value;

use super::super::given::Given;
use super::super::observation::Observation;
use super::super::prediction::NO_PREDICTION;
use super::super::progress::Progress;
use super::super::reach::avoids;
use super::super::rule::{Entry, Rule};
use super::calibration::Calibration;
use super::entry::{EntryCuts, Thresholds};
use super::hot::{Hot, Least, Step};
use super::memory::{Beginning, BeliefMemory};
use super::node::Node;
use super::nothing::Nothing;
use super::reading::Reading;
use super::time::{Finder, Time};
use super::weigh::Beliefs;
use super::without::Without;
use crate::error::{Checked, check};
use crate::plan::{Intervals, NO_STAGE, Row, STOP};
use crate::price::Price;

/// Calibration, weights and limits of a fitted policy.
#[derive(Clone, Debug, PartialEq)]
pub struct BeliefRule {
    pub(super) beliefs: Beliefs,
    pub(super) nodes: Vec<Node>,
    pub(super) time: Option<Box<Time>>,
    pub(super) without: Option<Box<Without>>,
    /// How many of the nodes, the first ones, are begun with by requests that may ask all stages.
    pub(super) roots: usize,
    /// One row per node, block after block; those without time are the last.
    pub(super) decisions: Intervals,
    pub(super) nothing: Nothing,
    /// Whether some stage that may run informs and never answers.
    pub(super) has_probes: bool,
    /// The block of decisions where time does not matter: the last.
    pub(super) timeless: u16,
    /// By block.
    beginnings: Vec<Beginning>,
    /// Of the block that time is in, where the rule knows of time.
    finder: Option<Box<Finder>>,
    /// Decisions of roots on raw signals, block after block.
    entry: Vec<EntryCuts>,
    /// The nodes as reports meet them.
    pub(super) hot: Box<[Hot]>,
    /// How the answers of all nodes are weighed.
    pub(super) cells: Box<[f32]>,
    /// The least signals that stop, by prediction, of the nodes that have them.
    pub(super) least: Least,
}

impl BeliefRule {
    /// A rule that begins at the first of `nodes`; `decisions` say for each node, on the belief in hand, up to which
    /// limit to stop and which node is next.
    pub fn new(beliefs: Beliefs, nodes: Vec<Node>, decisions: Intervals) -> Self {
        Self {
            beliefs,
            nodes,
            time: None,
            without: None,
            roots: 0,
            decisions,
            nothing: Nothing::NEVER,
            has_probes: false,
            timeless: 0,
            beginnings: Vec::new(),
            finder: None,
            entry: Vec::new(),
            hot: Box::default(),
            cells: Box::default(),
            least: Least::default(),
        }
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
        Self { timeless: time.until.len() as u16, time: Some(Box::new(time)), decisions, ..self }
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
        self.time.as_deref()
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
        self.timeless
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

    /// The first decisions of a root, where they are thresholds.
    pub(super) fn thresholds(&self, block: u16, root: usize) -> Option<&Thresholds> {
        let cuts = self.entry.get(usize::from(block) * self.roots + root).filter(|_| root < self.roots);
        cuts.and_then(EntryCuts::thresholds)
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
    pub(super) fn catch_up(&self, progress: &Progress, memory: &mut BeliefMemory) {
        let first = self.beliefs.read(progress.answer, memory.first());
        memory.incomplete = u32::from(!first.is_complete());
        memory.readings.put(usize::from(memory.first_slot), first);
    }

    /// Works out the first report, which the second will not join.
    fn hold_first(&self, progress: &Progress, memory: &mut BeliefMemory) {
        self.catch_up(progress, memory);
        memory.belief = self.beliefs.alone(progress.answer, &memory.readings.get(usize::from(memory.first_slot)));
    }

    /// Goes where an action leads: on to a node, or to the end.
    #[expect(clippy::inline_always, reason = "one hot caller; the call itself is a tenth of the work")]
    #[inline(always)]
    pub(super) fn enter(&self, action: i32, progress: &mut Progress, memory: &mut BeliefMemory) {
        let Step { node, stage } = self.step_to(action);
        progress.next = stage;
        if stage != NO_STAGE {
            memory.node = node;
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
        self.lay_out();
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
        (Progress::new(stage), BeliefMemory::new(node, block, slot))
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
        let Some(hot) = self.hot.get(usize::from(memory.node)) else { return };
        progress.pay(hot.price);
        self.look_at_clock(memory, observation.remaining);
        if hot.count == 1 {
            self.observe_first(hot, progress, memory, observation);
        } else {
            self.observe_another(hot, progress, memory, observation);
        }
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
        memory.readings.put(usize::from(node.slot), Reading::FAILED);
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
