//! The memory of runs that ended, kept for the next ones.

use super::layout::Run;

/// Runs in flight at the same time, of a thread, whose memory is used again.
const KEPT: usize = 64;

pub(super) use place::{put, take};

/// With the GIL, one list for all threads.
#[cfg(not(Py_GIL_DISABLED))]
mod place {
    use std::cell::UnsafeCell;

    use super::{KEPT, Run};

    struct Blocks(UnsafeCell<Vec<*mut Run>>);

    // SAFETY: only touched by `take` and `put`, which run with the GIL held.
    unsafe impl Sync for Blocks {}

    static BLOCKS: Blocks = Blocks(UnsafeCell::new(Vec::new()));

    /// A run that ended, whose `state` and `objects` are still alive.
    #[inline]
    pub unsafe fn take() -> Option<*mut Run> {
        // SAFETY: called with the GIL held.
        unsafe { (*BLOCKS.0.get()).pop() }
    }

    /// Keeps a run that ended; false where there is no room.
    #[inline]
    pub unsafe fn put(run: *mut Run) -> bool {
        // SAFETY: called with the GIL held.
        let blocks = unsafe { &mut *BLOCKS.0.get() };
        let is_room = blocks.len() < KEPT;
        if is_room {
            blocks.push(run);
        }
        is_room
    }
}

/// Without it, a list for every thread.
#[cfg(Py_GIL_DISABLED)]
mod place {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::spare::Spares;
    use super::{KEPT, Run};

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
    pub unsafe fn take() -> Option<*mut Run> {
        BLOCKS.take(thread()).map(|ended| ended.0)
    }

    /// Keeps a run that ended; false where there is no room.
    #[inline]
    pub unsafe fn put(run: *mut Run) -> bool {
        BLOCKS.put(thread(), Ended(run)).is_none()
    }
}
