//! Stored policies in which no stage can answer are refused.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod recorded;
mod stored;

use rmpv::Value;
use stored::{at, fields, file, list};
use ttamer::learn::{Heuristic, Method};
use ttamer::{Kind, Policy, Trace};

fn stored_policy(method: Method) -> Value {
    let (signal, loss, prediction) = recorded::data(400);
    let trace = Trace::from_rows(&signal, &loss, Some(&prediction), &[1.0, 2.0, 4.0], Kind::Exits).unwrap();
    fields(&recorded::of_method(&trace, method, 0.9))
}

fn refusal(fields: &Value) -> String {
    Policy::from_bytes(&file(fields)).unwrap_err().to_string()
}

#[test]
fn something_has_to_answer_in_the_end() {
    let never = || Value::F64(f64::INFINITY);
    let mut belief = stored_policy(Method::Pathwise);
    for calibration in list(at(&mut belief, "rule.component.belief.beliefs.calibration")) {
        *at(calibration, "mean_loss") = never();
    }
    assert!(refusal(&belief).contains("a request may end before any stage can answer"), "{}", refusal(&belief));
    let mut walk = stored_policy(Method::Heuristic(Heuristic::Threshold));
    *at(&mut walk, "rule.component.threshold.walk.mean_loss.1") = never();
    assert!(refusal(&walk).contains("a stage that runs never answers"), "{}", refusal(&walk));
}
