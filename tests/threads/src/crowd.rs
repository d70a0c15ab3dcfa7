//! Many threads at the memory of runs that ended, as a build without the GIL has it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::blocks;
use crate::layout::Run;

/// More than there are shelves.
const THREADS: usize = 100;
const REQUESTS: usize = 2_000;

#[test]
fn no_block_has_two_owners_and_none_is_lost() {
    let (made, dropped) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..REQUESTS {
                    // SAFETY: a block that is taken or made belongs to this thread until it is put back.
                    unsafe {
                        let run = blocks::take().unwrap_or_else(|| {
                            made.fetch_add(1, Ordering::Relaxed);
                            Box::into_raw(Box::new(Run(AtomicUsize::new(0))))
                        });
                        assert_eq!((*run).0.fetch_add(1, Ordering::Relaxed), 0);
                        (*run).0.fetch_sub(1, Ordering::Relaxed);
                        if !blocks::put(run) {
                            dropped.fetch_add(1, Ordering::Relaxed);
                            drop(Box::from_raw(run));
                        }
                    }
                }
            });
        }
    });
    // Threads that come later find all that was left; each goes to the next shelf.
    let left: usize = (0..64)
        .map(|_| {
            let found = || {
                let mut left = 0;
                // SAFETY: as above.
                while let Some(run) = unsafe { blocks::take() } {
                    drop(unsafe { Box::from_raw(run) });
                    left += 1;
                }
                left
            };
            thread::spawn(found).join().unwrap()
        })
        .sum();
    assert_eq!(made.into_inner(), dropped.into_inner() + left);
}
