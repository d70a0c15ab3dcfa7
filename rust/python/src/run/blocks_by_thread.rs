//! The memory of runs that ended, kept for the next ones: without the GIL, a list for every thread.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::layout::Run;
use super::spare::Spares;

/// Runs in flight at the same time, of a thread, whose memory is used again.
const KEPT: usize = 64;

/// A block that belongs to nobody.
struct Ended(*mut Run);

// SAFETY: whoever takes it is its only owner.
unsafe impl Send for Ended {}

static BLOCKS: Spares<Ended, 64> = Spares::new(KEPT);
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The number of this thread.
    static THREAD: Cell<Option<usize>> = const { Cell::new(None) };
}

fn thread() -> usize {
    THREAD.with(|own| {
        own.get().unwrap_or_else(|| {
            let number = THREADS.fetch_add(1, Ordering::Relaxed);
            own.set(Some(number));
            number
        })
    })
}

/// A run that ended, whose `state` and `objects` are still alive.
#[inline]
pub(super) unsafe fn take() -> Option<*mut Run> {
    BLOCKS.take(thread()).map(|ended| ended.0)
}

/// Keeps a run that ended; false where there is no room.
#[inline]
pub(super) unsafe fn put(run: *mut Run) -> bool {
    BLOCKS.put(thread(), Ended(run)).is_none()
}
