//! The key of a general allocator for values of threads: one is kept, whoever comes first.

use super::Times;

/// All of them.
pub(crate) fn explore_all(_: usize) {
    for threads in [2, 3] {
        let (several, name) = (Times::default(), format!("Late, {threads} threads come first"));
        let count = several.clone();
        let orders = super::explore(&name, None, move || {
            if ::late::threads_come_first(threads) > 1 {
                count.count();
            }
        });
        println!("    in {} of them several made a key", several.get());
        assert!(several.get() > 0 && several.get() < orders, "the threads did not meet");
    }
}
