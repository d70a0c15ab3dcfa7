//! What is known of a request, stage by stage.

use super::content::Trace;

/// What is known of a request, stage by stage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    /// Whether the stage was run (k,).
    pub is_run: Vec<bool>,
    /// Whether it is known what its answer would have lost (k,).
    pub is_known: Vec<bool>,
}

impl Pattern {
    /// Of one request.
    pub fn of(trace: &Trace, row: usize) -> Self {
        let stages = 0..trace.stages();
        Self {
            is_run: stages.clone().map(|v| trace.is_run(v, row)).collect(),
            is_known: stages.map(|v| !trace.loss(v)[row].is_nan()).collect(),
        }
    }

    /// The stages that were run, ascending.
    pub fn run(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.is_run.iter().enumerate().filter(|(_, is_run)| **is_run).map(|(v, _)| v)
    }

    /// Whether the losses of all that was run are known.
    pub fn is_labelled(&self) -> bool {
        self.run().all(|v| self.is_known[v])
    }
}
