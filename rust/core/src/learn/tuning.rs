//! Every constant of learning, each with its unit and its reason. The defaults were chosen on recorded traces; benches
//! vary them.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::rules::{MAX_BLOCKS, MOST_RANGES, SLOTS};

/// The constants of learning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tuning {
    // Rows.
    /// Rows that calibration and weights are fitted on, at most: more change neither by as much as their errors.
    pub sample_rows: usize,
    /// Signals that they are fitted on, at most: with many stages there are fewer rows, so that time does not grow.
    pub sample_signals: usize,
    /// Rows that they are fitted on however many stages there are: fewer would make the fit worse.
    pub least_sample_rows: usize,
    /// Rows times situations that decisions are found on, at most: a bound on memory, 13 bytes each.
    pub decision_cells: usize,
    /// Rows that stages are chosen on, at most, where there are more than `lattice_stages`.
    pub scouted_rows: usize,
    /// Rows that decisions without some stages are found on, at most: there are many of them, each for few requests.
    pub detour_rows: usize,
    /// Rows that the default is held against simple rules on, at most: enough for a difference that matters.
    pub checked_rows: usize,
    /// Rows up to which loss and cost are estimated on rows held back; of more, those learned from serve as well.
    pub estimated_rows: usize,
    /// Rows from which on those that repeat each other are learned from as one: of fewer, chance may have made them equal.
    pub condensed_rows: usize,
    /// Parts that rows are held back in, one after the other.
    pub folds: u64,

    // Calibration of one stage.
    /// Rows of mean loss ½ that the mean is pulled by: no stage is certain to be right or wrong.
    pub prior_rows: f64,
    /// Share of losses that are 0 below which answers are not right or wrong, but all more or less good.
    pub scale_zeros: f64,
    /// Share of the variance of losses above 0 from which on signals tell how bad a wrong answer is.
    pub scale_told: f64,
    /// Cells of equally many signals that this is found on.
    pub scale_cells: usize,
    /// Where nothing tells how bad a wrong answer is: how much of the difference between a loss and what its target
    /// stands for on average is left out of what decisions are found on.
    pub scale_settled: f64,
    /// Strength, in rows, of the penalty on second differences of the curve's values at its knots.
    pub curve_smoothness: f64,
    /// Strength, in rows, of the pull of the curve's values towards the overall mean: only where no row says anything.
    pub curve_ridge: f64,
    /// Log loss, summed over rows, by which a curve that rises must beat one that falls: more confidence is no more loss,
    /// unless rows clearly say so.
    pub curve_rise: f64,
    /// Share of the rows from which on a signal that they have in common gets a level of its own, of more than a few values:
    /// it often means something else than those beside it.
    pub curve_tie: f64,
    /// Cells of equally many rows that rows are gathered in before a curve is fitted: for speed.
    pub curve_cells: usize,
    /// Strengths, in rows, of the pull of a class towards the curve of all classes, in the order in which they are tried.
    pub class_ridges: [f64; 3],
    /// Rows of a class from which on it may get a line of its own.
    pub class_rows: f64,
    /// Classes that may get a line of their own, the most frequent ones: a bound on time.
    pub classes: usize,
    /// Predictions from this on are taken for hashes of answers, not for numbers of classes.
    pub class_numbers: usize,
    /// Standard errors by which lines of classes must win on rows held back.
    pub class_errors: f64,
    /// Parts that rows are held back in for that.
    pub class_folds: usize,
    /// Cells of equally many rows that rows are gathered in where classes may have curves of their own: for speed.
    pub class_cells: usize,
    /// Strengths, in rows, of the pull of what two named classes say towards nothing, in the order in which they are tried.
    pub pair_ridges: [f64; 3],
    /// Rows on which two stages name two classes from which on these may say something.
    pub pair_rows: f64,
    /// Classes of a stage of which that is learned, the most frequent ones: a bound on the size of tables. 0: of none.
    pub pair_classes: usize,
    /// Standard errors by which what they say must win on rows held back.
    pub pair_errors: f64,
    /// Log loss, summed over rows and both stages, by which they must win at least: less would change no decision.
    pub pair_gain: f64,
    /// Newton's steps for what two classes say.
    pub pair_steps: usize,

    // Calibration of a policy on other rows.
    /// Strength, in rows, of the pull of what all signals of a stage mean towards what they meant.
    pub tilt_ridge: f64,
    /// The same of a class towards all of them.
    pub tilt_class_ridge: f64,
    /// Classes that may differ from the others, the most frequent ones: a bound on time.
    pub tilt_classes: usize,
    /// Standard errors by which the policy that has been calibrated anew must be better.
    pub tilt_errors: f64,
    /// Factor that logits keep, at least: more confidence is no more loss.
    pub tilt_least: f64,

    // Newton's method.
    /// Steps, at most: it converges in fewer.
    pub newton_steps: usize,
    /// Rows from which on the search begins where one on every `newton_thinning`th row ended.
    pub newton_warm_rows: usize,
    /// Rows of which one is taken for that start.
    pub newton_thinning: usize,
    /// Halvings of one step before the search gives up.
    pub newton_halvings: usize,
    /// Log loss, summed over rows, below which the step that promises to lower it by that is the last.
    pub newton_tolerance: f64,
    /// Logits are kept within ± this while fitting: beyond, their exponentials add nothing.
    pub newton_clip: f64,
    /// Curvature that rows at extreme beliefs keep, so that steps stay finite.
    pub newton_curvature: f64,

    // Weighing the answers of several stages.
    /// Answers that are weighed against each other where each stage follows the one before, at most, the latest ones:
    /// what earlier ones say is in them, and time and files grow with the square of this.
    pub line_members: usize,
    /// Strength, in rows, of the pull of models towards "believe each stage as calibrated".
    pub ridge_models: f64,
    /// The same of exits, which repeat each other more: their weights are known less well.
    pub ridge_exits: f64,
    /// Logits by which the best model in hand is favoured when answers are compared: the least of several estimates is
    /// too low, and more so if they are noisy.
    pub margin_models: f64,
    /// The same for the deepest exit in hand.
    pub margin_exits: f64,
    /// Rows that this is for: with more of them estimates are less noisy, as the root of their number.
    pub margin_rows: f64,
    /// Times that it is taken with few rows, at most.
    pub margin_most: f64,
    /// Weight of the believed loss, against the realised one, in what stopping costs: the one is less noisy, the other
    /// not biased.
    pub belief_share: f64,

    // Decisions.
    /// Cells of the belief that decisions are made by, at most 256.
    pub belief_cells: usize,
    /// Rows up to which cells are exact; beyond, limits come from a sample of so many.
    pub exact_cell_rows: usize,
    /// Rounds of smoothing over neighbouring cells where there are many rows.
    pub smoothing_rounds: f64,
    /// Rows from which on that is enough; with fewer, rounds grow with the root of this over the rows.
    pub smoothing_rows: f64,
    /// Rows of equal belief whose own gains count as much as those of their neighbours, smoothed.
    pub tied_rows: f64,
    /// Rows up to which a decision stops below one limit and goes on above it: of few rows no more can be told.
    pub one_limit_rows: f64,
    /// Blocks of the time that is left, at most: decisions of each are made apart.
    pub time_blocks: usize,
    /// Ranges of what requests cost, at most, where that is part of decisions.
    pub cost_ranges: usize,
    /// Times that requests wait for some stages, at most, from which it is found where blocks end.
    pub time_waits: usize,
    /// Stages whose sets are all considered, at most; of more, the best are chosen first: sets double with each stage.
    pub lattice_stages: usize,
    /// Stages for each set of which decisions are made that go without it, at most: work and files triple with each stage.
    pub detour_stages: usize,
    /// Share of the objective by which a further stage must lower it.
    pub worthwhile: f64,
    /// Standard errors by which another rule must beat the default to replace it.
    pub select_errors: f64,

    // Simple rules.
    /// Values that are tried for one threshold of all stages: order statistics of the signals.
    pub shared_cuts: usize,
    /// Values that are tried for the threshold of one stage.
    pub stage_cuts: usize,
    /// Rows whose signals these are order statistics of, at most.
    pub cut_rows: usize,
    /// States of each stage of the Markov chain.
    pub markov_bins: usize,

    // Budgets.
    /// Odds of loss to cost, relative to the mean loss, that a trade-off is searched from …
    pub least_odds: f64,
    /// … and up to: beyond, cost or loss alone decides.
    pub greatest_odds: f64,
    /// Halvings of that range: the last trade-offs differ by less than policies do.
    pub budget_steps: usize,
    /// Share of a budget that may be left over without mixing in a policy beyond it.
    pub budget_unused: f64,
    /// Halvings of the share of a mixture, until the trace's own tosses keep it within the budget.
    pub share_steps: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            sample_rows: 50_000,
            sample_signals: 400_000,
            least_sample_rows: 2_000,
            decision_cells: 1 << 24,
            scouted_rows: 10_000,
            detour_rows: 20_000,
            checked_rows: 20_000,
            estimated_rows: 100_000,
            condensed_rows: 32,
            folds: 4,
            prior_rows: 1.0,
            scale_zeros: 0.1,
            scale_told: 0.1,
            scale_cells: 8,
            scale_settled: 1.0,
            curve_smoothness: 20.0,
            curve_ridge: 1e-3,
            curve_rise: 3.0,
            curve_tie: 0.05,
            curve_cells: 256,
            class_ridges: [10.0, 2.0, 0.5],
            class_rows: 10.0,
            classes: 64,
            class_numbers: 1024,
            class_errors: 2.0,
            class_folds: 4,
            class_cells: 64,
            pair_ridges: [10.0, 4.0, 1.5],
            pair_rows: 5.0,
            pair_classes: 32,
            pair_errors: 3.0,
            pair_gain: 3.0,
            pair_steps: 4,
            tilt_ridge: 3.0,
            tilt_class_ridge: 2.0,
            tilt_classes: 32,
            tilt_errors: 0.5,
            tilt_least: 0.05,
            newton_steps: 12,
            newton_warm_rows: 4096,
            newton_thinning: 8,
            newton_halvings: 8,
            newton_tolerance: 1e-3,
            newton_clip: 30.0,
            newton_curvature: 1e-6,
            line_members: 6,
            ridge_models: 5.0,
            ridge_exits: 20.0,
            margin_models: 0.5,
            margin_exits: 0.3,
            margin_rows: 500.0,
            margin_most: 2.0,
            belief_share: 0.5,
            belief_cells: 64,
            exact_cell_rows: 65_536,
            smoothing_rounds: 4.0,
            smoothing_rows: 12_000.0,
            tied_rows: 200.0,
            one_limit_rows: 3_000.0,
            time_blocks: 32,
            cost_ranges: 12,
            time_waits: 1 << 16,
            lattice_stages: 5,
            detour_stages: 5,
            worthwhile: 1e-3,
            select_errors: 2.0,
            shared_cuts: 80,
            stage_cuts: 160,
            cut_rows: 65_536,
            markov_bins: 24,
            least_odds: 1e-3,
            greatest_odds: 1e5,
            budget_steps: 12,
            budget_unused: 0.01,
            share_steps: 12,
        }
    }
}

impl Tuning {
    /// The defaults, but for the fields of a JSON object.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that no field has, or a value that it cannot have.
    pub fn from_json(text: &str) -> Result<Self> {
        let tuning: Self =
            serde_json::from_str(text).map_err(|error| Error::invalid(format!("`tuning` is not valid: {error}")))?;
        tuning.checked()
    }

    /// The same, if learning can work with it.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the field.
    pub fn checked(self) -> Result<Self> {
        let counts = [
            ("sample_rows", self.sample_rows),
            ("sample_signals", self.sample_signals),
            ("least_sample_rows", self.least_sample_rows),
            ("decision_cells", self.decision_cells),
            ("scouted_rows", self.scouted_rows),
            ("detour_rows", self.detour_rows),
            ("checked_rows", self.checked_rows),
            ("folds", usize::try_from(self.folds).unwrap_or(0)),
            ("scale_cells", self.scale_cells),
            ("curve_cells", self.curve_cells),
            ("class_numbers", self.class_numbers),
            ("class_folds", self.class_folds),
            ("class_cells", self.class_cells),
            ("pair_classes", self.pair_classes),
            ("pair_steps", self.pair_steps),
            ("newton_thinning", self.newton_thinning),
            ("line_members", self.line_members),
            ("belief_cells", self.belief_cells),
            ("exact_cell_rows", self.exact_cell_rows),
            ("time_blocks", self.time_blocks),
            ("cost_ranges", self.cost_ranges),
            ("time_waits", self.time_waits),
            ("lattice_stages", self.lattice_stages),
            ("detour_stages", self.detour_stages),
            ("shared_cuts", self.shared_cuts),
            ("stage_cuts", self.stage_cuts),
            ("cut_rows", self.cut_rows),
            ("markov_bins", self.markov_bins),
        ];
        let least = |name: &str| match name {
            "pair_classes" => 0,
            "cost_ranges" | "line_members" => 3,
            "folds" | "newton_thinning" | "shared_cuts" | "time_blocks" => 2,
            _ => 1,
        };
        let most = |name: &str| match name {
            "belief_cells" => 256,
            "time_blocks" => MAX_BLOCKS,
            "cost_ranges" => MOST_RANGES,
            "lattice_stages" | "detour_stages" | "line_members" => SLOTS,
            "class_numbers" => 1 << 20,
            "pair_classes" => usize::from(u8::MAX),
            _ => usize::MAX,
        };
        for (name, given) in counts {
            if given < least(name) || given > most(name) {
                let message = format!("`tuning` {name} must be in {}..={}, got {given}", least(name), most(name));
                return Err(Error::invalid(message));
            }
        }
        let positive = [
            ("prior_rows", self.prior_rows),
            ("curve_smoothness", self.curve_smoothness),
            ("curve_ridge", self.curve_ridge),
            ("newton_clip", self.newton_clip),
            ("newton_curvature", self.newton_curvature),
            ("ridge_models", self.ridge_models),
            ("ridge_exits", self.ridge_exits),
            ("margin_rows", self.margin_rows),
            ("tilt_ridge", self.tilt_ridge),
            ("tilt_class_ridge", self.tilt_class_ridge),
            ("tilt_least", self.tilt_least),
            ("tied_rows", self.tied_rows),
            ("least_odds", self.least_odds),
            ("greatest_odds", self.greatest_odds),
        ];
        match positive.into_iter().find(|(_, given)| !(given.is_finite() && *given > 0.0)) {
            None => Ok(self),
            Some((name, given)) => {
                Err(Error::invalid(format!("`tuning` {name} must be finite and above 0, got {given}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_fields_are_changed() {
        let made = Tuning::from_json(r#"{"ridge_models": 10, "class_ridges": [1, 2, 3]}"#).ok();
        let by_hand = Tuning { ridge_models: 10.0, class_ridges: [1.0, 2.0, 3.0], ..Tuning::default() };
        assert_eq!(made, Some(by_hand));
        assert_eq!(Tuning::from_json("{}").ok(), Some(Tuning::default()));
    }

    #[test]
    fn what_learning_cannot_work_with_is_refused() {
        let refused = |text: &str| Tuning::from_json(text).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused(r#"{"ridge": 1.0}"#).contains("unknown field `ridge`"));
        assert!(refused(r#"{"folds": 2.5}"#).starts_with("`tuning` is not valid"));
        assert_eq!(refused(r#"{"belief_cells": 300}"#), "`tuning` belief_cells must be in 1..=256, got 300");
        assert_eq!(refused(r#"{"ridge_exits": 0}"#), "`tuning` ridge_exits must be finite and above 0, got 0");
    }
}
