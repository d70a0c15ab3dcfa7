//! The memory of runs that ended, kept for the next ones: with the GIL, one list for all threads.

use std::cell::UnsafeCell;

use super::layout::Run;

/// Runs in flight at the same time whose memory is used again.
const KEPT: usize = 64;

struct Blocks(UnsafeCell<Vec<*mut Run>>);

// SAFETY: only touched by `take` and `put`, which run with the GIL held.
unsafe impl Sync for Blocks {}

static BLOCKS: Blocks = Blocks(UnsafeCell::new(Vec::new()));

/// A run that ended, whose `state` and `objects` are still alive.
#[inline]
pub(super) unsafe fn take() -> Option<*mut Run> {
    // SAFETY: called with the GIL held.
    unsafe { (*BLOCKS.0.get()).pop() }
}

/// Keeps a run that ended; false where there is no room.
#[inline]
pub(super) unsafe fn put(run: *mut Run) -> bool {
    // SAFETY: called with the GIL held.
    let blocks = unsafe { &mut *BLOCKS.0.get() };
    let is_room = blocks.len() < KEPT;
    if is_room {
        blocks.push(run);
    }
    is_room
}
