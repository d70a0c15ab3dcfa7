//! Where a policy comes from: what it takes to decide it anew under other prices.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use pyo3::prelude::*;
use ttamer::learn::{Approach, Decided, Learner, Tuning};

use crate::working::detached;

/// Requests, how policies are learned from them, and the learner, once somebody has asked.
pub struct Recipe {
    trace: ttamer::Trace,
    approach: Approach,
    tuning: Tuning,
    /// With the process that made it: in a fork, what it shares between threads may have been left half made.
    made: Mutex<Option<(u32, Arc<Learner>)>>,
}

impl Recipe {
    /// Nothing is learned yet.
    pub fn new(trace: ttamer::Trace, approach: Approach, tuning: Tuning) -> Self {
        Self { trace, approach, tuning, made: Mutex::new(None) }
    }

    /// The learner, made where this process has none. The lock is taken with the interpreter's held, for a moment.
    pub fn learner(&self, py: Python<'_>) -> PyResult<Arc<Learner>> {
        let process = std::process::id();
        let lock = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = lock().as_ref().filter(|made| made.0 == process).map(|made| Arc::clone(&made.1));
        if let Some(learner) = mine {
            return Ok(learner);
        }
        let learner = Arc::new(detached(py, || self.fresh())?);
        let mut made = lock();
        match made.as_ref() {
            Some((of, first)) if *of == process => Ok(Arc::clone(first)),
            _ => {
                *made = Some((process, Arc::clone(&learner)));
                Ok(learner)
            }
        }
    }

    /// A learner that nobody else has.
    pub fn fresh(&self) -> ttamer::Result<Learner> {
        Learner::new(self.trace.clone(), &self.approach, self.tuning.clone())
    }

    /// The same of other requests.
    pub fn of(&self, trace: ttamer::Trace) -> Self {
        Self::new(trace, self.approach.clone(), self.tuning.clone())
    }

    /// The requests.
    pub fn trace(&self) -> &ttamer::Trace {
        &self.trace
    }
}

/// What it takes to decide a policy anew.
pub struct Origin {
    /// Of the requests that are kept.
    pub kept: Arc<Recipe>,
    /// Of the same requests, as long as the calibration lives that the policy is from.
    pub whole: Weak<Recipe>,
    /// What the policy was decided for.
    pub decided: Decided,
}

impl Origin {
    /// A learner from the requests that are kept.
    pub fn learner(&self, py: Python<'_>) -> PyResult<Arc<Learner>> {
        self.whole.upgrade().as_ref().unwrap_or(&self.kept).learner(py)
    }

    /// The same for a policy that was decided otherwise.
    pub fn with(&self, decided: Decided) -> Self {
        Self { kept: Arc::clone(&self.kept), whole: Weak::clone(&self.whole), decided }
    }
}

/// Why a policy cannot be decided anew.
pub fn unknown_origin(policy: &ttamer::Policy) -> &'static str {
    if policy.facts().method == "exact" {
        "`repriced` needs a policy that was fitted to a trace, got one that was solved: solve the model with other costs"
    } else {
        "`repriced` needs the rows that the policy was fitted to, which files, bytes, pickles, mixtures and certified \
         policies do not have: fit or calibrate in this process, and reprice there"
    }
}
