//! What a build without the GIL shares between threads: the memory of runs that ended (`make test-threads`).
#![cfg(test)]

#[path = "../../../rust/python/src/run/spare.rs"]
mod spare;

#[cfg(loom)]
mod orders;

#[cfg(Py_GIL_DISABLED)]
#[path = "../../../rust/python/src/run/blocks_by_thread.rs"]
mod blocks;
#[cfg(Py_GIL_DISABLED)]
mod crowd;

#[cfg(Py_GIL_DISABLED)]
mod layout {
    /// Stands for a run: `blocks_by_thread.rs` knows of it that it has an address.
    pub struct Run(pub std::sync::atomic::AtomicUsize);
}
