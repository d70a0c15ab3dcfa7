//! The Python face of the engine: conversions, error mapping, classes; no logic.

#![expect(clippy::doc_markdown, reason = "doc comments become Python docstrings")]
#![expect(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]

mod barred;
mod batch;
mod betting;
mod builder;
mod calibration;
mod certificate;
mod columns;
mod convert;
mod drift;
mod errors;
mod family;
mod files;
mod fit;
mod given;
mod known;
mod model;
mod model_parts;
mod names;
mod numbers;
mod operate;
mod origin;
mod outcome;
mod policy;
mod prediction;
mod predictions;
mod records;
mod replay;
mod reports;
mod run;
mod shapes;
mod signal;
mod signals;
mod timing;
mod trace;
mod watch;
mod working;

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The Rust core: exact models, fitting, policies and decisions.
// `Run` relies on the GIL.
#[pymodule(gil_used = true)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    ttamer::prepare();
    let py = module.py();
    module.add("TTamerError", py.get_type::<errors::TTamerError>())?;
    module.add("ValidationError", errors::validation(py)?)?;
    module.add("RunFinishedError", errors::run_finished(py)?)?;
    module.add("FormatError", errors::format(py)?)?;
    module.add("PolicyFormatError", errors::policy_format(py)?)?;
    module.add_class::<model::Model>()?;
    module.add_class::<policy::Policy>()?;
    module.add("Run", run::run_type(py)?)?;
    run::add_beginnings(py)?;
    module.add_function(wrap_pyfunction!(policy::mixture, module)?)?;
    module.add_function(wrap_pyfunction!(predictions::prediction_codes, module)?)?;
    module.add_class::<batch::Batch>()?;
    module.add_class::<replay::Replay>()?;
    module.add_function(wrap_pyfunction!(model::solve, module)?)?;
    module.add_class::<certificate::Certificate>()?;
    module.add_function(wrap_pyfunction!(certificate::verify, module)?)?;
    module.add_class::<trace::Trace>()?;
    module.add_class::<trace::Estimate>()?;
    module.add_function(wrap_pyfunction!(trace::estimate, module)?)?;
    module.add_class::<betting::BoundedMean>()?;
    module.add_class::<betting::PlannedMean>()?;
    module.add_function(wrap_pyfunction!(names::in_order, module)?)?;
    module.add_function(wrap_pyfunction!(names::by_name, module)?)?;
    module.add_class::<builder::Builder>()?;
    module.add_class::<records::RecordWriter>()?;
    module.add_class::<records::RecordReader>()?;
    module.add_class::<records::RecordTruth>()?;
    module.add_function(wrap_pyfunction!(records::drawn, module)?)?;
    module.add_function(wrap_pyfunction!(records::drawn_of_batch, module)?)?;
    module.add_class::<operate::Shadow>()?;
    module.add_class::<operate::Counters>()?;
    module.add_class::<operate::Counted>()?;
    module.add_class::<drift::Monitor>()?;
    module.add_class::<operate::Governor>()?;
    module.add_class::<outcome::Outcome>()?;
    module.add_function(wrap_pyfunction!(outcome::observed, module)?)?;
    module.add_class::<fit::Learner>()?;
    module.add_class::<calibration::Calibration>()?;
    module.add_function(wrap_pyfunction!(fit::fit, module)?)?;
    module.add_class::<family::PolicyFamily>()?;
    module.add_function(wrap_pyfunction!(family::fit_family, module)?)?;
    module.add_function(wrap_pyfunction!(signals::signal_of_logits, module)?)?;
    module.add_function(wrap_pyfunction!(signals::mean_logprob, module)?)?;
    module.add_function(wrap_pyfunction!(files::write_file, module)?)?;
    module.add_function(wrap_pyfunction!(files::check_writable, module)?)?;
    let info = PyDict::new(py);
    info.set_item("version", env!("CARGO_PKG_VERSION"))?;
    info.set_item("profile", if cfg!(debug_assertions) { "debug" } else { "release" })?;
    info.set_item("target", format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS))?;
    info.set_item("schema", ttamer::SCHEMA.to_string())?;
    module.add("build_info", info)
}
