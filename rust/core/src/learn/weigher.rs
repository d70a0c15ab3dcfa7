//! How the answers of sets of stages are weighed: found once for each set.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::evidence::{self, Sample, Weights};
use super::pairs;
use super::tuning::Tuning;
use crate::parallel;
use crate::rules::{BeliefRule, Calibration, Node, Pair};
use crate::trace::Kind;

/// Weights of sets of stages, fitted to some rows. They do not depend on prices: those who differ in these share one.
pub struct Weigher {
    sample: Sample,
    /// Whether each stage informs and never answers.
    is_probe: Vec<bool>,
    /// Whether what classes say is asked for each two stages.
    is_paired: bool,
    tuning: Arc<Tuning>,
    weights: Mutex<BTreeMap<Vec<u16>, Arc<Weights>>>,
    /// Which classes two stages name, where that matters.
    pairs: Mutex<BTreeMap<[u16; 2], Option<Arc<Pair>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Weigher {
    /// Of these rows; on a line few of all pairs of stages would ever be weighed by themselves.
    pub fn new(sample: Sample, calibration: &[Calibration], is_line: bool, tuning: &Arc<Tuning>) -> Self {
        let is_paired = tuning.pair_classes > 0 && !is_line && sample.trace.predictions().is_some();
        let is_probe = calibration.iter().map(Calibration::is_probe).collect();
        let (weights, pairs) = (Mutex::default(), Mutex::default());
        Self { sample, is_probe, is_paired, tuning: Arc::clone(tuning), weights, pairs }
    }

    /// The weights of a rule that is known, and for sets that it does not weigh, of these rows.
    pub fn knowing(rule: &BeliefRule, sample: Sample, tuning: &Arc<Tuning>) -> Self {
        let beliefs = rule.beliefs();
        let of = |node: &Node| Weights { evidence: node.evidence.to_vec(), shares: node.shares.to_vec() };
        let weights = rule.nodes().iter().map(|node| (node.members.clone(), Arc::new(of(node)))).collect();
        let k = beliefs.calibration.len() as u16;
        let mut pairs: BTreeMap<[u16; 2], Option<Arc<Pair>>> =
            (0..k).flat_map(|one| (one + 1..k).map(move |other| ([one, other], None))).collect();
        pairs.extend(beliefs.pairs.iter().map(|pair| (pair.stages(), Some(Arc::new(pair.clone())))));
        Self {
            sample,
            is_probe: beliefs.calibration.iter().map(Calibration::is_probe).collect(),
            is_paired: !beliefs.pairs.is_empty(),
            tuning: Arc::clone(tuning),
            weights: Mutex::new(weights),
            pairs: Mutex::new(pairs),
        }
    }

    /// How the answers of one set of stages, ascending, are weighed.
    pub fn weights(&self, members: &[u16]) -> Arc<Weights> {
        let known = || lock(&self.weights).get(members).cloned();
        if let Some(found) = known() {
            return found;
        }
        let pairs = self.pairs(members);
        // Of two stages that no table is about, the weights are known by now.
        known().unwrap_or_else(|| self.keep(members, self.weights_with(members, &pairs)))
    }

    /// What it says about some stages, ascending, which classes they name, where that matters.
    pub fn pairs(&self, members: &[u16]) -> Vec<Arc<Pair>> {
        if !self.is_paired {
            return Vec::new();
        }
        let others =
            |(at, one): (usize, &u16)| members[at + 1..].iter().map(|other| [*one, *other]).collect::<Vec<_>>();
        let two: Vec<[u16; 2]> = members.iter().enumerate().flat_map(others).collect();
        parallel::map(two, |stages| self.pair(stages)).into_iter().flatten().collect()
    }

    fn pair(&self, stages: [u16; 2]) -> Option<Arc<Pair>> {
        if let Some(found) = lock(&self.pairs).get(&stages) {
            return found.clone();
        }
        let weights = self.weights_with(&stages, &[]);
        let logit = evidence::logits_of_two(&self.sample, stages, &weights.evidence);
        let found = pairs::pair(&self.sample, stages, logit.each_ref().map(Vec::as_slice), &self.tuning).map(Arc::new);
        lock(&self.pairs).insert(stages, found.clone());
        if found.is_none() {
            self.keep(&stages, weights);
        }
        found
    }

    fn keep(&self, members: &[u16], weights: Weights) -> Arc<Weights> {
        let weights = Arc::new(weights);
        lock(&self.weights).insert(members.to_vec(), Arc::clone(&weights));
        weights
    }

    fn weights_with(&self, members: &[u16], pairs: &[Arc<Pair>]) -> Weights {
        let Tuning { ridge_exits, ridge_models, .. } = *self.tuning;
        let ridge = if self.sample.trace.kind() == Kind::Exits { ridge_exits } else { ridge_models };
        let is_probe = |stage: u16| self.is_probe[usize::from(stage)];
        evidence::evidences(&self.sample, members, pairs, is_probe, ridge, &self.tuning)
    }
}
