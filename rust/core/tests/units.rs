//! A loss that is finite in the unit of a model must be finite in that of the trace.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod stored;

use ndarray::array;
use stored::{at, fields, file};
use ttamer::{Model, Policy, SolveOptions, Transition, compile};

#[test]
fn nothing_has_a_finite_loss_in_the_unit_of_the_trace() {
    let states = Transition::Dense(array![[0.5, 0.5]]);
    let model = Model::line(vec![vec![0.1, 0.9]], vec![0.05], vec![states]).unwrap();
    let policy = compile(&model, &SolveOptions { default_loss: 2.0, ..SolveOptions::default() }).unwrap();
    let with_unit = |unit: f64| {
        let mut fields = fields(&policy);
        *at(&mut fields, "rule.component.chain.unit") = unit.into();
        Policy::from_bytes(&file(&fields))
    };
    assert!(with_unit(1e3).is_ok());
    let message = with_unit(f64::MAX).unwrap_err().to_string();
    assert!(message.contains("the default loss is not finite in the unit of the trace"), "{message}");
}
