//! That the situations of a rule follow from each other, so that executing it cannot go wrong; and what follows from them.

use super::super::checks;
use super::calibration::Calibration;
use super::entry::{EntryCuts, MOST_PAIRS};
use super::node::Node;
use super::pairs::Pair;
use super::rule::BeliefRule;
use crate::error::{Checked, check};
use crate::plan::{Intervals, NO_STAGE, Row, STOP};
use crate::price::Price;

impl BeliefRule {
    /// How many of the nodes, the first ones, have one member.
    pub(super) fn beginning_nodes(&self) -> usize {
        self.nodes.iter().take_while(|node| node.members.len() == 1).count()
    }

    /// Every node has one member more than the one before it, its own stage, or as many where an answer is let go, which
    /// is none of the first two; what the others said is read from where it was written, so that no request reads what
    /// another one left.
    pub(super) fn check_growth(&self) -> Checked {
        for (node, row) in self.rows() {
            for child in self.children(row).filter_map(|child| self.nodes.get(child)) {
                let before = node.members.len();
                let grows = child.members.len() == before + 1 || (before > 2 && child.members.len() == before);
                check(grows, "a situation does not follow from the one before it")?;
                let is_kept = |member: &u16| *member == child.stage || node.members.contains(member);
                check(child.members.iter().all(is_kept), "a member of a situation has not run before it")?;
                let mut others = child.members.iter().filter(|member| **member != child.stage);
                let is_in_place = |member: &u16| {
                    let place = child.place_of(*member);
                    place == node.place_of(*member) && place != Some(usize::from(child.slot))
                };
                check(others.all(is_in_place), "what a member of a situation said is not where it was written")?;
            }
        }
        Ok(())
    }

    /// No request runs a stage twice. A node has all that have run among its members, so that growing is enough, until
    /// an answer is let go; where one is, every stage is run by one node alone.
    pub(super) fn check_stages(&self) -> Checked {
        let lets_go = |(node, row): (&Node, &Row)| {
            let mut children = self.children(row).filter_map(|child| self.nodes.get(child));
            children.any(|child| child.members.len() == node.members.len())
        };
        if self.rows().any(lets_go) {
            let mut stages: Vec<u16> = self.nodes.iter().map(|node| node.stage).collect();
            stages.sort_unstable();
            let is_once = stages.iter().zip(stages.iter().skip(1)).all(|(one, next)| one != next);
            check(is_once, "a stage may run twice")?;
        }
        Ok(())
    }

    /// Which tables of named classes are about members of each node: of each two stages at most one.
    pub(super) fn find_disputes(&mut self) -> Checked {
        let pairs = &self.beliefs.pairs;
        let ascend = pairs.iter().zip(pairs.iter().skip(1)).all(|(one, next)| one.stages() < next.stages());
        check(ascend && u16::try_from(pairs.len()).is_ok(), "the pairs of stages do not ascend")?;
        let is_there =
            |pair: &Pair| pair.stages().iter().all(|stage| usize::from(*stage) < self.beliefs.calibration.len());
        check(pairs.iter().all(is_there), "a pair of stages is not there")?;
        let nodes = std::mem::take(&mut self.nodes);
        self.nodes = nodes.into_iter().map(|node| node.disputed(pairs)).collect();
        Ok(())
    }

    /// What entering each node costs follows from the stage run before it: the same on every way into the node.
    pub(super) fn price_nodes(&mut self, price: &Price) -> Checked {
        let mut prices: Vec<Option<f64>> = vec![None; self.nodes.len()];
        for (entry, root) in prices.iter_mut().zip(&self.nodes).take(self.beginning_nodes()) {
            checks::priced(price, [(NO_STAGE, usize::from(root.stage))].into_iter())?;
            *entry = Some(price.of(NO_STAGE, usize::from(root.stage)));
        }
        for (node, row) in self.rows() {
            for child in self.children(row) {
                let (Some(known), Some(child)) = (prices.get_mut(child), self.nodes.get(child)) else { continue };
                let stage = usize::from(child.stage);
                checks::priced(price, [(node.stage, stage)].into_iter())?;
                let paid = price.of(node.stage, stage);
                check(known.is_none_or(|known| known == paid), "two ways into a situation cost differently")?;
                *known = Some(paid);
            }
        }
        // Where a detour only reads decisions, no stage runs.
        for detour in self.without.iter().flat_map(|without| &without.detours) {
            if let Some(unpaid) = prices.get_mut(usize::from(detour.node)).filter(|price| price.is_none()) {
                *unpaid = Some(0.0);
            }
        }
        for (node, price) in self.nodes.iter_mut().zip(prices) {
            node.price = price.ok_or("no decision leads to a situation")?;
        }
        Ok(())
    }

    /// Which members of situations never answer, and who answers last where the last one does; while nobody can answer
    /// yet no decision ends a request, unless nothing is an answer or time may run out.
    pub(super) fn find_probes(&mut self) -> Checked {
        let probes: Vec<bool> = self.beliefs.calibration.iter().map(Calibration::is_probe).collect();
        let is_probe = |stage: u16| probes.get(usize::from(stage)).is_some_and(|is_probe| *is_probe);
        self.has_probes = self.nodes.iter().any(|node| is_probe(node.stage));
        if !self.has_probes {
            return Ok(());
        }
        let own = |node: &Node| (!is_probe(node.stage)).then_some(node.stage);
        let mut last: Vec<Option<u16>> = self.nodes.iter().map(own).collect();
        let mut rows: Vec<(usize, (&Node, &Row))> = self.rows().enumerate().collect();
        // Parents first, in whichever block: what they leave is known when their own row is looked at.
        rows.sort_by_key(|(row_at, _)| row_at % self.nodes.len());
        for (row_at, (node, row)) in rows {
            let at = row_at % self.nodes.len();
            let before = last.get(at).copied().flatten().unwrap_or(node.stage);
            for child in self.children(row) {
                if let (Some(last), Some(child)) = (last.get_mut(child), self.nodes.get(child))
                    && is_probe(child.stage)
                {
                    let is_same = self.beliefs.recall || last.is_none_or(|last| last == before);
                    check(is_same, "two ways into a situation leave different answers last")?;
                    *last = Some(before);
                }
            }
            let ends = || self.decisions.actions(row).any(|next| next == STOP);
            let is_silent = node.members.iter().all(|member| is_probe(*member));
            let is_timed = row_at < usize::from(self.timeless()) * self.nodes.len();
            let may_end = self.nothing.loss < f64::INFINITY || !is_silent || is_timed;
            check(
                may_end || !(row.stop > f64::NEG_INFINITY || ends()),
                "a request may end before any stage can answer",
            )?;
        }
        let nodes = std::mem::take(&mut self.nodes);
        let among = |(node, last): (Node, Option<u16>)| {
            let last = last.unwrap_or(node.stage);
            node.among(is_probe, last)
        };
        self.nodes = nodes.into_iter().zip(last).map(among).collect();
        Ok(())
    }

    /// The first decisions, on raw signals.
    pub(super) fn cut(&self) -> Vec<EntryCuts> {
        let blocks = 0..=self.timeless();
        let firsts = blocks.flat_map(|block| {
            self.nodes.iter().take(self.roots).enumerate().map(move |(root, node)| (self.row(block, root), node))
        });
        let firsts: Vec<(Intervals, &Calibration)> = firsts
            .filter_map(|(row, node)| {
                let calibration = self.beliefs.calibration.get(usize::from(node.stage))?;
                Some((self.decisions.part(row..row + 1), calibration))
            })
            .collect();
        let pairs = firsts.iter().map(|(row, calibration)| EntryCuts::pairs(calibration, row));
        let is_cut = pairs.fold(0, usize::saturating_add) <= MOST_PAIRS;
        let cut = |(row, calibration): (Intervals, &Calibration)| {
            if is_cut { EntryCuts::new(calibration, &row) } else { EntryCuts::uncut(calibration, row) }
        };
        firsts.into_iter().map(cut).collect()
    }
}
