//! The end of threads as the C library knows it: later than the destructors of thread-locals, of which Rust knows.

/// What came of it that a thread's end was to be seen to.
#[cfg_attr(not(unix), expect(dead_code, reason = "for what only Unix has"))]
pub(super) enum Outcome {
    /// That is enough.
    Seen,
    /// It is to be seen to by a thread-local: there are no more keys, or the system is not Linux, and thread-locals may be gone when the C library calls.
    Elsewhere,
    /// There is no memory for it now. The standard library, were it asked, would end the process.
    Refused,
}

#[cfg(unix)]
mod keys {
    use core::ffi::c_void;
    use core::ptr;
    use core::sync::atomic::{AtomicUsize, Ordering};

    use super::Outcome;
    use crate::cache::malloc::handle::MallocInstance;

    /// The key of a heap for values of threads, plus one; 0: there is none yet. Who learns of it from another thread learns as well what the C library has noted of it.
    #[derive(Debug)]
    pub(in super::super) struct Late(AtomicUsize);

    impl Late {
        pub(in super::super) const fn new() -> Self {
            Late(AtomicUsize::new(0))
        }
    }

    /// Sees to this thread's end by a value under the heap's key: destructors of values run after those of thread-locals, in rounds as long as they
    /// set new values. So a thread that uses the heap for the first time in such a destructor, when it is too late for one of a thread-local, is not left
    /// with a front that nobody closes.
    pub(in super::super) fn see_to<I: MallocInstance>() -> Outcome {
        let Some(key) = key::<I>() else { return Outcome::Elsewhere };
        let value = ptr::without_provenance(1);
        // SAFETY: the key exists, and its destructor takes any value. (The call may allocate: the front is open.)
        match unsafe { libc::pthread_setspecific(key, value) } {
            0 if cfg!(target_os = "linux") => Outcome::Seen,
            0 => Outcome::Elsewhere,
            _ => Outcome::Refused,
        }
    }

    /// The heap's key, made by the first thread that asks.
    fn key<I: MallocInstance>() -> Option<libc::pthread_key_t> {
        let Late(known) = &I::shared().late;
        if let Some(key) = known.load(Ordering::Acquire).checked_sub(1) {
            return Some(key as libc::pthread_key_t);
        }
        let mut key = 0;
        // SAFETY: there is a place for the key; the destructor may be called at the end of any thread.
        if unsafe { libc::pthread_key_create(&mut key, Some(end::<I>)) } != 0 {
            return None;
        }
        match known.compare_exchange(0, key as usize + 1, Ordering::Release, Ordering::Acquire) {
            Ok(_) => Some(key),
            Err(other) => {
                // SAFETY: it has just been made here, and nobody knows it.
                unsafe { libc::pthread_key_delete(key) };
                other.checked_sub(1).map(|key| key as libc::pthread_key_t)
            }
        }
    }

    /// The thread ends: closes its front, if no other has.
    unsafe extern "C" fn end<I: MallocInstance>(_: *mut c_void) {
        I::with_front(|front| front.close(I::shared()));
    }
}

#[cfg(not(unix))]
mod keys {
    /// Nothing to know.
    #[derive(Debug)]
    pub(in super::super) struct Late;

    impl Late {
        pub(in super::super) const fn new() -> Self {
            Late
        }
    }

    /// There is nothing to see to it by.
    pub(in super::super) fn see_to<I>() -> super::Outcome {
        super::Outcome::Elsewhere
    }
}

pub(super) use keys::{Late, see_to};
