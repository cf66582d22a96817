//! Forks: the child has one thread only, and must find no lock held by the others.

#[cfg(unix)]
mod handlers {
    use core::sync::atomic::Ordering;

    use crate::cache::malloc::handle::MallocInstance;

    /// Registers the handlers of this heap, once for the process.
    pub(in super::super) fn prepare<I: MallocInstance>() {
        // A load first, so that threads that come later do not write.
        let forks = &I::shared().forks;
        if forks.load(Ordering::Relaxed) || forks.swap(true, Ordering::Relaxed) {
            return;
        }
        // An error means that the C library has no memory for it; forks are as safe then as without handlers.
        // SAFETY: the three functions may be called at any time by a thread that forks.
        unsafe { libc::pthread_atfork(Some(before::<I>), Some(in_parent::<I>), Some(in_child::<I>)) };
    }

    /// Before a fork: no other thread is at work on what is shared from here on.
    unsafe extern "C" fn before<I: MallocInstance>() {
        I::shared().hold();
    }

    unsafe extern "C" fn in_parent<I: MallocInstance>() {
        // SAFETY: held by `before`, on this thread.
        unsafe { I::shared().let_go() };
    }

    unsafe extern "C" fn in_child<I: MallocInstance>() {
        let own = I::with_front(|front| front.own()).unwrap_or(core::ptr::null());
        // SAFETY: held by `before`, of which this is the child, with this thread only.
        unsafe { I::shared().threads.forget_others(own) };
        // SAFETY: as above.
        unsafe { I::shared().let_go() };
    }
}

#[cfg(not(unix))]
mod handlers {
    /// Nothing to do: there are no forks.
    pub(in super::super) fn prepare<I>() {}
}

pub(super) use handlers::prepare;
