//! Moves along the policies of a family, so that requests cost what a budget allows.
//!
//! The level is a mean cost as the calibration has it: a place between two neighbours on a [`Ladder`], of which each request
//! gets one, so that they come to that mean. Three things say where it is to be:
//!
//! * what the budget allows, over the rate of requests where it is one per second (feed-forward);
//! * the ratio of what requests cost to what the calibration expects of them, learned over about a window;
//! * the debt of the last window: a leaky sum of what was spent beyond the budget (feedback), paid back over a fraction of a
//!   window. At an end of the ladder no debt is gathered in the direction of that end (anti-windup by conditional
//!   integration, Åström and Rundqwist 1989).
//!
//! Between two neighbours a request gets the dearer one by error feedback with a dithered threshold (sigma-delta): what was
//! asked for and what was served differ by at most a rung, and no pattern of requests is in step with that of policies.

use super::ladder::{Between, Ladder, Rung};
use super::law::{
    FEWEST_REQUESTS, GAIN, LONGEST, MOST_COST, RATE_PRIOR, RATE_WINDOWS, RATIO_FLOOR, RATIO_PRIOR, RATIO_REQUESTS,
    RATIO_WINDOWS,
};
use crate::error::{Error, Result, number};
use crate::random::{mix64, uniform};

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// A mean cost of a request, over so many requests.
    Request {
        /// In the unit of the trace.
        most: f64,
        /// Requests.
        window: f64,
    },
    /// A mean cost of a second, over so many seconds.
    Second {
        /// In the unit of the trace.
        most: f64,
        /// Seconds.
        window: f64,
    },
}

impl Budget {
    fn most(self) -> f64 {
        let (Self::Request { most, .. } | Self::Second { most, .. }) = self;
        most
    }

    fn window(self) -> f64 {
        let (Self::Request { window, .. } | Self::Second { window, .. }) = self;
        window
    }

    /// Requests over which the ratio of observed to expected costs is learned.
    fn horizon(self) -> f64 {
        match self {
            Self::Request { window, .. } => window * RATIO_WINDOWS,
            Self::Second { .. } => RATIO_REQUESTS,
        }
    }

    /// How fast it forgets, a request.
    fn pace(self) -> Pace {
        let per_window = self.window().recip();
        Pace { per_window, kept: 1.0 - per_window, known: 1.0 - self.horizon().recip() }
    }

    fn check(self) -> Result<()> {
        let (name, least, unit) = match self {
            Self::Request { .. } => ("max_cost", FEWEST_REQUESTS, "requests"),
            Self::Second { .. } => ("max_rate", 0.0, "seconds"),
        };
        let (most, window) = (self.most(), self.window());
        if !(most > 0.0 && most <= MOST_COST) {
            return Err(Error::invalid(format!("`{name}` must be above 0 and finite, got {}", number(most))));
        }
        if !(window >= least && window > 0.0 && window <= LONGEST) {
            let allowed = if least > 0.0 { format!("from {least}") } else { "above 0".into() };
            return Err(Error::invalid(format!(
                "`window` must be {allowed} to {LONGEST:e} {unit}, got {}",
                number(window)
            )));
        }
        Ok(())
    }
}

/// Which end of the ladder the level stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// There is nothing cheaper to serve.
    Cheapest,
    /// There is nothing dearer to serve.
    Dearest,
}

/// Where a governor stands.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Governed {
    /// How far up the ladder, 0 at its foot, 1 a rung.
    pub level: f64,
    /// The policy in service.
    pub serving: Rung,
    /// Mean cost over the last window: of a request, or of a second; 0 before the first request.
    pub mean_cost: f64,
    /// What a request is expected to cost at this level, by the calibration and the ratio learned.
    pub expected_cost: f64,
    /// What requests cost over what the calibration expects of them.
    pub ratio: f64,
    /// Requests a second; none for a budget per request.
    pub rate: Option<f64>,
    /// What was spent beyond the budget and is to be paid back, in the unit of the trace; below 0 what is left over.
    pub debt: f64,
    /// Requests so far.
    pub requests: u64,
    /// The end of the ladder that the level stands at, if any.
    pub saturated: Option<End>,
}

/// A sum in which what lies a horizon back counts 1/e.
#[derive(Clone, Copy, Debug, Default)]
struct Leaky(f64);

impl Leaky {
    fn add(&mut self, kept: f64, more: f64) {
        self.0 = self.0 * kept + more;
    }
}

/// Shares, worked out once.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// One over the window.
    per_window: f64,
    /// What a request leaves of a window of requests.
    kept: f64,
    /// What a request leaves of what the ratio is learned from.
    known: f64,
}

/// Holds a budget.
#[derive(Clone, Debug)]
pub struct Governor {
    budget: Budget,
    pace: Pace,
    ladder: Ladder,
    /// Spent beyond the budget.
    debt: f64,
    /// Spent in the last window, and how much of it has been: requests or seconds.
    spent: Leaky,
    past: Leaky,
    /// What requests cost, and what was expected of them, each in units of the mean cost that was asked for.
    observed: Leaky,
    expected: Leaky,
    /// Requests, and seconds in which they came.
    arrived: Leaky,
    elapsed: Leaky,
    /// When the last request was told of, in seconds.
    last: f64,
    requests: u64,
    /// The mean cost that is asked for, as the calibration has it, and where that is.
    asked: f64,
    level: Between,
    serving: Rung,
    /// What had been asked for beyond what had been served, before the next request, and what that adds to it.
    residual: f64,
    error: f64,
}

impl Governor {
    /// Begins at a time `now`, in seconds on any clock, at the level that the budget allows if all goes as expected; of a
    /// budget per second, in the middle.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a budget or a window that is none.
    pub fn new(ladder: Ladder, budget: Budget, now: f64) -> Result<Self> {
        budget.check()?;
        let middle = ladder.middle();
        let asked = match budget {
            Budget::Request { most, .. } => most,
            Budget::Second { .. } => middle,
        };
        let horizon = budget.horizon();
        let level = ladder.at(asked).ok_or_else(|| Error::invalid("`family` must have two policies"))?;
        let elapsed = budget.window() * RATE_WINDOWS * RATE_PRIOR;
        let mut governor = Self {
            budget,
            pace: budget.pace(),
            ladder,
            debt: 0.0,
            spent: Leaky(0.0),
            past: Leaky(0.0),
            observed: Leaky(horizon),
            expected: Leaky(horizon),
            arrived: Leaky(elapsed * budget.most() / middle),
            elapsed: Leaky(elapsed),
            last: if now.is_finite() { now } else { 0.0 },
            requests: 0,
            asked,
            level,
            serving: level.below,
            residual: 0.0,
            error: 0.0,
        };
        governor.choose(asked);
        Ok(governor)
    }

    /// The number in the family of the policy that serves the next request.
    pub fn serving(&self) -> usize {
        self.serving.member
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// What is held.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// The policies that it moves along.
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// The same budget, debt and requests along other policies. What the calibration expects is another one's: the ratio is
    /// learned anew.
    #[must_use]
    pub fn along(&self, ladder: Ladder) -> Self {
        let horizon = Leaky(self.budget.horizon());
        let (observed, expected) = (horizon, horizon);
        let mut governor = Self { ladder, observed, expected, residual: 0.0, error: 0.0, ..self.clone() };
        governor.choose(governor.wanted(governor.demand()));
        governor
    }

    /// What it has learned, as numbers: of the window, the ratio, the rate and the rung, in that order.
    pub fn learned(&self) -> [f64; 8] {
        let (spent, past) = (self.spent.0, self.past.0);
        let (observed, expected) = (self.observed.0, self.expected.0);
        [self.debt, spent, past, observed, expected, self.arrived.0, self.elapsed.0, self.residual]
    }

    /// A new governor goes on from what another one, of the same policies and budget, had learned in so many requests.
    ///
    /// # Errors
    /// [`Error::Invalid`] for numbers that no governor has.
    pub fn resume(&mut self, learned: [f64; 8], requests: u64) -> Result<()> {
        let [debt, spent, past, observed, expected, arrived, elapsed, residual] = learned;
        let sums = [spent, past, observed, expected, arrived, elapsed];
        if !(sums.iter().all(|sum| (0.0..f64::INFINITY).contains(sum)) && elapsed > 0.0) {
            return Err(Error::invalid("`learned` must be sums of a governor, finite and at least 0"));
        }
        if !(debt.is_finite() && residual.is_finite()) {
            return Err(Error::invalid("`learned` must have a finite debt"));
        }
        (self.debt, self.residual, self.error, self.requests) = (debt, residual, 0.0, requests);
        (self.spent, self.past) = (Leaky(spent), Leaky(past));
        (self.observed, self.expected) = (Leaky(observed), Leaky(expected));
        (self.arrived, self.elapsed) = (Leaky(arrived), Leaky(elapsed));
        self.choose(self.wanted(self.demand()));
        Ok(())
    }

    /// A request has cost so much, as was known at a time `now`; decides who serves the next one. Costs that are none, and
    /// clocks that go back, count nothing. O(policies), well below a microsecond.
    pub fn spend(&mut self, cost: f64, now: f64) {
        self.note(cost, now);
        self.choose(self.wanted(self.demand()));
    }

    /// Requests that one policy has served have cost so much: those of a batch.
    pub fn spend_many(&mut self, costs: &[f64], now: f64) {
        for cost in costs {
            self.note(*cost, now);
        }
        self.choose(self.wanted(self.demand()));
    }

    fn note(&mut self, cost: f64, now: f64) {
        if !(0.0..=MOST_COST).contains(&cost) {
            return;
        }
        let most = self.budget.most();
        let (kept, past) = match self.budget {
            Budget::Request { .. } => (self.pace.kept, 1.0),
            Budget::Second { .. } => {
                let (window, seconds) = (self.budget.window(), self.seconds(now));
                let short = window * RATE_WINDOWS;
                let fresh = (-seconds / short).exp();
                self.arrived.add(fresh, 1.0);
                self.elapsed.add(fresh, short * (1.0 - fresh));
                let kept = (-seconds / window).exp();
                (kept, window * (1.0 - kept))
            }
        };
        if now.is_finite() {
            self.last = self.last.max(now);
        }
        self.requests += 1;
        self.spent.add(kept, cost);
        self.past.add(kept, past);
        let unit = self.asked.max(RATIO_FLOOR * self.ladder.middle()).recip();
        self.observed.add(self.pace.known, cost * unit);
        self.expected.add(self.pace.known, self.serving.cost * unit);
        let demand = self.demand();
        self.debt = self.owed(demand, self.debt * kept, cost - most * past);
    }

    /// Where it stands at a time `now`.
    pub fn report(&self, now: f64) -> Governed {
        let (mut spent, mut past, mut debt) = (self.spent.0, self.past.0, self.debt);
        if let Budget::Second { most, window } = self.budget {
            let kept = (-self.seconds(now) / window).exp();
            let more = window * (1.0 - kept);
            (spent, past) = (spent * kept, past * kept + more);
            debt = self.owed(self.demand(), debt * kept, -most * more);
        }
        let (cheapest, dearest) = self.ladder.ends();
        let saturated = match self.asked {
            asked if asked <= cheapest => Some(End::Cheapest),
            asked if asked >= dearest => Some(End::Dearest),
            _ => None,
        };
        Governed {
            level: self.level.lower as f64 + self.level.share,
            serving: self.serving,
            mean_cost: if past > 0.0 { spent / past } else { 0.0 },
            expected_cost: self.asked * self.ratio(),
            ratio: self.ratio(),
            rate: matches!(self.budget, Budget::Second { .. }).then(|| self.flow()),
            debt,
            requests: self.requests,
            saturated,
        }
    }

    /// Seconds since the last request.
    fn seconds(&self, now: f64) -> f64 {
        if now.is_finite() { (now - self.last).max(0.0) } else { 0.0 }
    }

    /// What requests cost over what was expected of them.
    fn ratio(&self) -> f64 {
        (self.observed.0 + RATIO_PRIOR) / (self.expected.0 + RATIO_PRIOR)
    }

    /// Requests in a unit of what a window is counted in.
    fn flow(&self) -> f64 {
        match self.budget {
            Budget::Request { .. } => 1.0,
            Budget::Second { .. } => self.arrived.0 / self.elapsed.0,
        }
    }

    /// What the budget's unit, a request or a second, costs where the calibration expects requests to cost 1.
    #[inline]
    fn demand(&self) -> f64 {
        self.flow() * self.ratio()
    }

    /// The mean cost, as the calibration has it, at which the budget is held and the debt paid back.
    #[inline]
    fn wanted(&self, demand: f64) -> f64 {
        (self.budget.most() - GAIN * self.pace.per_window * self.debt) / demand
    }

    /// What is owed once `more` is added to an `old` debt.
    #[inline]
    fn owed(&self, demand: f64, old: f64, more: f64) -> f64 {
        let (most, scale) = (self.budget.most(), self.budget.window() * (1.0 / GAIN));
        let (cheapest, dearest) = self.ladder.ends();
        // A debt that brings the level to the foot, and what is left over that brings it to the top, or to twice the budget.
        let highest = (most - demand * cheapest).max(0.0) * scale;
        let lowest = -(demand * dearest - most).clamp(0.0, most) * scale;
        let new = old + more;
        if new > highest {
            highest.max(new.min(old))
        } else if new < lowest {
            lowest.min(new.max(old))
        } else {
            new
        }
    }

    /// Who serves the next request, of the neighbours of a mean cost.
    fn choose(&mut self, asked: f64) {
        let (cheapest, dearest) = self.ladder.ends();
        let asked = if asked.is_nan() { cheapest } else { asked.clamp(cheapest, dearest) };
        let Some(level) = self.ladder.at(asked) else { return };
        let gap = level.above.cost - level.below.cost;
        self.residual += self.error;
        let is_dearer = level.share + self.residual / gap > uniform(mix64(self.requests));
        self.serving = if is_dearer { level.above } else { level.below };
        self.error = asked - self.serving.cost;
        self.asked = asked;
        self.level = level;
    }
}
