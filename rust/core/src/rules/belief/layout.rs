//! Lays nodes out as reports meet them.

use std::collections::BTreeMap;

use super::cells;
use super::hot::{Hot, Least, Step};
use super::node::Node;
use super::reading::SLOTS;
use super::rule::BeliefRule;
use crate::plan::{NO_STAGE, Row, unsigned};

impl BeliefRule {
    /// Lays the nodes out as reports meet them.
    pub(super) fn lay_out(&mut self) {
        let mut cells = Vec::new();
        // Nodes that weigh the same answers in the same way share their cells.
        let mut known: BTreeMap<(Vec<u16>, u8, Vec<u64>), u32> = BTreeMap::new();
        let timeless = self.row(self.timeless(), 0);
        let rows = self.decisions.table().get(timeless..).unwrap_or_default();
        let mut least = Vec::new();
        let mut hot = Vec::with_capacity(self.nodes.len());
        for ((at, node), row) in self.nodes.iter().enumerate().zip(rows) {
            let mut line = self.hot_of(at as u16, node, row);
            if node.members.len() > 1 {
                let last = if self.beliefs.recall { 0 } else { node.last };
                let stages = node.members.iter().copied().chain([node.favoured, last]).collect();
                let lines = node.evidence.iter().flatten();
                let bits = lines.flat_map(|line| [line.offset.to_bits(), line.slope.to_bits()]).collect();
                let key = (stages, node.mute, bits);
                line.cells = *known.entry(key).or_insert_with(|| {
                    let first = cells.len() as u32;
                    cells::push(node, self.beliefs.recall, self.beliefs.margin, &mut cells);
                    first
                });
            } else if let Some(found) = self.thresholds(self.timeless(), at) {
                (line.is_plain, line.onward) = (true, self.onward(at as u16, found.onward));
                (line.cells, line.classes) = (least.len() as u32, found.all().len() as u32 - 1);
                least.extend(found.all());
            }
            hot.push(line);
        }
        (self.hot, self.cells, self.least) = (hot.into(), cells.into(), Least(least.into()));
    }

    fn hot_of(&self, at: u16, node: &Node, row: &Row) -> Hot {
        let mut members = [NO_STAGE; SLOTS];
        for (to, from) in members.iter_mut().zip(&node.members) {
            *to = *from;
        }
        // On a line, what a stage says follows what others have said.
        let is_last = usize::from(node.slot) + 1 == node.members.len();
        let is_weighed = is_last && node.slot > 0 && node.places.is_empty() && node.disputes.is_empty();
        Hot {
            price: node.price,
            stop: row.stop,
            onward: self.onward(at, row.last),
            cells: 0,
            classes: 0,
            stage: node.stage,
            count: node.members.len() as u8,
            slot: node.slot,
            is_plain: is_weighed && row.len == 0,
            members,
        }
    }

    /// The least signal that stops a request at a plain node of one member; NaN for none.
    #[inline]
    pub(super) fn least_of(&self, hot: &Hot, prediction: i64) -> f64 {
        // Negative predictions turn into numbers beyond every class.
        let class = (prediction as u64).min(hot.classes.into()) as usize;
        self.least.0.get(hot.cells as usize + class).copied().unwrap_or(f64::NAN)
    }

    /// Where an action leads from a node; it stays where the request ends.
    fn onward(&self, at: u16, action: i32) -> Step {
        let step = self.step_to(action);
        if step == Step::END { Step { node: at, ..step } } else { step }
    }

    /// Where an action leads.
    #[inline]
    pub(super) fn step_to(&self, action: i32) -> Step {
        match self.stage_of(action) {
            NO_STAGE => Step::END,
            stage => Step { node: unsigned(action), stage },
        }
    }

    /// The cells of a node.
    #[inline]
    pub(super) fn cells_of(&self, hot: &Hot) -> &[f32] {
        self.cells.get(hot.cells as usize..).unwrap_or_default()
    }
}
