//! Types of other packages that arguments are asked for.

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};

/// Types of numpy and of Python's library, looked up once. Of packages that need not be there, what has been imported.
pub struct Known {
    array: Py<PyType>,
    scalar: Py<PyType>,
    real: [Py<PyType>; 3],
    time: Py<PyType>,
    number: Py<PyAny>,
    modules: Py<PyAny>,
}

static CELL: PyOnceLock<Known> = PyOnceLock::new();

impl Known {
    /// What has been looked up, if that has been done.
    pub fn found(py: Python<'_>) -> Option<&'static Self> {
        CELL.get(py)
    }

    /// Looked up on the first call.
    pub fn get(py: Python<'_>) -> PyResult<&'static Self> {
        CELL.get_or_try_init(py, || {
            let numpy = py.import("numpy")?;
            let class = |name: &str| Ok::<_, PyErr>(numpy.getattr(name)?.cast_into::<PyType>()?.unbind());
            Ok(Self {
                array: class("ndarray")?,
                scalar: class("generic")?,
                real: [class("floating")?, class("integer")?, class("bool_")?],
                // Derived from numpy's integers.
                time: class("timedelta64")?,
                number: py.import("numbers")?.getattr("Number")?.unbind(),
                modules: py.import("sys")?.getattr("modules")?.unbind(),
            })
        })
    }

    /// Whether it is an array of numpy.
    pub fn is_array(&self, given: &Bound<'_, PyAny>) -> bool {
        is_of(given.as_borrowed(), &self.array)
    }

    /// Whether it is an array of numpy itself, not of a class derived from it.
    pub fn is_plain_array(&self, given: &Bound<'_, PyAny>) -> bool {
        given.get_type().is(&self.array)
    }

    /// Whether it is a number of numpy, or text, bytes, a time or a record.
    pub fn is_scalar(&self, given: &Bound<'_, PyAny>) -> bool {
        is_of(given.as_borrowed(), &self.scalar)
    }

    /// Whether a scalar of numpy is a real number.
    pub fn is_real(&self, given: Borrowed<'_, '_, PyAny>) -> bool {
        self.real.iter().any(|class| is_of(given, class)) && !is_of(given, &self.time)
    }

    /// Whether it is an integer of numpy.
    pub fn is_integer(&self, given: Borrowed<'_, '_, PyAny>) -> bool {
        is_of(given, &self.real[1])
    }

    /// The abstract class of all numbers.
    pub fn number<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.number.bind(py)
    }

    /// Whether it is what is masked in an array of `numpy.ma`, or `pandas.NA`.
    pub fn is_missing(&self, given: &Bound<'_, PyAny>) -> bool {
        let py = given.py();
        let is = |module, name| self.imported(module, name).is_some_and(|missing| missing.is(given));
        is(intern!(py, "numpy.ma"), intern!(py, "masked")) || is(intern!(py, "pandas"), intern!(py, "NA"))
    }

    /// Whether it is an array with a mask.
    pub fn is_masked_array(&self, given: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = given.py();
        let class = self.imported(intern!(py, "numpy.ma"), intern!(py, "MaskedArray"));
        class.map_or(Ok(false), |class| given.is_instance(&class))
    }

    /// Whether it is a single value of Arrow.
    pub fn is_arrow(&self, given: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = given.py();
        let class = self.imported(intern!(py, "pyarrow"), intern!(py, "Scalar"));
        class.map_or(Ok(false), |class| given.is_instance(&class))
    }

    /// An attribute of a module that has been imported.
    fn imported<'py>(&self, module: &Bound<'py, PyString>, name: &Bound<'py, PyString>) -> Option<Bound<'py, PyAny>> {
        self.modules.bind(module.py()).get_item(module).ok()?.getattr(name).ok()
    }
}

/// Whether it is of a class or one derived from it, whatever it says itself.
fn is_of(given: Borrowed<'_, '_, PyAny>, class: &Py<PyType>) -> bool {
    // SAFETY: both are alive and the GIL is held.
    unsafe { ffi::PyObject_TypeCheck(given.as_ptr(), class.as_ptr().cast()) != 0 }
}
