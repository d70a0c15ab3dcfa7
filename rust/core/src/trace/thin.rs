//! What is said of a log that knows little of some requests.

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
