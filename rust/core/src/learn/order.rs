//! Whether stages can run in a prescribed order.

use crate::error::{Error, Result};
use crate::trace::{Kind, Trace};

/// That a prescribed order can be kept.
pub fn check_order(trace: &Trace, order: Option<&[usize]>) -> Result<()> {
    let Some(order) = order else { return Ok(()) };
    if order.is_empty() {
        return Err(Error::invalid("`order` must name at least one stage, got none"));
    }
    for (at, stage) in order.iter().enumerate() {
        if *stage >= trace.stages() {
            return Err(Error::invalid(format!("`order[{at}]` must be in 0..{}, got {stage}", trace.stages())));
        }
        if order[..at].contains(stage) {
            return Err(Error::invalid(format!("`order[{at}]` must differ from the others, got {stage} again")));
        }
        if trace.kind() == Kind::Exits && at > 0 && order[at - 1] > *stage {
            let message = format!("`order[{at}]` must be a later exit than {}, got {stage}", order[at - 1]);
            return Err(Error::invalid(message));
        }
    }
    if order.iter().all(|stage| trace.is_probe(*stage)) {
        return Err(Error::invalid(
            "`order` must name at least one stage that answers, got stages of infinite loss only",
        ));
    }
    Ok(())
}
