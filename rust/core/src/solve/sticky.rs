//! Tests on skip graphs whose states tend to stay: what is looked at ahead changes how long they take, and nothing else.

use ndarray::Array2;

use super::chain::solve_on;
use super::grid::LossGrid;
use super::reach::Reach;
use crate::error::Result;
use crate::model::{Model, Transition};

/// Uniform numbers: a linear congruence and a shift.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A model of random numbers, on a common grid of losses or not.
fn model(dice: &mut Dice, stages: usize, states: usize, stay: f64) -> Result<Model> {
    let common: Vec<f64> = (0..states).map(|_| dice.next()).collect();
    let is_common = dice.next() < 0.5;
    let mut loss = Vec::new();
    let mut transition = Vec::new();
    for v in 0..stages {
        loss.push((0..states).map(|s| if is_common { common[(s + 7 * v) % states] } else { dice.next() }).collect());
        let rows = if v == 0 { 1 } else { states };
        let stay = if v == 0 { 0.0 } else { stay };
        let mut p = Array2::from_shape_fn((rows, states), |_| dice.next());
        for (s, mut row) in p.rows_mut().into_iter().enumerate() {
            row *= (1.0 - stay) / row.sum();
            row[s] += stay;
        }
        transition.push(Transition::Dense(p));
    }
    let cost = Array2::from_shape_fn((stages, stages), |(i, j)| {
        let (c, is_barred) = (0.03 * dice.next(), dice.next() < 0.1);
        match j.checked_sub(i) {
            None => 0.0,
            Some(0) => c,
            Some(_) if is_barred => f64::INFINITY,
            Some(far) => c + 0.004 * far as f64,
        }
    });
    Model::skip(loss, cost, transition)
}

#[test]
fn looking_ahead_changes_no_bit() -> Result<()> {
    let mut dice = Dice(5);
    for round in 0..24 {
        let (stages, states) = (3 + round % 6, 5 + 3 * (round % 9));
        let model = model(&mut dice, stages, states, [0.0, 0.6, 0.9, 0.97][round % 4])?;
        for default_loss in [f64::INFINITY, 0.4] {
            let grid = LossGrid::of(&model, default_loss);
            let solved = |step| {
                let reach = Reach::of(&grid.after(stages - 1), stages, default_loss, step);
                solve_on(&model, default_loss, &grid, reach).map(|tables| (tables.value, tables.plan))
            };
            let plain = solved(usize::MAX)?;
            for step in [1, 2, 4, 16] {
                assert!(solved(step)? == plain, "round {round}, a point every {step} columns");
            }
        }
    }
    Ok(())
}
