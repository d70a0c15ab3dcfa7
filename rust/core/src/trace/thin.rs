//! Where requests are like none that was run through every stage.

use std::collections::BTreeMap;

use super::nearest::Features;
use super::pattern::Pattern;

/// Difference in the rank of a signal from which on requests are not alike.
const REACH: f32 = 0.1;
/// Requests that are to be alike.
const NEAR: usize = 5;
/// Share of the requests that are like none that was run through from which on that is worth a word.
const SHARE: f64 = 0.05;

/// A stage that was not run for many requests, and hardly for any like them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Thin {
    /// The stage that was not run.
    pub stage: usize,
    /// The first of these requests.
    pub row: usize,
    /// The stage whose signal tells it from the requests that were run through.
    pub seen: usize,
    /// How many requests these are.
    pub rows: usize,
    /// How many were run through every stage.
    pub through: usize,
}

/// Looks for requests that are like none of some others.
pub struct Thinness<'a> {
    features: &'a Features<'a>,
    /// Ranks of the others (k, d), ascending.
    ranks: Vec<Vec<f32>>,
    /// By the stage that was not run: the first request, the stage that tells it, and how many there are.
    found: BTreeMap<usize, (u32, usize, usize)>,
}

impl<'a> Thinness<'a> {
    /// Of the rows `others`.
    pub fn new(features: &'a Features<'a>, others: &[u32]) -> Self {
        let sorted = |v: usize| {
            let mut ranks: Vec<f32> = others.iter().map(|row| features.rank(v, *row)).collect();
            ranks.sort_unstable_by(f32::total_cmp);
            ranks
        };
        Self { features, ranks: (0..features.stages()).map(sorted).collect(), found: BTreeMap::new() }
    }

    /// Takes note of one request.
    pub fn look(&mut self, row: u32, pattern: &Pattern) {
        let is_far = |v: &usize| {
            let (own, ranks) = (self.features.rank(*v, row), &self.ranks[*v]);
            let near = ranks.partition_point(|x| *x <= own + REACH) - ranks.partition_point(|x| *x < own - REACH);
            near < NEAR
        };
        let Some(seen) = pattern.run().find(is_far) else { return };
        for stage in (0..self.ranks.len()).filter(|stage| !pattern.is_run[*stage]) {
            let found = self.found.entry(stage).or_insert((row, seen, 0));
            *found = if row < found.0 { (row, seen, found.2 + 1) } else { (found.0, found.1, found.2 + 1) };
        }
    }

    /// The stages that this is worth a word of, where `through` were run through every stage; `kept`: what rows were
    /// numbered before some were left out.
    pub fn found(self, through: usize, kept: Option<&[u32]>) -> Vec<Thin> {
        let most = SHARE * self.features.rows() as f64;
        let number = |row: u32| kept.and_then(|kept| kept.get(row as usize)).copied().unwrap_or(row) as usize;
        let thin = |(stage, (row, seen, rows))| Thin { stage, row: number(row), seen, rows, through };
        self.found.into_iter().map(thin).filter(|thin| thin.rows as f64 > most).collect()
    }
}
