//! Every order in which two threads can do what they do at the shelves.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::spare::Spares;

/// A part that knows how many hold it: more than one at a time would be a block of memory with two owners.
struct Part(AtomicUsize);

impl Part {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(0)))
    }

    fn used(&self) {
        assert_eq!(self.0.fetch_add(1, Ordering::Relaxed), 0, "two threads hold one part");
        thread::yield_now();
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes a part or makes one, uses it, and puts it back; says how many were made and dropped.
fn request<const N: usize>(spares: &Spares<Arc<Part>, N>, thread: usize) -> (usize, usize) {
    let found = spares.take(thread);
    let made = usize::from(found.is_none());
    let part = found.unwrap_or_else(Part::new);
    part.used();
    (made, usize::from(spares.put(thread, part).is_some()))
}

/// Two threads, two requests each; `N` shelves of at most `most` parts.
fn served<const N: usize>(most: usize) {
    loom::model(move || {
        let spares = Arc::new(Spares::<_, N>::new(most));
        let other = {
            let spares = Arc::clone(&spares);
            thread::spawn(move || [request(&spares, 1), request(&spares, 1)])
        };
        let here = [request(&spares, 0), request(&spares, 0)];
        let all: Vec<_> = here.into_iter().chain(other.join().unwrap()).collect();
        let (made, dropped) = all.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let mut left = 0;
        for shelf in 0..N {
            let before = left;
            while let Some(part) = spares.take(shelf) {
                part.used();
                left += 1;
            }
            assert!(left - before <= most);
        }
        assert_eq!(made, dropped + left, "a part was lost or came twice");
        if N == 2 {
            assert_eq!((made, dropped), (2, 0), "a thread alone at its shelf uses its part again");
        }
    });
}

#[test]
fn threads_with_shelves_of_their_own_do_not_meet() {
    served::<2>(2);
}

#[test]
fn threads_at_one_shelf_never_hold_the_same_part() {
    served::<1>(2);
    served::<1>(1);
}
