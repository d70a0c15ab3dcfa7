//! Work on all cores of this process, which an interrupt can end: the only place that knows of threads.
//!
//! Work is cut into *pieces* that take well below a second each. Before every piece, and wherever a long loop asks
//! ([`check`]), the work ends if it has been interrupted ([`interruptible`]). One piece alone runs on the calling
//! thread; several run on the threads of this process (`pool.rs`), or on the calling one where there are none.

mod interrupt;
mod pool;

use rayon::prelude::*;

pub(crate) use interrupt::check;
pub use interrupt::interruptible;
pub use pool::prepare;
pub(crate) use pool::threads;

/// What becomes of every piece, in their order.
pub(crate) fn map<T: Send, R: Send>(pieces: impl IntoIterator<Item = T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let mut pieces: Vec<T> = pieces.into_iter().collect();
    if pieces.len() < 2 {
        check();
        return pieces.pop().map(work).into_iter().collect();
    }
    let watched = interrupt::Watched::current();
    let work = |piece| watched.run(|| work(piece));
    pool::within(|| pieces.into_par_iter().with_max_len(1).map(work).collect())
}

/// Works on every piece.
pub(crate) fn for_each<T: Send>(pieces: impl IntoIterator<Item = T>, work: impl Fn(T) + Sync) {
    map(pieces, work);
}

/// `0..length` in ranges of at most `size`.
pub(crate) fn ranges(length: usize, size: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..length.div_ceil(size)).map(move |piece| piece * size..((piece + 1) * size).min(length))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::Error;

    #[test]
    fn pieces_keep_their_order() {
        let squares: Vec<usize> = (0..100).map(|i| i * i).collect();
        assert_eq!(map(0..100, |i| i * i), squares);
        assert_eq!(map(0..100, |i| map(0..i, |j| j).len()), (0..100).collect::<Vec<_>>());
        assert!(map(Vec::<u8>::new(), |i| i).is_empty());
    }

    #[test]
    fn ranges_cover_everything_once() {
        assert_eq!(ranges(7, 3).collect::<Vec<_>>(), [0..3, 3..6, 6..7]);
        assert_eq!(ranges(0, 3).count(), 0);
    }

    #[test]
    fn one_piece_stays_on_the_calling_thread() {
        let here = std::thread::current().id();
        assert_eq!(map([0], |_| std::thread::current().id()), [here]);
    }

    #[test]
    fn an_interrupt_ends_the_work_between_pieces() {
        let done = AtomicUsize::new(0);
        let slow = |_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            done.fetch_add(1, Ordering::Relaxed);
        };
        let ended = interruptible(|| true, || map(0..1000, slow));
        assert!(matches!(ended, Err(Error::Interrupted)));
        assert!(done.load(Ordering::Relaxed) < 500);
        // What comes later is not interrupted.
        assert_eq!(interruptible(|| false, || map(0..10, |i| i)).ok(), Some((0..10).collect()));
        assert_eq!(map(0..10, |i| i).len(), 10);
    }

    #[test]
    fn a_loop_on_the_calling_thread_is_interrupted_too() {
        let ended = interruptible(
            || true,
            || {
                for _ in 0..100_000 {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                    check();
                }
            },
        );
        assert!(matches!(ended, Err(Error::Interrupted)));
    }

    #[test]
    fn a_panic_of_the_work_stays_a_panic() {
        let caught = std::panic::catch_unwind(|| interruptible(|| false, || std::panic::resume_unwind(Box::new(7_u8))));
        assert_eq!(caught.err().and_then(|payload| payload.downcast::<u8>().ok()), Some(Box::new(7)));
    }
}
