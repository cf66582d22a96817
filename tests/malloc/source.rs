//! Pages with an account: what is out, and how much there may be.

use std::alloc::Layout;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Mutex;

use heapwright::AllocError;
use heapwright::source::{BackingSource, Pages};

/// What has been handed out, by address, and which requests are met.
pub(crate) struct Account {
    pub(crate) out: Vec<(usize, Layout)>,
    /// How many more, and then none.
    pub(crate) left: usize,
    /// How many more, and then all but one.
    pub(crate) before_one_fails: usize,
    /// The lengths of what was to be purged.
    pub(crate) purged: Vec<usize>,
}

/// Where the account of a source is.
pub(crate) trait Ledger: Sync + 'static {
    fn account() -> &'static Mutex<Account>;
}

/// Declares a type with an account of its own.
macro_rules! ledger {
    ($name:ident) => {
        pub(crate) struct $name;
        impl $crate::source::Ledger for $name {
            fn account() -> &'static std::sync::Mutex<$crate::source::Account> {
                static ACCOUNT: std::sync::Mutex<$crate::source::Account> =
                    std::sync::Mutex::new($crate::source::Account {
                        out: Vec::new(),
                        left: usize::MAX,
                        before_one_fails: usize::MAX,
                        purged: Vec::new(),
                    });
                &ACCOUNT
            }
        }
    };
}

pub(crate) use ledger;

/// Pages that are counted, and given as long as the account says.
pub(crate) struct Watched<W>(PhantomData<fn() -> W>);

impl<W> Watched<W> {
    pub(crate) const fn new() -> Self {
        Watched(PhantomData)
    }
}

impl<W> Clone for Watched<W> {
    fn clone(&self) -> Self {
        Watched::new()
    }
}

// SAFETY: B1 to B6 are those of `Pages`; more requests may fail. B7: all of one ledger share its account.
unsafe impl<W: Ledger> BackingSource for Watched<W> {
    const GRANULE: usize = Pages::GRANULE;
    const ALIGN_MAX: usize = Pages::ALIGN_MAX;
    const ZEROED: bool = true;
    const LAZY: bool = Pages::LAZY;
    const PROTECTS: bool = Pages::PROTECTS;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let mut account = W::account().lock().unwrap();
        account.left = account.left.checked_sub(1).ok_or(AllocError)?;
        let before = account.before_one_fails.checked_sub(1);
        account.before_one_fails = before.unwrap_or(usize::MAX);
        before.ok_or(AllocError)?;
        let block = Pages.acquire(layout)?;
        let whole = Layout::from_size_align(block.len(), layout.align()).unwrap();
        account.out.push((block.cast::<u8>().addr().get(), whole));
        Ok(block)
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        let mut account = W::account().lock().unwrap();
        let found = account.out.iter().position(|&(address, known)| {
            address == block.addr().get()
                && known.align() == layout.align()
                && known.size() == layout.size().next_multiple_of(Pages::page_size())
        });
        let found = found.unwrap_or_else(|| panic!("what comes back was handed out, with this layout"));
        account.out.swap_remove(found);
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.release(block, layout) };
    }

    unsafe fn purge(&mut self, ptr: NonNull<u8>, len: usize) {
        W::account().lock().unwrap().purged.push(len);
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.purge(ptr, len) };
    }
    unsafe fn protect(&mut self, ptr: NonNull<u8>, len: usize) -> Result<(), AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.protect(ptr, len) }
    }

    unsafe fn unprotect(&mut self, ptr: NonNull<u8>, len: usize) -> Result<(), AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { Pages.unprotect(ptr, len) }
    }
}
