//! Records for tests.

use super::about::About;
use super::columns::{ANSWERED, Columns, Ending, FAILED, FOR_RECORD, Step};

/// How a request ended.
pub const ENDING: Ending =
    Ending { time: 1.5, answer: 0, flags: 0, cost: 1.0, expected_loss: 0.25, propensity: 0.02, exploration_cost: 0.0 };

/// What became of a stage.
pub fn step(stage: u16, what: u8, reason: Option<&str>) -> Step<'_> {
    Step { stage, what, signal: f64::from(stage), prediction: 7, seconds: f64::NAN, reason }
}

/// Of two models.
pub fn about() -> About {
    let stages = vec!["small".to_owned(), "large".to_owned()];
    About { digest: "d".into(), stages, kind: "models".into(), cost: vec![1.0, 4.0] }
}

/// So many requests, of every third of which a stage has failed.
pub fn columns(rows: u16) -> Columns {
    let mut columns = Columns::default();
    for row in 0..rows {
        let steps = [step(0, ANSWERED, None), step(1, FAILED | FOR_RECORD, Some("down"))];
        let count = 1 + usize::from(row % 3 == 0);
        columns.push(&format!("9f3a-{row}"), Ending { time: f64::from(row), ..ENDING }, steps.into_iter().take(count));
    }
    columns
}
