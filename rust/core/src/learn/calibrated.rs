//! The default method: posterior beliefs over sets of consulted stages, then backward induction (theory, section 4).
//! Beliefs do not depend on prices: [`Calibrated::repriced`] shares them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::calibrate::{self, Column};
use super::clock::Clock;
use super::deadlines::induce_within;
use super::induction::{self, Induced, Recorded};
use super::known::Known;
use super::logistic::sigmoid;
use super::options::{Approach, Shape};
use super::order::check_order;
use super::parts;
use super::ranges::Ranges;
use super::readings::{logits, weighed_sample};
use super::scale::{self, Scale};
use super::situations::Situations;
use super::tuning::Tuning;
use super::weigher::Weigher;
use super::{cells, nodes, sample};
use crate::error::Result;
use crate::evaluate::{Objective, Terms};
use crate::parallel;
use crate::rules::{BeliefRule, Beliefs, Calibration, NO_PREDICTION, Node, Nothing, Pair, Reading, Readings};
use crate::trace::{Kind, Trace};

/// Rows walked by one task.
const CHUNK: usize = 4096;
/// Rows times situations that are kept for further goals, at most, over those of one policy (`decision_cells`).
const KEPT_BUDGETS: usize = 2;

/// A rule, and what it says about itself.
pub struct Learned {
    /// The rule.
    pub rule: BeliefRule,
    /// Index of each stage where stages form a line, as an expected loss in the unit of the trace.
    pub index: Vec<Vec<f64>>,
    /// The kind of graph.
    pub graph: &'static str,
}

type Cache<K, V> = Arc<Mutex<BTreeMap<K, Arc<V>>>>;

/// Calibration and beliefs of one trace: rules for any trade-off follow cheaply.
pub struct Calibrated {
    pub(super) trace: Trace,
    /// The rows that decisions are found on, if not all.
    thinned: Option<Trace>,
    /// The blocks of time, where time is part of the decision.
    clock: Option<Clock>,
    /// What each row's stages cost over what they cost the average one (n,), where that is part of the decision: the costs of
    /// the trace have been divided by it.
    pub(super) relative: Option<Arc<Vec<f64>>>,
    /// The ranges that these are in.
    ranges: Option<Ranges>,
    pub(super) shape: Shape,
    /// The only stages that may run, in their order, where that is prescribed.
    pub(super) order: Option<Vec<usize>>,
    /// Loss of answering with nothing; infinite: some stage has to answer.
    pub(super) default_loss: f64,
    /// What a request loses that ends without an answer, once somebody has asked.
    missed: Arc<OnceLock<f64>>,
    pub(super) tuning: Arc<Tuning>,
    /// From losses to what beliefs are fitted to, and to what decisions are found on.
    scale: Scale,
    /// Calibration, with recall.
    beliefs: Beliefs,
    weigher: Arc<Weigher>,
    /// `logit[v][row]` on the rows that decisions are found on; infinite without a signal.
    logit: Arc<Vec<Vec<f64>>>,
    /// By recall and members.
    known: Cache<(bool, Vec<u16>), Known>,
    pub(super) scout: OnceLock<Box<Self>>,
    pub(super) checked: OnceLock<Box<Self>>,
    pub(super) folds: OnceLock<Vec<Fold>>,
    /// The same under the prices of the trace, where these are others.
    pub(super) original: Option<Arc<Self>>,
}

/// Some rows to learn from, and the others to judge on.
pub struct Fold {
    /// Learned from most of the rows.
    pub calibrated: Calibrated,
    /// The rest.
    pub held: Trace,
}

impl Fold {
    /// The same under other prices (k,).
    pub fn priced(&self, cost: &[f64]) -> Self {
        Self { calibrated: self.calibrated.priced(cost), held: self.held.priced(cost) }
    }
}

impl Calibrated {
    /// Calibrates every stage. O(k · rows · log rows) for a sample of rows, plus one pass over all.
    ///
    /// # Errors
    /// [`Error::Invalid`] where `order` is empty, names a stage twice or one that is not there, or goes back from an
    /// exit to an earlier one.
    pub fn new(trace: Trace, approach: &Approach, tuning: Tuning) -> Result<Self> {
        let Approach { shape, order, default_loss, deadline, known_cost, .. } = approach;
        check_order(&trace, order.as_deref())?;
        let (trace, relative) = if *known_cost {
            let (average, relative) = trace.at_average_cost();
            (average, Some(relative))
        } else {
            (trace, None)
        };
        let clock = deadline.then(|| Clock::new(&trace, &tuning));
        let nothing = default_loss.unwrap_or(f64::INFINITY);
        let made = Self { clock, ..Self::build(trace, *shape, order.clone(), nothing, Arc::new(tuning)) };
        Ok(match relative {
            Some(relative) => made.knowing_cost(relative),
            None => made,
        })
    }

    /// The same where it is known of each row what its stages cost over what they cost the average one (n,), by which the
    /// costs of the trace have been divided.
    pub(super) fn knowing_cost(self, relative: Vec<f64>) -> Self {
        let ranges = Some(Ranges::of(&relative, self.trace.weight(), &self.tuning));
        Self { relative: Some(Arc::new(relative)), ranges, ..self }
    }

    pub(super) fn build(
        trace: Trace,
        shape: Shape,
        order: Option<Vec<usize>>,
        default_loss: f64,
        tuning: Arc<Tuning>,
    ) -> Self {
        let k = trace.stages();
        let most = (tuning.sample_signals / k).max(tuning.least_sample_rows).min(tuning.sample_rows);
        let some = parts::spread(&trace, most).map_or_else(|| trace.clone(), |rows| trace.select(&rows));
        let scale = Scale::of(&some, &tuning);
        let weight: Vec<f64> = some.weight().iter().map(|w| w * scale.mass).collect();
        let target: Vec<Vec<f64>> =
            parallel::map(0..k, |v| if some.is_probe(v) { Vec::new() } else { scale.targets(some.loss(v)) });
        let target = scale::with_probes(target, some.rows());
        let calibration = parallel::map(0..k, |v| {
            let column = Column {
                signal: some.signal(v),
                target: &target[v],
                weight: &weight,
                prediction: some.prediction(v),
                group: some.group(),
            };
            let calibration = calibrate::calibration(&column, scale.unit, &tuning);
            if some.is_probe(v) { Calibration { mean_loss: f64::INFINITY, ..calibration } } else { calibration }
        });
        let margin = if trace.kind() == Kind::Exits { tuning.margin_exits } else { tuning.margin_models };
        let margin = margin * (tuning.margin_rows / some.effective_rows()).sqrt().min(tuning.margin_most);
        let beliefs = Beliefs { recall: true, margin, scale: scale.unit, calibration, pairs: Arc::default() };
        let sample = weighed_sample(&some, &beliefs, target, weight);
        let weigher = Weigher::new(sample, &beliefs.calibration, is_line(shape, trace.kind()), &tuning);
        Self::believing(trace, (shape, order, default_loss), scale, beliefs, weigher, tuning)
    }

    /// With beliefs that are known, which were fitted to losses divided by `scale`; `asked`: the shape, the order and the
    /// loss of answering with nothing. O(n k).
    pub fn believing(
        trace: Trace,
        asked: (Shape, Option<Vec<usize>>, f64),
        scale: Scale,
        beliefs: Beliefs,
        weigher: Weigher,
        tuning: Arc<Tuning>,
    ) -> Self {
        let (shape, order, default_loss) = asked;
        let k = trace.stages();
        let situations = if is_line(shape, trace.kind()) { k } else { (1 << k.min(tuning.lattice_stages)) - 1 };
        let thinned = parts::spread(&trace, tuning.decision_cells / situations).map(|rows| trace.select(&rows));
        let logit = logits(thinned.as_ref().unwrap_or(&trace), &beliefs);
        Self {
            trace,
            thinned,
            clock: None,
            relative: None,
            ranges: None,
            shape,
            order,
            default_loss,
            missed: Arc::default(),
            tuning,
            scale,
            beliefs,
            weigher: Arc::new(weigher),
            logit: Arc::new(logit),
            known: Arc::default(),
            scout: OnceLock::new(),
            checked: OnceLock::new(),
            folds: OnceLock::new(),
            original: None,
        }
    }

    /// The same beliefs under other prices (k,), none of them negative. O(k): rows, and what is weighed on them, are
    /// shared.
    pub fn repriced(self: &Arc<Self>, cost: &[f64]) -> Self {
        let original = self.original.as_ref().unwrap_or(self);
        Self { original: Some(Arc::clone(original)), ..original.priced(cost) }
    }

    /// The same beliefs under other prices, without what other rows give.
    pub fn priced(&self, cost: &[f64]) -> Self {
        Self {
            trace: self.trace.priced(cost),
            thinned: self.thinned.as_ref().map(|thinned| thinned.priced(cost)),
            clock: self.clock.clone(),
            relative: self.relative.clone(),
            ranges: self.ranges.clone(),
            shape: self.shape,
            order: self.order.clone(),
            default_loss: self.default_loss,
            missed: Arc::clone(&self.missed),
            tuning: Arc::clone(&self.tuning),
            scale: self.scale,
            beliefs: self.beliefs.clone(),
            weigher: Arc::clone(&self.weigher),
            logit: Arc::clone(&self.logit),
            known: Arc::clone(&self.known),
            scout: OnceLock::new(),
            checked: OnceLock::new(),
            folds: OnceLock::new(),
            original: None,
        }
    }

    /// The trace it learned from.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The constants of learning.
    pub fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// Loss of answering with nothing; infinite: some stage has to answer.
    pub fn default_loss(&self) -> f64 {
        self.default_loss
    }

    /// What a request loses that ends without an answer. O(n k) the first time.
    fn missed(&self) -> f64 {
        *self.missed.get_or_init(|| Terms::default().nothing(self.default_loss, &self.trace))
    }

    /// Calibration, with recall or without.
    pub fn beliefs(&self, recall: bool) -> Beliefs {
        Beliefs { recall, ..self.beliefs.clone() }
    }

    /// The same with what it says which classes are named, of all stages that may run.
    pub fn beliefs_about(&self, situations: &Situations, recall: bool) -> Beliefs {
        let stages: BTreeSet<u16> = situations.list.iter().flat_map(|it| it.members.iter().copied()).collect();
        let pairs = self.weigher.pairs(&stages.into_iter().collect::<Vec<_>>());
        Beliefs { pairs: pairs.iter().map(|pair| Pair::clone(pair)).collect(), ..self.beliefs(recall) }
    }

    fn nothing(&self) -> Nothing {
        Nothing::new(self.default_loss, false, self.beliefs.scale)
    }

    /// Whether nothing but the trace says which stage may follow which.
    pub fn is_free(&self) -> bool {
        self.shape == Shape::Auto && self.order.is_none()
    }

    /// Whether time is part of the decision.
    pub fn knows_time(&self) -> bool {
        self.clock.is_some()
    }

    /// The ranges of costs, where these are part of the decision.
    pub fn ranges(&self) -> Option<&Ranges> {
        self.ranges.as_ref()
    }

    /// Whether each stage can only follow the one before.
    pub fn is_line(&self) -> bool {
        is_line(self.shape, self.trace.kind())
    }

    /// Whether earlier stages may follow later ones.
    pub fn is_any_order(&self, recall: bool) -> bool {
        self.is_free() && recall
    }

    /// The stages that may run, in their order.
    pub fn order(&self) -> Vec<usize> {
        self.order.clone().unwrap_or_else(|| (0..self.trace.stages()).collect())
    }

    /// Rows that decisions are found on.
    pub fn rows(&self) -> &Trace {
        self.thinned.as_ref().unwrap_or(&self.trace)
    }

    /// The rule for one objective where only the given stages may run; a line takes all of them regardless.
    /// O(rows · situations).
    pub fn rule_among(&self, stages: &[usize], objective: Objective, recall: bool) -> Learned {
        let situations = if self.is_line() {
            Situations::line(&self.trace, &self.order(), self.tuning.line_members)
        } else {
            self.lattice(stages, recall)
        };
        let known = self.known(&[&situations], recall);
        let induced = self.induce(&situations, &known, objective);
        let index = nodes::index_of(&situations, &induced, self.trace.stages(), &self.beliefs);
        let graph = match (situations.line.is_some(), self.is_any_order(recall)) {
            (true, _) => "line",
            (false, true) => "lattice",
            (false, false) => "skip",
        };
        let beliefs = self.beliefs_about(&situations, recall);
        let favoured = |members: &[u16]| self.favoured(members);
        let within =
            self.clock.as_ref().map(|clock| (clock, self.induce_within(&situations, &known, objective, clock)));
        let within = within.as_ref().map(|(clock, blocks)| (*clock, blocks.as_slice()));
        let rule = nodes::assemble(beliefs, &situations, &known, &induced, within, favoured);
        Learned { rule: rule.or_nothing(self.default_loss, induced.at_once), index, graph }
    }

    /// What is best for every block of time, found on so many rows as there is room for.
    fn induce_within(
        &self,
        situations: &Situations,
        known: &[Arc<Known>],
        objective: Objective,
        clock: &Clock,
    ) -> Vec<Induced> {
        let cells = situations.list.len() * clock.until.len();
        let rows = sample::spread(self.rows().rows(), self.tuning.decision_cells / cells);
        let known: Vec<Known> = known.iter().map(|known| known.select(&rows)).collect();
        let known: Vec<&Known> = known.iter().collect();
        let some = self.rows().select(&rows);
        let recorded = self.recorded(&some, &known, objective);
        induce_within(situations, &recorded, clock, self.missed())
    }

    /// Every set of the given stages.
    pub fn lattice(&self, stages: &[usize], recall: bool) -> Situations {
        Situations::lattice(&self.trace, stages, self.is_any_order(recall))
    }

    /// The mean objective that each of several sets of stages promises on the rows learned from.
    pub fn values(&self, sets: &[Vec<usize>], objective: Objective, recall: bool) -> Vec<f64> {
        let all: Vec<Situations> = sets.iter().map(|stages| self.lattice(stages, recall)).collect();
        self.known(&all.iter().collect::<Vec<_>>(), recall);
        parallel::map(&all, |situations| self.induce(situations, &self.known(&[situations], recall), objective).value)
    }

    /// The part of every objective that is no reason for any decision: what rows lose at every stage beyond the loss that
    /// beliefs are fitted up to. O(n k).
    pub fn unavoidable(&self, objective: Objective) -> f64 {
        let rows = self.rows();
        let mut least = vec![self.default_loss; rows.rows()];
        for column in rows.losses().iter_columns() {
            for (least, loss) in least.iter_mut().zip(column) {
                *least = least.min(*loss);
            }
        }
        let beyond: Vec<f64> = least.iter().map(|least| (least - self.scale.cap).max(0.0)).collect();
        objective.loss * (1.0 - self.scale.noise) * rows.mean(&beyond)
    }

    /// What is best in every situation.
    pub fn induce(&self, situations: &Situations, known: &[Arc<Known>], objective: Objective) -> Induced {
        let known: Vec<&Known> = known.iter().map(Arc::as_ref).collect();
        induction::induce(situations, &self.recorded(self.rows(), &known, objective))
    }

    /// Some rows to find decisions on, and what is known in each of some situations.
    pub fn recorded<'a>(&'a self, rows: &'a Trace, known: &'a [&'a Known], objective: Objective) -> Recorded<'a> {
        let (size, nothing) = (rows.effective_rows(), self.nothing());
        let may_end = self.default_loss < f64::INFINITY;
        Recorded { rows, size, known, objective, nothing, may_end, tuning: &self.tuning }
    }

    /// What is known in every situation, in order; computed where it has not been yet.
    pub fn known(&self, all: &[&Situations], recall: bool) -> Vec<Arc<Known>> {
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = || all.iter().flat_map(|situations| &situations.list).map(|s| (recall, s.members.clone()));
        let mut found: BTreeMap<(bool, Vec<u16>), Arc<Known>> = {
            let known = lock();
            keys().filter_map(|key| known.get(&key).cloned().map(|found| (key, found))).collect()
        };
        let missing: BTreeSet<Vec<u16>> = keys().filter(|key| !found.contains_key(key)).map(|key| key.1).collect();
        // The largest sets take longest: they are begun first.
        let mut missing: Vec<Vec<u16>> = missing.into_iter().collect();
        missing.sort_by_key(|members| std::cmp::Reverse(members.len()));
        let learned = parallel::map(missing, |members| {
            let known = Arc::new(self.weigh(&members, recall));
            ((recall, members), known)
        });
        found.extend(learned.iter().cloned());
        let mut known = lock();
        if (known.len() + learned.len()) * self.rows().rows() > KEPT_BUDGETS * self.tuning.decision_cells {
            known.clear();
        }
        known.extend(learned);
        keys().filter_map(|key| found.get(&key).cloned()).collect()
    }

    /// The member that runs last of those that answer, where only one of them can.
    fn latest(&self, members: &[u16]) -> u16 {
        let order = self.order();
        let is_member = |stage: &&usize| members.contains(&(**stage as u16));
        let latest = order.iter().rev().filter(is_member).map(|stage| *stage as u16);
        latest.clone().find(|stage| !self.is_probe(*stage)).or_else(|| latest.clone().next()).unwrap_or(0)
    }

    fn is_probe(&self, stage: u16) -> bool {
        self.beliefs.calibration[usize::from(stage)].is_probe()
    }

    /// The member that is best by itself: the deepest exit, or the model with the least mean loss.
    pub fn favoured(&self, members: &[u16]) -> u16 {
        let loss = |stage: &u16| self.beliefs.calibration[usize::from(*stage)].mean_loss;
        match self.trace.kind() {
            Kind::Exits => members.iter().copied().rfind(|stage| !self.is_probe(*stage)).or(members.last().copied()),
            Kind::Models => members.iter().copied().min_by(|a, b| loss(a).total_cmp(&loss(b))),
        }
        .unwrap_or(0)
    }

    /// Weighs the answers of one set of stages on all rows, with the code that runs online.
    fn weigh(&self, members: &[u16], recall: bool) -> Known {
        let weights = self.weigher.weights(members);
        let pairs: Arc<[Pair]> = self.weigher.pairs(members).iter().map(|pair| Pair::clone(pair)).collect();
        let beliefs = Beliefs { pairs, ..self.beliefs(recall) };
        let latest = self.latest(members);
        let node = Node::new(members, latest, self.favoured(members), &weights.evidence, &[]);
        let node = node.sharing(&weights.shares).disputed(&beliefs.pairs);
        let node = node.among(|stage| self.is_probe(stage), latest);
        let cells = beliefs.cells(&node);
        let is_silent = members.iter().all(|stage| self.is_probe(*stage));
        let rows = self.rows();
        let column = |v: &u16| (self.logit[usize::from(*v)].as_slice(), rows.prediction(usize::from(*v)));
        let columns: Vec<(&[f64], Option<&[i64]>)> = members.iter().map(column).collect();
        let losses: Vec<&[f64]> = rows.losses().iter_columns().collect();
        let (nothing, share) = (self.nothing(), self.tuning.belief_share);
        let walk = |row: usize| {
            let mut hand = Readings::EMPTY;
            let mut is_complete = true;
            for (at, (logit, prediction)) in columns.iter().enumerate() {
                let prediction = prediction.map_or(NO_PREDICTION, |prediction| prediction[row]);
                let seen = Reading { logit: logit[row] as f32, prediction };
                is_complete &= seen.is_complete();
                hand.put(at, seen);
            }
            let (belief, stage) = beliefs.believe(&node, &cells, &hand, is_complete);
            if is_silent || nothing.beats(belief) {
                return (belief, self.missed());
            }
            let realised = self.scale.settled(losses[usize::from(stage)][row]);
            (belief, (1.0 - share) * realised + share * beliefs.scale * sigmoid(belief))
        };
        let n = rows.rows();
        let (mut belief, mut loss) = (vec![0.0; n], vec![0.0; n]);
        let chunks = belief.chunks_mut(CHUNK).zip(loss.chunks_mut(CHUNK)).enumerate();
        parallel::for_each(chunks, |(chunk, (belief, loss))| {
            for (at, (belief, loss)) in belief.iter_mut().zip(loss).enumerate() {
                (*belief, *loss) = walk(chunk * CHUNK + at);
            }
        });
        let (cell, cuts) = cells::cells(&belief, &self.tuning);
        Known { weights, belief, loss, cell, cuts, is_silent }
    }
}

/// Whether each stage can only follow the one before.
fn is_line(shape: Shape, kind: Kind) -> bool {
    shape == Shape::Line || (shape == Shape::Auto && kind == Kind::Exits)
}
