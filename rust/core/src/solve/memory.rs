//! Refuses work that would not fit in memory, before it is begun.

use crate::error::{Error, Result};

/// Taken for available where the system does not say.
const UNKNOWN_AVAILABLE: f64 = 16e9;

/// Fails if `values` numbers of eight bytes exceed the memory that is available now; `what` names them.
pub(crate) fn ensure(values: f64, what: &str) -> Result<()> {
    const SMALL: f64 = 64e6; // bytes; not worth asking the system
    let bytes = 8.0 * values;
    if bytes <= SMALL {
        return Ok(());
    }
    let available = available();
    if bytes <= available {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the model is too large: {what} would take {:.1} GB of memory, {:.1} GB are available",
        bytes / 1e9,
        available / 1e9
    )))
}

/// Bytes available to this process, as far as the system tells.
fn available() -> f64 {
    let system = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
        let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kilobytes * 1024.0)
    });
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| {
        let limit: f64 = text.trim().parse().ok()?;
        let used = std::fs::read_to_string("/sys/fs/cgroup/memory.current").ok()?;
        let used: f64 = used.trim().parse().ok()?;
        Some((limit - used).max(0.0))
    });
    match (system, group) {
        (Some(a), Some(b)) => a.min(b),
        (Some(a), None) | (None, Some(a)) => a,
        (None, None) => UNKNOWN_AVAILABLE,
    }
}
