//! Forks: the child has one thread only, and must find no lock held by the others.
//!
//! The C library calls a heap's handlers before a fork and after it. They are registered before the heap takes a lock for the first time, and after those of a heap that is its source: who was registered last is called
//! first before a fork, and locks are to be taken in the order in which calls take them.

#[cfg(unix)]
mod handlers {
    use core::cell::Cell;
    use core::sync::atomic::{AtomicU32, Ordering};

    use crate::cache::malloc::handle::MallocInstance;
    use crate::cache::malloc::stock::ChunkStock;

    /// How far a heap is with its handlers: [`NONE`], [`DONE`], or the process of which a thread is about to register them.
    #[derive(Debug)]
    pub(in super::super) struct Handlers(AtomicU32);

    /// They are not registered.
    const NONE: u32 = 0;
    /// They are registered, or the C library had no memory for it. No process has that number.
    const DONE: u32 = u32::MAX;

    impl Handlers {
        pub(in super::super) const fn new() -> Self {
            Handlers(AtomicU32::new(NONE))
        }
    }

    /// What a thread is doing about forks: kept in its front.
    pub(in super::super) struct Doing {
        /// It registers the handlers.
        registers: Cell<bool>,
        /// It forks, and holds all locks.
        holds: Cell<bool>,
    }

    impl Doing {
        /// Nothing.
        pub(in super::super) const fn new() -> Self {
            Doing { registers: Cell::new(false), holds: Cell::new(false) }
        }
    }

    /// Sees to it that the handlers of this heap are registered, once for the process. No lock of this heap is held.
    #[inline]
    pub(in super::super) fn prepare<I: MallocInstance>() {
        if I::shared().forks.0.load(Ordering::Acquire) != DONE {
            register::<I>();
        }
    }

    /// Registers the handlers, or waits for the thread that does: until then nobody takes a lock.
    #[cold]
    fn register<I: MallocInstance>() {
        let Handlers(forks) = &I::shared().forks;
        // SAFETY: it may be called at any time.
        let process = unsafe { libc::getpid() } as u32;
        let mut seen = NONE;
        while let Err(now) = forks.compare_exchange(seen, process, Ordering::Acquire, Ordering::Acquire) {
            if now == DONE {
                return;
            }
            if now != process {
                // Under way in a process of which this is a child: that thread is not here, and this one takes its place. The C library may know of the handlers all the same, and call them twice.
                seen = now;
                continue;
            }
            // The C library may take memory from this very heap while it registers: who comes again goes on. (So does a thread without a front, which can't tell.)
            if I::with_front(|front| front.forking.registers.get()) != Some(false) {
                return;
            }
            std::thread::yield_now();
        }
        let note = |registers| I::with_front(|front| front.forking.registers.set(registers));
        note(true);
        I::shared().stock().ask_source();
        // SAFETY: the three functions may be called at any time by a thread that forks.
        let _ = unsafe { libc::pthread_atfork(Some(before::<I>), Some(in_parent::<I>), Some(in_child::<I>)) };
        note(false);
        // Without memory for them there are no handlers, and forks are as safe as without. A second try would come after those of heaps over this one, whose locks would then be taken in
        // the wrong order; and it might come while such a heap's lock is held.
        forks.store(DONE, Ordering::Release);
    }

    /// Notes whether this thread holds all locks; says whether that changes anything. A thread without a front can't tell.
    fn changes<I: MallocInstance>(holds: bool) -> bool {
        I::with_front(|front| front.forking.holds.replace(holds)) != Some(holds)
    }

    /// Before a fork: no other thread is at work on what is shared from here on.
    unsafe extern "C" fn before<I: MallocInstance>() {
        if changes::<I>(true) {
            I::shared().hold();
        }
    }

    unsafe extern "C" fn in_parent<I: MallocInstance>() {
        if changes::<I>(false) {
            // SAFETY: held by `before`, on this thread.
            unsafe { I::shared().let_go() };
        }
    }

    unsafe extern "C" fn in_child<I: MallocInstance>() {
        if !changes::<I>(false) {
            return;
        }
        let own = I::with_front(|front| front.own()).unwrap_or(core::ptr::null());
        // SAFETY: held by `before`, of which this is the child, with this thread only.
        unsafe { I::shared().threads.forget_others(own) };
        // SAFETY: as above.
        unsafe { I::shared().let_go() };
    }

    #[cfg(all(test, not(miri)))]
    #[expect(clippy::allow_attributes, reason = "`malloc!` is written for other crates")]
    mod tests {
        use super::*;
        use crate::cache::{ChunkHeap, Classes, KeepAll, MallocSettings};
        use crate::lock::YieldLock;
        use crate::source::Pages;

        struct Parts;
        impl MallocSettings for Parts {
            type Classes = Classes;
            type Chunks = ChunkHeap<Pages, YieldLock, KeepAll>;
            type Lock = YieldLock;
        }
        crate::malloc! { static TWICE as TwiceMalloc: Parts = ChunkHeap::new(Pages); }

        /// A child may register what the C library knows of already: locks are held, and let go of, once.
        #[test]
        fn handlers_that_are_called_twice_do_their_work_once() {
            // SAFETY: no handler is set, so it ends the process should it hang.
            unsafe { libc::alarm(300) };
            for after in [in_parent::<TWICE>, in_child::<TWICE>] {
                for handler in [before::<TWICE>, before::<TWICE>, after, after] {
                    // SAFETY: no thread but this one uses the heap.
                    unsafe { handler() };
                }
                assert_eq!(TwiceMalloc.stats().threads, 0, "no lock is held");
            }
            // SAFETY: as above.
            unsafe { libc::alarm(0) };
        }
    }
}

#[cfg(not(unix))]
mod handlers {
    /// Nothing to know.
    #[derive(Debug)]
    pub(in super::super) struct Handlers;

    impl Handlers {
        pub(in super::super) const fn new() -> Self {
            Handlers
        }
    }

    /// Nothing to do.
    pub(in super::super) struct Doing;

    impl Doing {
        pub(in super::super) const fn new() -> Self {
            Doing
        }
    }

    /// Nothing to do: there are no forks.
    pub(in super::super) fn prepare<I>() {}
}

pub(super) use handlers::{Doing, Handlers, prepare};
