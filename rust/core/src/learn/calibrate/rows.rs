//! The rows that a stage said something about.

/// Rows with a signal.
pub struct Signalled {
    /// Finite (n,).
    pub signal: Vec<f64>,
    /// Loss in [0, 1] (n,).
    pub target: Vec<f64>,
    /// How much each row counts (n,).
    pub weight: Vec<f64>,
    /// Group of each row (n,), if there are groups.
    pub group: Option<Vec<i64>>,
}
