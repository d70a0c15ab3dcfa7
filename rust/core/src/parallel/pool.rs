//! The threads of this process.
//!
//! A fork copies the memory of a process and none of its threads, at any moment, whatever locks they hold. Every process
//! therefore starts threads of its own when it first needs some, nothing here ever waits for a lock, and threads that a
//! parent started are neither asked for anything nor waited for.

use once_cell::race::OnceBox;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::interrupt;

/// The threads of one process.
struct Threads {
    process: u32,
    pool: ThreadPool,
    /// Those of a process forked from it.
    child: OnceBox<Threads>,
}

/// The threads of this process stand last, behind those of the processes that it descends from.
static FIRST: OnceBox<Threads> = OnceBox::new();

/// Makes what all processes share, once, before there is a second thread that a fork could catch at it.
pub fn prepare() {
    drop(crossbeam_epoch::pin());
}

/// Runs `work` on the threads of this process; on this thread where none can be started, and within other such work.
pub(super) fn within<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    match of_this_process() {
        Some(pool) => interrupt::wait_for(pool, work),
        None => work(),
    }
}

/// On how many threads pieces are worked on.
pub(crate) fn threads() -> usize {
    of_this_process().map_or_else(rayon::current_num_threads, ThreadPool::current_num_threads)
}

/// The threads to hand work over to; none where this thread is one of a pool.
fn of_this_process() -> Option<&'static ThreadPool> {
    if rayon::current_thread_index().is_some() {
        return None;
    }
    let process = std::process::id();
    let (mut end, mut last) = (&FIRST, None);
    while let Some(threads) = end.get() {
        (end, last) = (&threads.child, Some(threads));
    }
    // A number that comes back belongs to another process, unless it is the last one.
    if let Some(threads) = last.filter(|threads| threads.process == process) {
        return Some(&threads.pool);
    }
    let Ok(pool) = ThreadPoolBuilder::new().thread_name(|at| format!("ttamer {at}")).build() else {
        work_alone();
        return None;
    };
    // Another thread of this process may have been faster: then ours end, and its are used.
    let _ = end.set(Box::new(Threads { process, pool, child: OnceBox::new() }));
    end.get().map(|threads| &threads.pool)
}

/// Makes this thread the only one of a pool, for as long as it lives: whatever is to run in parallel runs on it.
fn work_alone() {
    if let Ok(alone) = ThreadPoolBuilder::new().num_threads(1).use_current_thread().build() {
        std::mem::forget(alone);
    }
}
