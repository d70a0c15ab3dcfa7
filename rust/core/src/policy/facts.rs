//! What is known about a policy besides its decisions.

use super::usual::Usual;

/// How a policy was made and what it is worth.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// How it was made: `exact`, `pathwise`, `markov`, `static`, `threshold`, …
    pub method: String,
    /// Which stage may follow which: `line` (the following one), `skip` (any later one), `lattice` (any that has not
    /// run), `tree` (any whose parent has run) or `dag` (any all of whose parents have run); joined by ` + ` in a
    /// mixture.
    pub graph: String,
    /// Expected loss + cost. Exact for a solved model, in its unit; for a fitted policy the mean objective on the
    /// calibration trace, λ · loss + (1 − λ) · cost / cost of running every stage.
    pub value: f64,
    /// Index of consulting each stage, per state of its parent, in the unit of the losses; empty where there is none.
    pub index: Vec<Vec<f64>>,
    /// How far the reported indices may be from the exact ones (decisions are exact regardless).
    pub index_error: f64,
    /// What it was made from, in order.
    pub provenance: Vec<(String, String)>,
    /// The rules that it was chosen from, if any.
    pub candidates: Vec<Candidate>,
    /// What the stages usually report (k,); empty where that is not known.
    pub usual: Vec<Usual>,
}

/// How a rule did on rows that it was not learned from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its mean loss, in the unit of the losses.
    pub loss: f64,
    /// Its mean cost, in the unit of the trace.
    pub cost: f64,
    /// Its mean objective.
    pub objective: f64,
    /// That less the mean objective of the first candidate.
    pub difference: f64,
    /// Standard error of the difference.
    pub error: f64,
    /// Whether it was taken.
    pub is_chosen: bool,
}
