//! What an operator needs around a policy in service.

mod governor;

pub use governor::Governor;
