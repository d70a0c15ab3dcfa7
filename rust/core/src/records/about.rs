//! Whose requests the records of a block are.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, check, number};
use crate::trace::Kind;

/// The policy that decided, as far as a reader of its records has to know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Digest of the policy.
    pub digest: String,
    /// Names of its stages, all different.
    pub stages: Vec<String>,
    /// `exits` or `models`.
    pub kind: String,
    /// Cost of each stage, of exits as an increment.
    pub cost: Vec<f64>,
}

impl About {
    /// From its parts.
    ///
    /// # Errors
    /// [`Error::Invalid`] where they do not fit each other.
    pub fn new(digest: String, stages: Vec<String>, kind: String, cost: Vec<f64>) -> Result<Self> {
        let about = Self { digest, stages, kind, cost };
        about.check().map_err(Error::invalid)?;
        Ok(about)
    }

    /// As it is stored.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it cannot be.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::invalid(error.to_string()))
    }

    /// What was stored; why not, where it does not fit.
    pub(super) fn of_bytes(bytes: &[u8]) -> std::result::Result<Self, &'static str> {
        let about: Self = serde_json::from_slice(bytes).map_err(|_| "it does not say of which policy it is")?;
        about.check()?;
        Ok(about)
    }

    fn check(&self) -> std::result::Result<(), &'static str> {
        let k = self.stages.len();
        check((1..=crate::policy::MAX_STAGES).contains(&k), "the number of stages is out of range")?;
        let repeats = |(at, name): (usize, &String)| self.stages.iter().take(at).any(|before| before == name);
        check(!self.stages.iter().enumerate().any(repeats), "a stage is named twice")?;
        check(Kind::named(&self.kind).is_ok(), "the kind is neither exits nor models")?;
        check(self.cost.len() == k, "the costs are not one for each stage")?;
        check(self.cost.iter().all(|cost| (0.0..f64::INFINITY).contains(cost)), "a cost is negative or not finite")
    }

    /// Costs as messages show them.
    pub fn costs(&self) -> String {
        let costs: Vec<String> = self.cost.iter().map(|cost| number(*cost)).collect();
        format!("[{}]", costs.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_do_not_fit_are_refused() -> Result<()> {
        let made = |stages: &[&str], kind: &str, cost: &[f64]| {
            About::new("d".into(), stages.iter().map(|name| (*name).to_owned()).collect(), kind.into(), cost.to_vec())
        };
        let about = made(&["a", "b"], "models", &[1.0, 0.0])?;
        assert_eq!(About::of_bytes(&about.to_bytes()?), Ok(about.clone()));
        assert_eq!(about.costs(), "[1.0, 0.0]");
        for (stages, kind, cost) in [
            (&[][..], "models", &[][..]),
            (&["a", "a"], "models", &[1.0, 1.0]),
            (&["a"], "line", &[1.0]),
            (&["a"], "models", &[1.0, 1.0]),
            (&["a"], "models", &[-1.0]),
            (&["a"], "models", &[f64::NAN]),
        ] {
            assert!(made(stages, kind, cost).is_err(), "{stages:?} {kind} {cost:?}");
        }
        assert!(About::of_bytes(b"{}").is_err());
        Ok(())
    }
}
