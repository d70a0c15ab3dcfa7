//! What a model refuses, and what it says.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use ndarray::{Array2, array};
use support::{dense, matrix};
use ttamer::Transition;
use ttamer::model::Model;
use ttamer::solve::{SolveOptions, solve};

type Rows = Vec<Vec<f64>>;

fn refused(model: Result<Model, ttamer::error::Error>) -> String {
    model.unwrap_err().to_string()
}

fn line(loss: Rows, cost: Vec<f64>, rows: &[Rows]) -> Result<Model, ttamer::error::Error> {
    Model::line(loss, cost, rows.iter().map(|p| dense(p)).collect())
}

fn parts() -> (Rows, Vec<f64>, Vec<Rows>) {
    let loss = vec![vec![0.2, 0.5], vec![0.1, 0.9]];
    (loss, vec![0.1, 0.2], vec![vec![vec![0.5, 0.5]], vec![vec![0.3, 0.7], vec![0.6, 0.4]]])
}

#[test]
fn lines_are_checked() {
    let (loss, cost, rows) = parts();
    assert!(line(loss.clone(), cost.clone(), &rows).is_ok());
    assert_eq!(refused(line(vec![], vec![], &[])), "`loss` must have at least one stage, got 0");
    assert_eq!(
        refused(line(loss.clone(), vec![0.1], &rows)),
        "`cost` must have one entry per stage, 2 like `loss`, got 1"
    );
    assert_eq!(
        refused(line(loss.clone(), cost.clone(), &rows[..1])),
        "`transition` must have one entry per stage, 2 like `loss`, got 1"
    );
    assert_eq!(
        refused(line(loss.clone(), vec![0.1, f64::NAN], &rows)),
        "`cost[1]` must be finite and at least 0, got NaN"
    );
    assert_eq!(
        refused(line(vec![vec![0.2, -1.0], vec![0.1, 0.9]], cost.clone(), &rows)),
        "`loss[0]` state 1 must be finite and at least 0, got -1"
    );
    assert_eq!(
        refused(line(vec![vec![0.2, 1.0], vec![]], cost.clone(), &rows)),
        "`loss[1]` must have at least one state, got 0"
    );
    let mut wrong = rows.clone();
    wrong[1][1] = vec![0.6, 0.33];
    assert_eq!(refused(line(loss.clone(), cost.clone(), &wrong)), "`transition[1]` row 1 must sum to 1, got 0.93");
    wrong[1][1] = vec![-0.5, 1.5];
    assert_eq!(
        refused(line(loss.clone(), cost.clone(), &wrong)),
        "`transition[1]` row 1 column 0 must be a probability, at least 0, got -0.5"
    );
    wrong[1][1] = vec![0.5, f64::NAN];
    assert_eq!(
        refused(line(loss.clone(), cost.clone(), &wrong)),
        "`transition[1]` row 1 column 1 must be a probability, at least 0, got NaN"
    );
    wrong[1] = vec![vec![0.5, 0.5]];
    assert_eq!(
        refused(line(loss, cost, &wrong)),
        "`transition[1]` must have shape (2, 2), states of the parent by states of stage 1, got (1, 2)"
    );
}

#[test]
fn long_rows_are_checked_to_the_end() {
    let states = 103;
    for bad in [0, 7, 95, 96, 102] {
        let mut row = vec![1.0 / states as f64; states];
        row[bad] = -row[bad];
        let model = line(vec![vec![0.5; states]], vec![0.0], &[vec![row]]);
        let said = refused(model);
        assert!(said.starts_with(&format!("`transition[0]` row 0 column {bad} must be a probability")), "{said}");
    }
}

#[test]
fn jump_costs_are_checked() {
    let (loss, _, rows) = parts();
    let skip = |cost: Array2<f64>| Model::skip(loss.clone(), cost, rows.iter().map(|p| dense(p)).collect());
    assert!(skip(array![[0.1, f64::INFINITY], [0.0, 0.2]]).is_ok());
    assert_eq!(
        refused(skip(array![[0.1, 0.2], [0.3, 0.2]])),
        "`cost` row 1 column 0 is below the diagonal and must be 0 (no stage runs after a later one), got 0.3"
    );
    assert_eq!(
        refused(skip(array![[0.1, f64::NAN], [0.0, 0.2]])),
        "`cost` row 0 column 1 must be at least 0 (infinite: not allowed to jump), got NaN"
    );
    assert_eq!(
        refused(skip(array![[0.1, 0.2]])),
        "`cost` must have shape (2, 2), one row and column per stage, got (1, 2)"
    );
    let stuck = skip(array![[f64::INFINITY, f64::INFINITY], [0.0, 0.2]]).unwrap();
    for recall in [true, false] {
        let options = SolveOptions { recall, ..SolveOptions::default() };
        let said = solve(&stuck, &options).unwrap_err().to_string();
        assert!(said.starts_with("`cost` row 0 must allow"), "{said}");
        let solution = solve(&stuck, &SolveOptions { default_loss: 0.7, ..options }).unwrap();
        assert_eq!(solution.value, 0.7);
    }
}

#[test]
fn parents_are_checked() {
    let (loss, cost, rows) = parts();
    let tree =
        |parent: Vec<i64>| Model::tree(parent, loss.clone(), cost.clone(), rows.iter().map(|p| dense(p)).collect());
    assert!(tree(vec![-1, 0]).is_ok());
    assert_eq!(refused(tree(vec![0, 1])), "`parent[0]` must be -1 (a root) or an earlier stage, below 0, got 0");
    assert_eq!(refused(tree(vec![-1, -2])), "`parent[1]` must be -1 (a root) or an earlier stage, below 1, got -2");
    assert_eq!(refused(tree(vec![-1])), "`parent` must have one entry per stage, 2 like `loss`, got 1");
    assert_eq!(
        refused(tree(vec![-1, -1])),
        "`transition[1]` must have shape (1, 2), one row by states of stage 1, got (2, 2)"
    );
    let options = SolveOptions { recall: false, ..SolveOptions::default() };
    assert!(solve(&tree(vec![-1, 0]).unwrap(), &options).unwrap_err().to_string().starts_with("`recall` must be"));
}

#[test]
fn general_graphs_are_checked() {
    let (loss, cost, rows) = parts();
    let dag = |parents: Vec<Vec<i64>>| {
        Model::dag(parents, loss.clone(), cost.clone(), rows.iter().map(|p| dense(p)).collect())
    };
    assert!(dag(vec![vec![], vec![0]]).is_ok());
    assert_eq!(
        refused(dag(vec![vec![1], vec![0]])),
        "`parents[0]` must be ascending earlier stages, each once and below 0, got 1"
    );
    let stages = 9;
    let model = Model::dag(
        vec![vec![]; stages],
        vec![vec![0.5; 4]; stages],
        vec![0.1; stages],
        vec![dense(&[vec![0.25; 4]]); stages],
    );
    let said = solve(&model.unwrap(), &SolveOptions::default()).unwrap_err().to_string();
    assert!(said.contains("NP-hard") && said.contains("1.008e7") && !said.contains('\n'), "{said}");
}

#[test]
fn default_losses_are_checked() {
    let (loss, cost, rows) = parts();
    let model = line(loss, cost, &rows).unwrap();
    for bad in [-1.0, f64::NAN, f64::NEG_INFINITY] {
        let options = SolveOptions { default_loss: bad, ..SolveOptions::default() };
        assert!(solve(&model, &options).unwrap_err().to_string().starts_with("`default_loss` must be"));
    }
}

#[test]
fn too_large_is_refused_before_it_is_begun() {
    let states = 200_000;
    let loss: Vec<f64> = (0..states).map(f64::from).collect();
    let identity: Vec<usize> = (0..loss.len()).collect();
    let first = Transition::from_coordinates(&[0], &[0], &[1.0], (1, loss.len())).unwrap();
    let same =
        Transition::from_coordinates(&identity, &identity, &vec![1.0; loss.len()], (loss.len(), loss.len())).unwrap();
    let model = Model::line(vec![loss.clone(), loss], vec![0.0, 0.0], vec![first, same]).unwrap();
    let said = solve(&model, &SolveOptions::default()).unwrap_err().to_string();
    assert!(said.starts_with("the model is too large: ") && said.contains(" GB"), "{said}");
}

#[test]
fn coordinates_are_checked_and_added() {
    let p = Transition::from_coordinates(&[0, 0, 0], &[1, 0, 1], &[0.25, 0.5, 0.25], (1, 2)).unwrap();
    assert_eq!(support::entries(&p), matrix(&[vec![0.5, 0.5]]));
    let said = Transition::from_coordinates(&[0], &[2], &[1.0], (1, 2)).unwrap_err().to_string();
    assert_eq!(said, "entry 0 must lie inside shape (1, 2), got row 0 column 2");
    assert!(Transition::from_coordinates(&[0], &[], &[1.0], (1, 2)).is_err());
}
