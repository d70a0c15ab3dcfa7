//! The default fit: posterior beliefs over sets of consulted stages, then backward induction (theory, section 4).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

use super::calibrate::{self, Column};
use super::evidence::{self, Sample};
use super::induction::{self, Decision, Plan};
use super::logistic::sigmoid;
use super::situations::Graph;
use super::{Shape, sample};
use crate::error::{Error, Result};
use crate::plan::{Intervals, STOP};
use crate::random::mix64;
use crate::rules::{BeliefRule, Beliefs, Evidence, NO_PREDICTION, Node, Reading, SLOTS};
use crate::trace::{Kind, Objective, Trace};

/// Calibration and weights are fitted on at most this many rows …
const SAMPLE: usize = 50_000;
/// … fewer where there are many stages: this many signals …
const SAMPLED_SIGNALS: usize = 400_000;
/// … but never fewer rows than this.
const LEAST_SAMPLE: usize = 2_000;
/// Decisions are found on as many rows as keep rows times situations below this.
const CELLS: usize = 1 << 24;
/// Rows walked by one task.
const CHUNK: usize = 4096;
/// Most stages whose sets are all considered; of more, the best are chosen first.
const LATTICE: usize = 5;
/// Rows on which stages are chosen.
const SCOUTED: usize = 10_000;
/// Rows on which the default is held against simple rules.
const CHECKED: usize = 20_000;
/// Parts that rows are held back in.
const FOLDS: u64 = 4;
/// A further stage must lower the objective by this share.
const WORTHWHILE: f64 = 1e-3;
/// Strength of the pull towards "believe each stage as calibrated".
const RIDGE_MODELS: f64 = 5.0;
const RIDGE_EXITS: f64 = 20.0;
/// Logits by which the best of the stages in hand is favoured when answers are compared: the least of several estimates is
/// too low, and more so if they are noisy.
const MARGIN_MODELS: f64 = 0.5;
const MARGIN_EXITS: f64 = 0.3;
/// Weight of the belief, against the realised loss, in what stopping costs.
const MIX: f64 = 0.5;
/// Cells of the belief that decisions are made by.
const BELIEF_CELLS: usize = 64;
/// Up to this many rows cells are exact; beyond, they come from a sample.
const EXACT: usize = 65_536;

/// A rule, and what it says about itself.
pub struct Learned {
    /// The rule.
    pub rule: BeliefRule,
    /// Index of each stage where stages form a line, as an expected loss.
    pub index: Vec<Vec<f64>>,
    /// The kind of graph.
    pub graph: &'static str,
}

/// What is known once certain stages have run; nothing in it depends on the trade-off.
pub struct Known {
    evidence: Arc<Vec<Evidence>>,
    /// Belief in the best answer in hand, by row.
    pub belief: Vec<f64>,
    /// What stopping costs, by row: half the realised loss, half the believed one.
    pub loss: Vec<f64>,
    /// Cell of the belief, by row.
    pub cell: Vec<u8>,
    /// The limits between the cells, ascending.
    pub cuts: Vec<f64>,
}

type Cache<K, V> = Mutex<BTreeMap<K, Arc<V>>>;

/// Calibration and beliefs of one trace: policies for any trade-off follow cheaply.
pub struct Learner {
    trace: Trace,
    /// The rows that decisions are found on, if not all.
    thinned: Option<Trace>,
    shape: Shape,
    /// The only stages that may run, in their order, where that is prescribed.
    order: Option<Vec<usize>>,
    ridge: f64,
    /// Calibration, with recall.
    beliefs: Beliefs,
    sample: Sample,
    /// `logit[v][row]` on the rows that decisions are found on; infinite without a signal.
    logit: Vec<Vec<f64>>,
    evidence: Cache<Vec<u16>, Vec<Evidence>>,
    /// By recall and members.
    known: Cache<(bool, Vec<u16>), Known>,
    scout: OnceLock<Box<Learner>>,
    checked: OnceLock<Box<Learner>>,
    folds: OnceLock<Vec<Fold>>,
}

/// Some rows to learn from, and the others to judge on.
pub struct Fold {
    /// Learned from most of the rows.
    pub learner: Learner,
    /// The rest.
    pub held: Trace,
}

impl Learner {
    /// Calibrates every stage. O(k · rows · log rows) for at most 50,000 rows, plus one pass over all.
    pub fn new(trace: Trace, shape: Shape) -> Self {
        Self::build(trace, shape, None)
    }

    /// The same where only the stages in `order` may run, none before one that `order` has earlier.
    ///
    /// # Errors
    /// [`Error::Invalid`] where `order` is empty, names a stage twice or one that is not there, or goes back from an
    /// exit to an earlier one.
    pub fn in_order(trace: Trace, shape: Shape, order: Vec<usize>) -> Result<Self> {
        if order.is_empty() {
            return Err(Error::invalid("`order` must name at least one stage, got none"));
        }
        for (at, stage) in order.iter().enumerate() {
            if *stage >= trace.stages() {
                return Err(Error::invalid(format!("`order[{at}]` must be in 0..{}, got {stage}", trace.stages())));
            }
            if order[..at].contains(stage) {
                return Err(Error::invalid(format!("`order[{at}]` must differ from the others, got {stage} again")));
            }
            if trace.kind == Kind::Exits && at > 0 && order[at - 1] > *stage {
                let message = format!("`order[{at}]` must be a later exit than {}, got {stage}", order[at - 1]);
                return Err(Error::invalid(message));
            }
        }
        Ok(Self::build(trace, shape, Some(order)))
    }

    fn build(trace: Trace, shape: Shape, order: Option<Vec<usize>>) -> Self {
        let k = trace.stages();
        let scale = trace.scale();
        let most = (SAMPLED_SIGNALS / k).clamp(LEAST_SAMPLE, SAMPLE);
        let sampled = thinned(&trace, most);
        let some = sampled.as_ref().unwrap_or(&trace);
        let target: Vec<Vec<f64>> =
            some.loss.par_iter().map(|column| column.iter().map(|loss| loss / scale).collect()).collect();
        let calibration: Vec<_> = (0..k)
            .into_par_iter()
            .map(|v| {
                let prediction = some.prediction.as_ref().map(|prediction| prediction[v].as_slice());
                let column = Column { signal: &some.signal[v], target: &target[v], weight: &some.weight, prediction };
                calibrate::calibration(&column, scale)
            })
            .collect();
        let margin = if trace.kind == Kind::Exits { MARGIN_EXITS } else { MARGIN_MODELS };
        let beliefs = Beliefs { recall: true, margin, scale, calibration };
        let read = logits(some, &beliefs);
        let is_known: Vec<Vec<bool>> =
            read.iter().map(|column| column.iter().map(|z| z.is_finite()).collect()).collect();
        let filled = read.into_iter().zip(&beliefs.calibration).map(|(column, calibration)| {
            column.into_iter().map(|z| if z.is_finite() { z } else { calibration.missing_logit }).collect()
        });
        let logit = filled.collect();
        let sample =
            Sample { logit, is_known, target, prediction: some.prediction.clone(), weight: some.weight.clone() };
        let situations = if shape == Shape::Line || trace.kind == Kind::Exits && shape == Shape::Auto {
            k
        } else {
            (1 << k.min(LATTICE)) - 1
        };
        let thinned = thinned(&trace, CELLS / situations);
        let logit = logits(thinned.as_ref().unwrap_or(&trace), &beliefs);
        let ridge = if trace.kind == Kind::Exits { RIDGE_EXITS } else { RIDGE_MODELS };
        Self {
            trace,
            thinned,
            shape,
            order,
            ridge,
            beliefs,
            sample,
            logit,
            evidence: Mutex::default(),
            known: Mutex::default(),
            scout: OnceLock::new(),
            checked: OnceLock::new(),
            folds: OnceLock::new(),
        }
    }

    /// The trace it learned from.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Whether nothing but the trace says which stage may follow which.
    pub fn is_free(&self) -> bool {
        self.shape == Shape::Auto && self.order.is_none()
    }

    /// The stages that may run, in their order.
    fn order(&self) -> Vec<usize> {
        self.order.clone().unwrap_or_else(|| (0..self.trace.stages()).collect())
    }

    /// The same kind of learner on other rows.
    fn like(&self, trace: Trace) -> Self {
        Self::build(trace, self.shape, self.order.clone())
    }

    /// The same kind of learner on a sample of at most `most` rows, made once; this one where it has no more.
    fn on_some<'a>(&'a self, most: usize, made: &'a OnceLock<Box<Self>>) -> &'a Self {
        if self.trace.rows() <= most {
            return self;
        }
        made.get_or_init(|| Box::new(self.like(self.trace.select(&sample::spread(self.trace.rows(), most)))))
    }

    /// The one that rules are held against each other with.
    pub fn checked(&self) -> &Self {
        self.on_some(CHECKED, &self.checked)
    }

    /// The rows in `FOLDS` parts, each once held back; none where a part would be empty. The same for every call.
    pub fn folds(&self) -> &[Fold] {
        self.folds.get_or_init(|| {
            let part = |held: bool, fold: u64| -> Vec<u32> {
                let is_held = |row: &u32| mix64(!u64::from(*row)) % FOLDS == fold;
                (0..self.trace.rows() as u32).filter(|row| is_held(row) == held).collect()
            };
            let parts: Vec<[Vec<u32>; 2]> = (0..FOLDS).map(|fold| [part(false, fold), part(true, fold)]).collect();
            if parts.iter().flatten().any(Vec::is_empty) {
                return Vec::new();
            }
            let fold = |[rest, held]: [Vec<u32>; 2]| Fold {
                learner: self.like(self.trace.select(&rest)),
                held: self.trace.select(&held),
            };
            parts.into_par_iter().map(fold).collect()
        })
    }

    /// Rows that decisions are found on.
    fn rows(&self) -> &Trace {
        self.thinned.as_ref().unwrap_or(&self.trace)
    }

    /// The rule for one trade-off. O(rows · situations).
    pub fn rule(&self, objective: Objective, recall: bool) -> Learned {
        self.rule_among(&self.chosen_stages(objective, recall), objective, recall)
    }

    /// The same where the stages are given; a line takes all of them regardless.
    pub fn rule_among(&self, stages: &[usize], objective: Objective, recall: bool) -> Learned {
        let graph = if self.is_line() { Graph::line(&self.trace, &self.order()) } else { self.lattice(stages, recall) };
        let known = self.known(&[&graph], recall);
        let plan = self.plan(&graph, &known, objective);
        let mut index = vec![Vec::new(); self.trace.stages()];
        if graph.line.is_some() {
            for (situation, decision) in graph.situations.iter().zip(&plan.decisions) {
                for choice in &situation.choices {
                    let stop = decision.first().filter(|first| first.1 == 0).map_or(f64::NEG_INFINITY, |first| first.0);
                    index[usize::from(choice.stage)] = vec![self.beliefs.scale * sigmoid(stop)];
                }
            }
        }
        let name = match (graph.line.is_some(), self.is_any_order(recall)) {
            (true, _) => "line",
            (false, true) => "lattice",
            (false, false) => "skip",
        };
        Learned { rule: self.assemble(&graph, &known, &plan, recall), index, graph: name }
    }

    fn is_line(&self) -> bool {
        self.shape == Shape::Line || (self.shape == Shape::Auto && self.trace.kind == Kind::Exits)
    }

    /// Whether earlier stages may follow later ones.
    fn is_any_order(&self, recall: bool) -> bool {
        self.is_free() && recall
    }

    fn lattice(&self, stages: &[usize], recall: bool) -> Graph {
        Graph::lattice(&self.trace, stages, self.is_any_order(recall))
    }

    /// The stages worth having: all of a few; of more, the best next one is added while that pays.
    pub fn chosen_stages(&self, objective: Objective, recall: bool) -> Vec<usize> {
        let order = self.order();
        if order.len() <= LATTICE || self.is_line() {
            return order;
        }
        if self.trace.rows() > SCOUTED {
            return self.on_some(SCOUTED, &self.scout).chosen_stages(objective, recall);
        }
        let mut chosen: Vec<usize> = Vec::new();
        let mut best = f64::INFINITY;
        while chosen.len() < LATTICE {
            let with = |further: &usize| -> Vec<usize> {
                order.iter().copied().filter(|stage| stage == further || chosen.contains(stage)).collect()
            };
            let candidates: Vec<Vec<usize>> = order.iter().filter(|stage| !chosen.contains(stage)).map(with).collect();
            let graphs: Vec<Graph> = candidates.iter().map(|stages| self.lattice(stages, recall)).collect();
            self.known(&graphs.iter().collect::<Vec<_>>(), recall);
            let values: Vec<f64> = graphs
                .par_iter()
                .map(|graph| self.plan(graph, &self.known(&[graph], recall), objective).value)
                .collect();
            let least = (0..values.len()).min_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap_or(0);
            if values[least] >= best * (1.0 - WORTHWHILE) {
                break;
            }
            best = values[least];
            chosen.clone_from(&candidates[least]);
        }
        chosen
    }

    fn plan(&self, graph: &Graph, known: &[Arc<Known>], objective: Objective) -> Plan {
        let known: Vec<&Known> = known.iter().map(Arc::as_ref).collect();
        induction::plan(graph, &known, &self.rows().weight, objective)
    }

    /// What is known in every situation of the graphs, in order; computed where it has not been yet.
    fn known(&self, graphs: &[&Graph], recall: bool) -> Vec<Arc<Known>> {
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = || graphs.iter().flat_map(|graph| &graph.situations).map(|s| (recall, s.members.clone()));
        let missing: BTreeSet<(bool, Vec<u16>)> = {
            let known = lock();
            keys().filter(|key| !known.contains_key(key)).collect()
        };
        // The largest sets take longest: they are begun first.
        let mut missing: Vec<Vec<u16>> = missing.into_iter().map(|(_, members)| members).collect();
        missing.sort_by_key(|members| std::cmp::Reverse(members.len()));
        let learned: Vec<_> = missing
            .into_par_iter()
            .with_max_len(1)
            .map(|members| {
                let known = Arc::new(self.learn(&members, recall));
                ((recall, members), known)
            })
            .collect();
        let mut known = lock();
        known.extend(learned);
        keys().filter_map(|key| known.get(&key).cloned()).collect()
    }

    /// The weights of one set of stages.
    fn evidence(&self, members: &[u16]) -> Arc<Vec<Evidence>> {
        let lock = || self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = lock().get(members) {
            return Arc::clone(found);
        }
        let evidence = Arc::new(evidence::evidences(&self.sample, members, self.ridge));
        lock().insert(members.to_vec(), Arc::clone(&evidence));
        evidence
    }

    /// The member that runs last, where only one of them can.
    fn latest(&self, members: &[u16]) -> u16 {
        let order = self.order();
        let latest = order.iter().rev().find(|stage| members.contains(&(**stage as u16)));
        latest.map_or(0, |stage| *stage as u16)
    }

    /// The member that is best by itself: the deepest exit, or the model with the least mean loss.
    fn favoured(&self, members: &[u16]) -> u16 {
        let loss = |stage: &u16| self.beliefs.calibration[usize::from(*stage)].mean_loss;
        match self.trace.kind {
            Kind::Exits => members.last().copied(),
            Kind::Models => members.iter().copied().min_by(|a, b| loss(a).total_cmp(&loss(b))),
        }
        .unwrap_or(0)
    }

    /// Weighs the answers of one set of stages on all rows, with the code that runs online.
    fn learn(&self, members: &[u16], recall: bool) -> Known {
        let evidence = self.evidence(members);
        let beliefs = Beliefs { recall, ..self.beliefs.clone() };
        let node = Node::new(members, self.latest(members), self.favoured(members), &evidence, &[]);
        let rows = self.rows();
        let column = |v: &u16| {
            let v = usize::from(*v);
            (self.logit[v].as_slice(), rows.prediction.as_ref().map(|prediction| prediction[v].as_slice()))
        };
        let columns: Vec<(&[f64], Option<&[i64]>)> = members.iter().map(column).collect();
        let walk = |row: usize| {
            let mut hand = [Reading::NONE; SLOTS];
            let mut is_complete = true;
            for (seen, (logit, prediction)) in hand.iter_mut().zip(&columns) {
                *seen = Reading {
                    logit: logit[row],
                    prediction: prediction.map_or(NO_PREDICTION, |prediction| prediction[row]),
                };
                is_complete &= seen.is_complete();
            }
            let (belief, stage) = beliefs.believe(&node, &hand, is_complete);
            let realised = rows.loss[usize::from(stage)][row];
            (belief, (1.0 - MIX) * realised + MIX * beliefs.scale * sigmoid(belief))
        };
        let n = rows.rows();
        let (mut belief, mut loss) = (vec![0.0; n], vec![0.0; n]);
        belief.par_chunks_mut(CHUNK).zip(loss.par_chunks_mut(CHUNK)).enumerate().for_each(|(chunk, (belief, loss))| {
            for (at, (belief, loss)) in belief.iter_mut().zip(loss).enumerate() {
                (*belief, *loss) = walk(chunk * CHUNK + at);
            }
        });
        let (cell, cuts) = if n <= EXACT { exact_cells(&belief) } else { sampled_cells(&belief) };
        Known { evidence, belief, loss, cell, cuts }
    }

    /// The situations that a request can get into, as nodes: parents before children.
    fn assemble(&self, graph: &Graph, known: &[Arc<Known>], plan: &Plan, recall: bool) -> BeliefRule {
        let entry = graph.entries[plan.entry];
        let mut slot_of = vec![0_u8; self.trace.stages()];
        if let Some(line) = &graph.line {
            for (at, stage) in line.iter().enumerate() {
                slot_of[usize::from(*stage)] = (at % SLOTS) as u8;
            }
        } else {
            // The first stage writes to slot 0, the others follow.
            let others: BTreeSet<u16> = graph.entries.iter().map(|e| e.stage).filter(|s| *s != entry.stage).collect();
            for (at, stage) in others.into_iter().enumerate() {
                slot_of[usize::from(stage)] = at as u8 + 1;
            }
        }
        let (mut nodes, mut decisions) = (Vec::new(), Intervals::new());
        let mut number: BTreeMap<(usize, u16), i32> = BTreeMap::from([((entry.to, entry.stage), 0)]);
        let mut queue = VecDeque::from([entry]);
        while let Some(reached) = queue.pop_front() {
            let situation = &graph.situations[reached.to];
            let evidence = &known[reached.to].evidence;
            let favoured = self.favoured(&situation.members);
            nodes.push(Node::new(&situation.members, reached.stage, favoured, evidence, &slot_of));
            let mut target = |action: usize| match action.checked_sub(1).and_then(|c| situation.choices.get(c)) {
                None => STOP,
                Some(choice) => {
                    let next = number.len() as i32;
                    *number.entry((choice.to, choice.stage)).or_insert_with(|| {
                        queue.push_back(*choice);
                        next
                    })
                }
            };
            let decision: &Decision = &plan.decisions[reached.to];
            let (stop, rest) = match decision.split_first() {
                Some(((limit, 0), rest)) => (*limit, rest),
                _ => (f64::NEG_INFINITY, decision.as_slice()),
            };
            let steps: Vec<(f64, i32)> = rest.iter().map(|(limit, action)| (*limit, target(*action))).collect();
            decisions.push(stop, steps);
        }
        BeliefRule::new(Beliefs { recall, ..self.beliefs.clone() }, nodes, decisions)
    }
}

/// A sample of about `most` rows; `None` where that is all of them.
fn thinned(trace: &Trace, most: usize) -> Option<Trace> {
    (trace.rows() > most).then(|| trace.select(&sample::spread(trace.rows(), most)))
}

/// Calibrated logits of every stage, infinite without a signal.
fn logits(trace: &Trace, beliefs: &Beliefs) -> Vec<Vec<f64>> {
    let read = |v: usize| {
        let prediction = trace.prediction.as_ref().map(|prediction| prediction[v].as_slice());
        let mut column = vec![0.0; trace.rows()];
        column.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
            for (at, out) in out.iter_mut().enumerate() {
                let row = chunk * CHUNK + at;
                *out = beliefs.calibration[v]
                    .read(trace.signal[v][row], prediction.map_or(NO_PREDICTION, |prediction| prediction[row]));
            }
        });
        column
    };
    (0..trace.stages()).into_par_iter().map(read).collect()
}

/// Where the cells end, as counts of rows in ascending order of belief: finer at both ends, because the best limit
/// often lies among the last few rows.
fn cell_ends(rows: usize) -> Vec<usize> {
    let cells = BELIEF_CELLS.min(rows);
    let end = |cell: usize| {
        let share = 0.5 - 0.5 * (std::f64::consts::PI * cell as f64 / cells as f64).cos();
        ((rows as f64 * share + 0.5) as usize).min(rows)
    };
    let mut ends: Vec<usize> = (1..=cells).map(end).filter(|end| *end > 0).collect();
    ends.dedup();
    ends
}

/// Limits between the cells: halfway to the next distinct belief, so that no limit is met by a row.
fn between(sorted: &[f64], ends: &[usize]) -> Vec<f64> {
    let inner = ends.split_last().map_or(&[][..], |(_, inner)| inner);
    let limit = |end: &usize| {
        let (below, from) = (sorted[end - 1], &sorted[*end..]);
        from.get(from.partition_point(|x| *x <= below)).map_or(f64::INFINITY, |above| 0.5 * (below + above))
    };
    inner.iter().map(limit).collect()
}

/// Cells of a few rows: equal beliefs may fall into different cells, as their ranks have it.
fn exact_cells(belief: &[f64]) -> (Vec<u8>, Vec<f64>) {
    let mut order: Vec<u32> = (0..belief.len() as u32).collect();
    order.sort_unstable_by(|a, b| belief[*a as usize].total_cmp(&belief[*b as usize]).then(a.cmp(b)));
    let ends = cell_ends(order.len());
    let mut cell = vec![0_u8; belief.len()];
    let mut from = 0;
    for (number, end) in ends.iter().enumerate() {
        for row in &order[from..*end] {
            cell[*row as usize] = number as u8;
        }
        from = *end;
    }
    let sorted: Vec<f64> = order.iter().map(|row| belief[*row as usize]).collect();
    (cell, between(&sorted, &ends))
}

/// Cells of many rows: limits from a sample.
fn sampled_cells(belief: &[f64]) -> (Vec<u8>, Vec<f64>) {
    let some: Vec<f64> = sample::spread(belief.len(), EXACT).iter().map(|row| belief[*row as usize]).collect();
    let sorted = sample::sorted(&some);
    let mut cuts = between(&sorted, &cell_ends(sorted.len()));
    cuts.dedup();
    let mut cell = vec![0_u8; belief.len()];
    cell.par_chunks_mut(CHUNK).zip(belief.par_chunks(CHUNK)).for_each(|(cell, belief)| {
        for (cell, x) in cell.iter_mut().zip(belief) {
            *cell = cuts.partition_point(|cut| cut < x) as u8;
        }
    });
    (cell, cuts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_finer_at_the_ends() {
        let ends = cell_ends(10_000);
        assert_eq!(ends.len(), BELIEF_CELLS);
        assert_eq!(ends.last(), Some(&10_000));
        assert!(ends[0] < 20 && ends[32] - ends[31] > 200, "{ends:?}");
        assert_eq!(cell_ends(1), [1]);
        assert_eq!(cell_ends(2).last(), Some(&2));
    }

    #[test]
    fn exact_and_sampled_cells_agree_on_distinct_beliefs() {
        let belief: Vec<f64> = (0..5000).map(|i| (mix64(i) % 1_000_003) as f64).collect();
        let (exact, cuts) = exact_cells(&belief);
        let (sampled, same) = sampled_cells(&belief);
        assert_eq!(cuts, same);
        assert_eq!(exact, sampled);
    }
}
