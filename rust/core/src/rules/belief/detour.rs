//! Requests that go without some stages, barred before they begin or failed, by decisions of their own.

use super::super::progress::Progress;
use super::memory::BeliefMemory;
use super::node::Node;
use super::rule::BeliefRule;
use super::without::Without;
use crate::error::{Checked, check};
use crate::plan::NO_STAGE;
use crate::price::Price;

impl BeliefRule {
    /// The same with decisions of their own for requests that go without some stages.
    #[must_use]
    pub fn with_detours(mut self, without: Without) -> Self {
        self.without = Some(Box::new(without));
        self
    }

    /// Where requests go on that go without some stages, if that was learned.
    pub fn without(&self) -> Option<&Without> {
        self.without.as_deref()
    }

    /// Checks that detours lead to where they should, and that no request comes to a stage that it goes without. Needs
    /// that children come after their parents.
    pub(super) fn check_detours(&self, price: &Price) -> Checked {
        let Some(without) = &self.without else { return Ok(()) };
        check(self.time.is_none(), "there are detours where decisions depend on time")?;
        without.check()?;
        let is_known = |node: &Node| without.stages.contains(&node.stage);
        check(self.nodes.iter().all(is_known), "a stage that may run is not among those that may be missing")?;
        // All stages that may still be asked from each node on.
        let mut asked = vec![0_u8; self.nodes.len()];
        for (at, (_, row)) in self.rows().enumerate().collect::<Vec<_>>().into_iter().rev() {
            let of = |child: usize| {
                let stage = self.nodes.get(child).map_or(0, |node| without.set_of(&[node.stage]));
                stage | asked.get(child).copied().unwrap_or(0)
            };
            let found = self.children(row).map(of).fold(0, |set, child| set | child);
            if let Some(asked) = asked.get_mut(at) {
                *asked = found;
            }
        }
        for detour in &without.detours {
            let node = self.nodes.get(usize::from(detour.node));
            if detour.ran != 0 {
                check(matches!(price, Price::Stage(_)), "a detour leads back where prices depend on the stage before")?;
                let is_there = node.is_some_and(|node| without.set_of(&node.members) == detour.ran);
                check(is_there, "a detour does not lead to a situation of the stages that ran")?;
            } else if let Some(node) = node {
                check(node.members.len() == 1, "a detour begins at a situation that does not begin")?;
            } else {
                let ends = detour.node == NO_STAGE && self.nothing.loss < f64::INFINITY;
                check(ends, "a detour begins nowhere")?;
            }
            let begun = node.filter(|_| detour.ran == 0).map_or(0, |node| without.set_of(&[node.stage]));
            let later = asked.get(usize::from(detour.node)).copied().unwrap_or(0);
            check((begun | later) & detour.missing == 0, "a detour comes to a stage that is missing")?;
        }
        Ok(())
    }

    /// The node to begin with where some stages are barred; [`NO_STAGE`] where nothing is answered at once. `None` where
    /// that was not learned.
    pub(super) fn begin_without(&self, barred: &[u16]) -> Option<u16> {
        let without = self.without.as_ref()?;
        match without.set_of(barred) {
            0 => Some(self.root(self.timeless())),
            missing => without.find(missing, 0),
        }
    }

    /// Before any stage has run, at a node of one member or at none.
    pub(super) fn begin_at_node(&self, node: u16) -> (Progress, BeliefMemory) {
        let root = self.nodes.get(usize::from(node));
        let memory = BeliefMemory::new(node, self.timeless(), root.map_or(0, |root| root.slot));
        (Progress::new(root.map_or(NO_STAGE, |root| root.stage)), memory)
    }

    /// The stage of `node` gave nothing, as did all others that are `missing`: the request goes on as if there were none
    /// of them. False, and nothing is changed, where that was not learned.
    pub(super) fn go_on_without(
        &self,
        node: &Node,
        missing: &[u16],
        progress: &mut Progress,
        memory: &mut BeliefMemory,
    ) -> bool {
        let Some(without) = self.without.as_ref().filter(|without| without.after_failure) else { return false };
        let missing = without.set_of(missing);
        let ran = without.set_of(&node.members) & !without.set_of(&[node.stage]);
        let Some(found) = without.find(missing, ran) else { return false };
        progress.pay(node.price);
        if ran == 0 {
            let root = self.nodes.get(usize::from(found));
            memory.node = found;
            memory.first_slot = root.map_or(0, |root| root.slot);
            progress.next = root.map_or(NO_STAGE, |root| root.stage);
        } else {
            let child = if ran.is_power_of_two() {
                self.first_detour(found, memory)
            } else {
                self.decisions.action(self.row(memory.block, usize::from(found)), memory.belief)
            };
            memory.node = found;
            self.enter(child, progress, memory);
        }
        true
    }

    /// The node that follows the first report at a node of one member. Only those that most requests begin with have their
    /// decisions on raw signals.
    fn first_detour(&self, node: u16, memory: &BeliefMemory) -> i32 {
        let Some(root) = self.nodes.get(usize::from(node)).filter(|_| usize::from(node) >= self.roots) else {
            return self.first_action(memory.block, node, memory.first());
        };
        let logit = self.beliefs.alone(root.stage, &self.beliefs.read(root.stage, memory.first()));
        self.decisions.action_sought(self.row(memory.block, usize::from(node)), logit)
    }

    /// The first stage has reported, at a node that few requests begin with: it goes on from there.
    pub(super) fn begin_detour(&self, begun: u16, progress: &mut Progress, memory: &mut BeliefMemory) {
        let is_first = self.nodes.get(usize::from(begun)).is_some_and(|node| node.members.len() == 1);
        if is_first && usize::from(begun) >= self.roots {
            let child = self.first_detour(begun, memory);
            self.enter(child, progress, memory);
        }
    }
}
