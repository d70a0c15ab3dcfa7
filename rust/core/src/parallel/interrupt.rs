//! Ending work early, from outside: by unwinding up to where it began, so that nothing in between has to know.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rayon::ThreadPool;

use crate::error::{Error, Result};

/// How long the calling thread works or waits before it asks whether to go on.
const PATIENCE: Duration = Duration::from_millis(50);

/// What unwinding carries.
struct Interrupted;

/// The work that a thread is part of.
#[derive(Clone)]
struct Watch {
    /// Whether it has been interrupted.
    is_over: Arc<AtomicBool>,
    /// On the thread that began the work: whether it is to end, and when to ask next.
    asking: Option<(Arc<dyn Fn() -> bool>, Instant)>,
}

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Runs `work`, and ends it when `is_over` says so: that is asked on this thread, about twenty times a second.
///
/// What the work would have given is dropped; so it must not have changed anything that outlives it.
///
/// # Errors
/// [`Error::Interrupted`] where it was ended.
pub fn interruptible<R>(is_over: impl Fn() -> bool + 'static, work: impl FnOnce() -> R) -> Result<R> {
    let asking = Some((Arc::new(is_over) as Arc<dyn Fn() -> bool>, Instant::now() + PATIENCE));
    let _within = Within::begin(Some(Watch { is_over: Arc::default(), asking }));
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => Ok(done),
        Err(payload) if payload.is::<Interrupted>() => Err(Error::Interrupted),
        Err(payload) => resume_unwind(payload),
    }
}

/// Ends the work that this thread is part of, if it has been interrupted. Some 30 ns: for loops whose rounds take a
/// microsecond or more.
pub(crate) fn check() {
    if is_over() {
        resume_unwind(Box::new(Interrupted));
    }
}

/// Whether the work that this thread is part of has been interrupted; asks, on the thread that began it, when it is time.
fn is_over() -> bool {
    let ask = WATCH.with_borrow_mut(|watch| {
        let watch = watch.as_mut()?;
        if watch.is_over.load(Ordering::Relaxed) {
            return Some(None);
        }
        let (ask, next) = watch.asking.as_mut()?;
        let now = Instant::now();
        (now >= *next).then(|| {
            *next = now + PATIENCE;
            Some((Arc::clone(ask), Arc::clone(&watch.is_over)))
        })
    });
    match ask {
        None => false,
        Some(None) => true,
        // Not within the borrow: whoever is asked may begin other work on this thread.
        Some(Some((ask, flag))) => {
            let answer = ask();
            flag.fetch_or(answer, Ordering::Relaxed);
            answer
        }
    }
}

/// While it lives, this thread is part of some work.
struct Within(Option<Watch>);

impl Within {
    fn begin(watch: Option<Watch>) -> Self {
        Self(WATCH.replace(watch))
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        WATCH.set(self.0.take());
    }
}

/// What pieces of work on other threads need to know of the interrupt.
pub(super) struct Watched(Option<Arc<AtomicBool>>);

impl Watched {
    /// That of the work which this thread is part of.
    pub(super) fn current() -> Self {
        Self(WATCH.with_borrow(|watch| watch.as_ref().map(|watch| Arc::clone(&watch.is_over))))
    }

    /// Runs one piece, unless there has been an interrupt.
    pub(super) fn run<R>(&self, piece: impl FnOnce() -> R) -> R {
        let is_here = WATCH.with_borrow(|watch| match (watch, &self.0) {
            (Some(watch), Some(flag)) => Arc::ptr_eq(&watch.is_over, flag),
            (None, None) => true,
            _ => false,
        });
        if is_here {
            check();
            return piece();
        }
        let _within = Within::begin(self.0.clone().map(|is_over| Watch { is_over, asking: None }));
        check();
        piece()
    }
}

/// Has `work` done by the threads of `pool`, while this one waits and asks whether to go on.
pub(super) fn wait_for<R: Send>(pool: &ThreadPool, work: impl FnOnce() -> R + Send) -> R {
    if WATCH.with_borrow(Option::is_none) {
        return pool.install(work);
    }
    let end = End::default();
    let mut done = None;
    pool.in_place_scope(|scope| {
        scope.spawn(|_| {
            let _announced = end.announced();
            done = Some(work());
        });
        // The pieces see what is found here, and end; so the scope does soon.
        while !end.has_come_within(PATIENCE) && !is_over() {}
    });
    // The scope has thrown what the work threw.
    done.unwrap_or_else(|| resume_unwind(Box::new(Interrupted)))
}

/// That work on another thread has ended.
#[derive(Default)]
struct End {
    has_come: Mutex<bool>,
    news: Condvar,
}

impl End {
    /// Announces the end when it is dropped.
    fn announced(&self) -> impl Drop + '_ {
        struct Announced<'a>(&'a End);
        impl Drop for Announced<'_> {
            fn drop(&mut self) {
                *self.0.has_come.lock().unwrap_or_else(PoisonError::into_inner) = true;
                self.0.news.notify_one();
            }
        }
        Announced(self)
    }

    /// Whether it comes before this much time has passed.
    fn has_come_within(&self, time: Duration) -> bool {
        let guard = self.has_come.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.news.wait_timeout_while(guard, time, |has_come| !*has_come);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
