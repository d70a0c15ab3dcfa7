//! How requests have ended, each way once: few ways are gone by many requests.

use crate::plan::{NO_STAGE, signed};

/// No step, no end.
const NONE: u32 = u32::MAX;

/// Ways through the stages that requests have gone, as a tree, and how those requests ended.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    /// The first is before any stage.
    steps: Vec<Step>,
    ends: Vec<End>,
}

/// A stage that was run after the stages on the way to it.
#[derive(Clone, Copy, Debug)]
struct Step {
    before: u32,
    stage: u16,
    /// The step after it that was found last, and the one after the same stages that was found before this one.
    after: u32,
    beside: u32,
    /// The end here that was found last.
    end: u32,
}

/// How requests have ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// The last stage, and those before it.
    step: u32,
    /// The end there that was found before this one.
    beside: u32,
    answer: u16,
    /// The stage run last.
    last: u16,
    late: bool,
    cost: f64,
}

impl End {
    pub(super) fn answer(&self) -> i32 {
        signed(self.answer)
    }

    pub(super) fn last(&self) -> i32 {
        signed(self.last)
    }

    pub(super) fn late(&self) -> bool {
        self.late
    }

    pub(super) fn cost(&self) -> f64 {
        self.cost
    }
}

impl Ways {
    /// The step before any stage.
    pub(super) const START: u32 = 0;

    pub(super) fn new() -> Self {
        let start = Step { before: NONE, stage: NO_STAGE, after: NONE, beside: NONE, end: NONE };
        Self { steps: vec![start], ends: Vec::new() }
    }

    /// The step that runs `stage` after those that led to the step `from`.
    #[inline]
    pub(super) fn step(&mut self, from: u32, stage: u16) -> u32 {
        let mut at = self.steps.get(from as usize).map_or(NONE, |from| from.after);
        while let Some(step) = self.steps.get(at as usize) {
            if step.stage == stage {
                return at;
            }
            at = step.beside;
        }
        self.add_step(from, stage)
    }

    #[cold]
    fn add_step(&mut self, from: u32, stage: u16) -> u32 {
        let added = self.steps.len() as u32;
        let beside = self.steps.get_mut(from as usize).map_or(NONE, |from| std::mem::replace(&mut from.after, added));
        self.steps.push(Step { before: from, stage, after: NONE, beside, end: NONE });
        added
    }

    /// The number of an end: a request that has gone to this step ends with this.
    #[inline]
    pub(super) fn end(&mut self, at: u32, answer: u16, late: bool, cost: f64) -> u32 {
        let mut number = self.steps.get(at as usize).map_or(NONE, |step| step.end);
        while let Some(end) = self.ends.get(number as usize) {
            if (end.answer, end.late, end.cost.to_bits()) == (answer, late, cost.to_bits()) {
                return number;
            }
            number = end.beside;
        }
        self.add_end(at, answer, late, cost)
    }

    #[cold]
    fn add_end(&mut self, at: u32, answer: u16, late: bool, cost: f64) -> u32 {
        let added = self.ends.len() as u32;
        let Some(step) = self.steps.get_mut(at as usize) else { return NONE };
        let (beside, last) = (std::mem::replace(&mut step.end, added), step.stage);
        self.ends.push(End { step: at, beside, answer, last, late, cost });
        added
    }

    /// Every end, by its number.
    pub(super) fn ends(&self) -> &[End] {
        &self.ends
    }

    /// Whether each of `stages` stages was run before an end, end after end.
    pub(super) fn ran(&self, stages: usize) -> Vec<bool> {
        let mut ran = vec![false; self.ends.len() * stages];
        for (end, ran) in self.ends.iter().zip(ran.chunks_exact_mut(stages.max(1))) {
            let mut at = end.step;
            while let Some(step) = self.steps.get(at as usize) {
                if let Some(ran) = ran.get_mut(usize::from(step.stage)) {
                    *ran = true;
                }
                at = step.before;
            }
        }
        ran
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_and_each_end_of_it_is_kept_once() {
        let mut ways = Ways::new();
        let mut follow = |stages: &[u16]| stages.iter().fold(Ways::START, |at, stage| ways.step(at, *stage));
        let (short, long, other) = (follow(&[0, 2]), follow(&[0, 2, 1]), follow(&[2, 0]));
        assert_eq!((follow(&[0, 2]), follow(&[0, 2, 1]), follow(&[2, 0])), (short, long, other));
        let ends = [(short, 2, false), (short, 0, false), (short, 2, true), (long, 2, false), (other, NO_STAGE, false)];
        let numbers = ends.map(|(at, answer, late)| ways.end(at, answer, late, 3.0));
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        assert_eq!(ends.map(|(at, answer, late)| ways.end(at, answer, late, 3.0)), numbers);
        assert_eq!(ways.end(short, 2, false, 4.0), 5);
        let found: Vec<_> = ways.ends().iter().map(|end| (end.answer(), end.last(), end.late(), end.cost())).collect();
        let expected = [
            (2, 2, false, 3.0),
            (0, 2, false, 3.0),
            (2, 2, true, 3.0),
            (2, 1, false, 3.0),
            (-1, 0, false, 3.0),
            (2, 2, false, 4.0),
        ];
        assert_eq!(found, expected);
        let (without_one, all) = ([true, false, true], [true; 3]);
        let expected = [without_one, without_one, without_one, all, without_one, without_one];
        assert_eq!(ways.ran(3), expected.concat());
    }

    #[test]
    fn a_request_that_runs_nothing_ends_too() {
        let mut ways = Ways::new();
        assert_eq!(ways.end(Ways::START, NO_STAGE, false, 0.0), 0);
        assert_eq!((ways.ends().first().map(End::last), ways.ran(2)), (Some(-1), vec![false, false]));
    }
}
