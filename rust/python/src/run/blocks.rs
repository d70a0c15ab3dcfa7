//! The memory of runs that ended, kept for the next ones: with the GIL, one list for all threads.

use std::cell::UnsafeCell;
use std::ptr;

use super::layout::Run;

/// Runs in flight at the same time whose memory is used again.
const KEPT: usize = 64;

struct Blocks {
    kept: [*mut Run; KEPT],
    count: usize,
}

/// For everybody.
struct Shared(UnsafeCell<Blocks>);

// SAFETY: only touched by `take` and `put`, which run with the GIL held.
unsafe impl Sync for Shared {}

static BLOCKS: Shared = Shared(UnsafeCell::new(Blocks { kept: [ptr::null_mut(); KEPT], count: 0 }));

/// A run that ended, whose `state` and `objects` are still alive.
#[inline]
pub(super) unsafe fn take() -> Option<*mut Run> {
    // SAFETY: called with the GIL held.
    let blocks = unsafe { &mut *BLOCKS.0.get() };
    let run = blocks.count.checked_sub(1).and_then(|last| blocks.kept.get(last)).copied()?;
    blocks.count -= 1;
    Some(run)
}

/// Keeps a run that ended; false where there is no room.
#[inline]
pub(super) unsafe fn put(run: *mut Run) -> bool {
    // SAFETY: called with the GIL held.
    let blocks = unsafe { &mut *BLOCKS.0.get() };
    let Some(free) = blocks.kept.get_mut(blocks.count) else { return false };
    *free = run;
    blocks.count += 1;
    true
}
