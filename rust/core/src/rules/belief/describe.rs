//! A rule of beliefs for people and tools.

use serde_json::{Value, json};

use super::super::describe::{decision, extended};
use super::super::reach::reached;
use super::rule::BeliefRule;
use crate::plan::{NO_STAGE, STOP};

impl BeliefRule {
    /// What signals mean, and what is decided in every situation of requests that may ask all stages, where time does not
    /// matter; with which stage others begin.
    pub(super) fn described(&self) -> Value {
        let beliefs = &self.beliefs;
        let expected = |z: f64| if z.is_finite() { beliefs.loss_of(z) } else { z };
        let calibrations: Vec<Value> = beliefs.calibration.iter().map(|it| it.describe(expected)).collect();
        let stage = |node: i32| match self.stage_of(node) {
            NO_STAGE => STOP,
            stage => i32::from(stage),
        };
        let timeless = self.rows().skip(usize::from(self.timeless()) * self.nodes.len());
        let is_reached = self.reached_by_all();
        let shown = timeless.zip(is_reached).filter_map(|(row, is_reached)| is_reached.then_some(row));
        let decisions = shown.map(|(node, row)| {
            let mut map = decision(&self.decisions, row, expected, stage);
            map.insert("stage".into(), json!(node.stage));
            map.insert("after".into(), json!(node.members));
            Value::Object(map)
        });
        let decisions: Vec<Value> = decisions.collect();
        let mut further = Vec::new();
        if let Some(time) = &self.time {
            let first: Vec<i32> = time.entries.iter().map(|entry| stage(i32::from(*entry))).collect();
            further.push(("time", json!({"until": time.until, "latency": time.latency, "first": first})));
        }
        if self.nothing.loss < f64::INFINITY {
            further.push(("default_loss", json!(self.nothing.loss)));
            further.push(("at_once", json!(self.nothing.at_once)));
        }
        if let Some(without) = &self.without {
            let begins = without.detours.iter().filter(|detour| detour.ran == 0).map(|detour| {
                let barred: Vec<u16> = without.stages_of(detour.missing).collect();
                json!({"barred": barred, "first": stage(i32::from(detour.node))})
            });
            further.push(("without", begins.collect()));
        }
        let found = json!({
            "type": "belief", "scale": beliefs.scale, "calibrations": calibrations, "decisions": decisions,
        });
        extended(found, further)
    }

    /// Which situations requests come to that may ask all stages and whose stages all report: those of others are left
    /// out.
    fn reached_by_all(&self) -> Vec<bool> {
        if self.without.is_none() {
            return vec![true; self.nodes.len()];
        }
        let onward = |node: usize| self.decisions.targets(node);
        reached(self.nodes.len(), [0], onward)
    }
}
