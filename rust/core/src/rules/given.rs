//! What is known of a request before its first stage runs.

/// What a request is told when it begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Given {
    /// Seconds that it has left; infinite without a deadline.
    pub remaining: f64,
    /// What its stages cost, over what they cost the average request.
    pub cost: f64,
}

impl Given {
    /// Nothing: no deadline, average costs.
    pub const NOTHING: Self = Self { remaining: f64::INFINITY, cost: 1.0 };

    /// So many seconds are left.
    pub const fn within(remaining: f64) -> Self {
        Self { remaining, ..Self::NOTHING }
    }

    /// Its stages cost so many times what they cost the average request.
    pub const fn costing(cost: f64) -> Self {
        Self { cost, ..Self::NOTHING }
    }
}
