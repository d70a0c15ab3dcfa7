//! Traces: what they must hold, and what their parts and copies keep.
#![expect(clippy::unwrap_used, reason = "tests")]

use ttamer::{Charge, Cost, Error, Kind, Table, Trace};

fn table(cells: &[f64], columns: usize) -> Table<f64> {
    Table::from_rows("signal", cells, columns).unwrap()
}

fn made() -> Trace {
    let cost = Cost::Rows(table(&[1.0, 2.0, 3.0, 4.0, 2.0, 6.0], 2));
    Trace::new(table(&[0.9, 0.8, 0.3, 0.7, 0.5, 0.6], 2), table(&[0.0, 1.0, 1.0, 0.0, 0.5, 0.25], 2), cost, Kind::Exits)
        .unwrap()
}

fn message(found: Result<Trace, Error>) -> String {
    found.unwrap_err().to_string()
}

#[test]
fn what_does_not_fit_is_refused_by_name_and_place() {
    let two = || table(&[0.5; 6], 2);
    let alike = || Cost::Alike(vec![1.0, 2.0]);
    let with = |loss, cost| message(Trace::new(two(), loss, cost, Kind::Exits));
    let none = Table::from_fn(0, 2, |_, _| 0.0);
    assert_eq!(
        message(Trace::new(none.clone(), none, alike(), Kind::Exits)),
        "`signal` must have shape (n, k) with at least one row and one stage, got (0, 2)"
    );
    assert_eq!(with(table(&[0.0; 4], 2), alike()), "`loss` must have shape (3, 2), got (2, 2)");
    assert_eq!(
        with(table(&[0.0, 0.0, 0.0, -0.5, f64::NAN, 0.0], 2), alike()),
        "`loss` row 1 column 1 must be finite and at least 0, got -0.5"
    );
    assert_eq!(
        with(table(&[f64::NAN; 6], 2), alike()),
        "`loss` must be known and finite for at least one stage: one of infinite loss informs and never answers"
    );
    assert_eq!(with(two(), Cost::Alike(vec![1.0])), "`cost` must have shape (2,) or (3, 2), got (1,)");
    assert_eq!(
        with(two(), Cost::Alike(vec![1.0, f64::INFINITY])),
        "`cost` entry 1 must be finite and at least 0, got inf"
    );
    assert_eq!(with(two(), Cost::Rows(table(&[1.0; 4], 2))), "`cost` must have shape (2,) or (3, 2), got (2, 2)");
    let prediction = Table::from_rows("prediction", &[1, 2], 2).unwrap();
    assert_eq!(message(made().predicted(prediction)), "`prediction` must have shape (3, 2), got (1, 2)");
    let named = |names: &[&str]| message(made().named(names.iter().map(ToString::to_string).collect()));
    assert_eq!(named(&["a"]), "`stages` must have 2 names, got 1");
    assert_eq!(named(&["a", ""]), "`stages` entry 1 must not be empty");
    assert_eq!(named(&["a", "a"]), "`stages` entry 1 must differ from the others, got 'a' again");
    assert_eq!(message(made().weighted(Some(vec![1.0]))), "`weight` must have shape (3,), got (1,)");
    assert_eq!(
        message(made().weighted(Some(vec![1.0, f64::NAN, 0.0]))),
        "`weight` entry 1 must be finite and at least 0, got nan"
    );
    assert_eq!(message(made().weighted(Some(vec![0.0; 3]))), "`weight` must have a positive entry, got zeros only");
    assert_eq!(message(made().grouped(Some(vec![1]))), "`group` must have shape (3,), got (1,)");
    assert_eq!(Kind::named("tree").unwrap_err().to_string(), "`kind` must be 'exits' or 'models', got 'tree'");
    assert!(Table::from_rows("loss", &[1.0; 3], 2).unwrap_err().to_string().starts_with("`loss` must have rows of 2"));
}

#[test]
fn costs_are_those_of_each_row_and_their_means_are_weighted() {
    let trace = made();
    assert_eq!((trace.mean_cost(), trace.full_cost()), (&[2.0, 4.0][..], 6.0));
    assert_eq!(trace.charge(None, 1), Charge::Rows(vec![3.0, 7.0, 8.0]));
    assert_eq!(trace.charge(Some(0), 1), Charge::Rows(vec![2.0, 4.0, 6.0]));
    assert_eq!((trace.jump_cost(None, 1), trace.jump_cost(Some(0), 1)), (6.0, 4.0));
    let weighted = trace.weighted(Some(vec![2.0, 1.0, 1.0])).unwrap();
    assert_eq!((weighted.mean_cost(), weighted.mean_loss()), (&[1.75, 3.5][..], vec![0.375, 0.5625]));
    assert_eq!(weighted.weight(), [1.5, 0.75, 0.75]);
    let unweighted = weighted.weighted(None).unwrap();
    assert_eq!((unweighted.weight(), unweighted.given_weight()), (&[1.0; 3][..], None));
}

#[test]
fn parts_keep_what_belongs_to_their_rows() {
    let prediction = Table::from_rows("prediction", &[1, 2, 3, 4, 5, 6], 2).unwrap();
    let trace = made().predicted(prediction).unwrap();
    let trace = trace.weighted(Some(vec![0.0, 1.0, 3.0])).unwrap().grouped(Some(vec![7, 8, 7])).unwrap();
    let part = trace.part(&[2, 1]).unwrap();
    assert_eq!(
        (part.signal(1), part.loss(0), part.prediction(1)),
        (&[0.6, 0.7][..], &[0.5, 1.0][..], Some(&[6, 4][..]))
    );
    assert_eq!((part.group(), part.given_weight()), (Some(&[7, 8][..]), Some(&[3.0, 1.0][..])));
    assert_eq!((part.weight(), part.mean_cost()), (&[1.5, 0.5][..], &[2.25, 5.5][..]));
    assert_eq!(message(trace.part(&[])), "`index` must leave at least one row, got none");
    assert_eq!(message(trace.part(&[1, 3])), "`index` must be in 0..3, got 3");
    assert_eq!(
        message(trace.part(&[0])),
        "`weight` must have a positive entry in every part of a trace, got zeros only"
    );
}

#[test]
fn the_digest_tells_everything_apart_and_copies_not() {
    let prediction = || Table::from_rows("prediction", &[1, 2, 3, 4, 5, 6], 2).unwrap();
    let alike = Trace::from_rows(&[0.9, 0.8], &[0.0, 1.0], None, &[1.0, 2.0], Kind::Exits).unwrap();
    let others = [
        alike.clone(),
        Trace::from_rows(&[0.9, 0.8], &[0.0, 1.0], None, &[1.0, 2.0], Kind::Models).unwrap(),
        alike.clone().named(vec!["a".into(), "b".into()]).unwrap(),
        made(),
        made().predicted(prediction()).unwrap(),
        made().weighted(Some(vec![1.0; 3])).unwrap(),
        made().weighted(Some(vec![2.0; 3])).unwrap(),
        made().grouped(Some(vec![0, 0, 1])).unwrap(),
        made().grouped(Some(vec![0, 1, 1])).unwrap(),
        made().part(&[0, 1]).unwrap(),
        made().timed(table(&[0.5; 6], 2)).unwrap(),
        made().timed(table(&[0.5, 0.5, 0.5, 0.5, 0.5, 0.25], 2)).unwrap(),
    ];
    let digests: std::collections::BTreeSet<&str> = others.iter().map(Trace::digest).collect();
    assert_eq!(digests.len(), others.len());
    assert_eq!(made().part(&[0, 1, 2]).unwrap().digest(), made().digest());
    assert_eq!(others[5].clone().weighted(None).unwrap().digest(), made().digest());
}

#[test]
fn latencies_are_increments_that_rows_keep() {
    let seconds = || Table::from_rows("latency", &[0.5, 1.0, 0.25, f64::NAN, 2.0, 4.0], 2).unwrap();
    assert_eq!((made().latencies(), made().latency(0), made().expected_latency()), (None, None, None));
    assert_eq!(made().delay(None, 1), None);
    let trace = made().timed(seconds()).unwrap();
    assert_eq!(trace.latency(0), Some(&[0.5, 0.25, 2.0][..]));
    assert_eq!(trace.latencies().map(Table::columns), Some(2));
    // Of 1 and 4, half do not exceed 1.
    assert_eq!(trace.expected_latency(), Some(&[0.5, 1.0][..]));
    assert_eq!(trace.delay(None, 1), Some(vec![1.5, 1.25, 6.0]));
    assert_eq!(trace.delay(Some(0), 1), Some(vec![1.0, 1.0, 4.0]));
    assert_eq!(trace.delay(None, 0), Some(vec![0.5, 0.25, 2.0]));
    let weighted = trace.clone().weighted(Some(vec![1.0, 1.0, 3.0])).unwrap();
    assert_eq!(weighted.expected_latency(), Some(&[2.0, 4.0][..]));
    assert_eq!(weighted.delay(Some(0), 1), Some(vec![1.0, 4.0, 4.0]));
    let part = trace.part(&[1]).unwrap();
    assert_eq!(part.expected_latency(), Some(&[0.25, f64::INFINITY][..]));
    assert_eq!(part.delay(None, 1), Some(vec![f64::INFINITY]));
    assert_eq!(part.latency(0), Some(&[0.25][..]));
    let names = [String::from("stage 1"), String::from("stage 0")];
    let models = trace.matching("trace", &names, Kind::Models).unwrap();
    assert_eq!(models.expected_latency(), Some(&[1.0, 0.5][..]));
    assert_eq!(models.delay(Some(0), 1), Some(vec![0.5, 0.25, 2.0]));
    assert_eq!(models.delay(None, 1), models.delay(Some(0), 1));
}

#[test]
fn latencies_that_are_no_seconds_are_refused() {
    let timed = |cells: &[f64], columns| message(made().timed(table(cells, columns)));
    assert_eq!(
        timed(&[0.0, f64::NAN, 1.0, 2.0, -0.5, f64::INFINITY], 2),
        "`latency[2, 0]` must be finite and at least 0, or NaN, got -0.5"
    );
    assert_eq!(
        timed(&[0.0, f64::INFINITY, 1.0, 2.0, 3.0, 4.0], 2),
        "`latency[0, 1]` must be finite and at least 0, or NaN, got inf"
    );
    assert_eq!(timed(&[0.0; 3], 1), "`latency` must have shape (3, 2), got (3, 1)");
}
