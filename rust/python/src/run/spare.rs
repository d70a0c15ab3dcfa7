//! Parts that are used again, kept so that no thread waits for another.
//!
//! Every thread goes to a shelf of its own, or, where there are more threads than shelves, to one that it shares. A shelf
//! that somebody else is at is left alone: the part is then made anew or dropped. So nobody waits, what a thread leaves
//! behind is found by those that come later, and a child that was forked while somebody was at a shelf does without it.
//! `tests/threads` runs through every order of what two threads can do here.

use std::sync::TryLockError;
#[cfg(not(loom))]
use std::sync::{Mutex, MutexGuard};

#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard};

/// Spare parts of all threads, on N shelves.
pub struct Spares<T, const N: usize> {
    shelves: [Mutex<Vec<T>>; N],
    /// Parts on a shelf, at most.
    most: usize,
}

impl<T, const N: usize> Spares<T, N> {
    /// None yet.
    #[cfg(not(loom))]
    pub const fn new(most: usize) -> Self {
        Self { shelves: [const { Mutex::new(Vec::new()) }; N], most }
    }

    /// None yet.
    #[cfg(loom)]
    pub fn new(most: usize) -> Self {
        Self { shelves: std::array::from_fn(|_| Mutex::new(Vec::new())), most }
    }

    /// A part for thread number `thread`, if there is one on its shelf.
    pub fn take(&self, thread: usize) -> Option<T> {
        self.shelf(thread)?.pop()
    }

    /// Puts a part on the shelf of thread number `thread`; gives it back where there is no room.
    pub fn put(&self, thread: usize, part: T) -> Option<T> {
        match self.shelf(thread) {
            Some(mut shelf) if shelf.len() < self.most => {
                shelf.push(part);
                None
            }
            _ => Some(part),
        }
    }

    /// The shelf, unless somebody is at it.
    fn shelf(&self, thread: usize) -> Option<MutexGuard<'_, Vec<T>>> {
        match self.shelves.get(thread % N)?.try_lock() {
            Ok(shelf) => Some(shelf),
            // Nothing is left half done by a panic: pushing and popping do not call other code.
            Err(TryLockError::Poisoned(shelf)) => Some(shelf.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
