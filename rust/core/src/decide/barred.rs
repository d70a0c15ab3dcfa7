//! Stages that a request must not ask, known before it begins.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::rules::Rule;

/// Stages of a policy that requests go without: switched off, overloaded, or out of reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Barred {
    /// Ascending, each once.
    stages: Arc<[u16]>,
}

impl Barred {
    /// These stages of `policy`; one that is named twice is barred once.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a number that is none of its stages.
    pub fn of(policy: &Policy, stages: &[usize]) -> Result<Self> {
        let k = policy.stages().len();
        if let Some((at, stage)) = stages.iter().enumerate().find(|(_, stage)| **stage >= k) {
            return Err(Error::invalid(format!("`barred[{at}]` must be a stage in 0..{k}, got {stage}")));
        }
        let mut stages: Vec<u16> = stages.iter().map(|stage| *stage as u16).collect();
        stages.sort_unstable();
        stages.dedup();
        Ok(Self { stages: stages.into() })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Ascending, each once.
    pub(super) fn stages(&self) -> &[u16] {
        &self.stages
    }

    /// Whether `stage` is one of them.
    pub(super) fn contains(&self, stage: u16) -> bool {
        self.stages.binary_search(&stage).is_ok()
    }
}

impl Policy {
    /// Whether requests that go without these stages are decided as if there were no such stages, as long as the others
    /// report what can be read: by decisions of their own that have been learned for them, or because not one of the
    /// decisions that they come to is about a barred stage. Else they go on as after a stage that gave nothing.
    ///
    /// O(size of the policy).
    pub fn is_exact_without(&self, barred: &Barred) -> bool {
        let rule = self.rule();
        rule.entry_without(barred.stages()).is_some() || rule.is_exact_without(barred.stages())
    }
}
