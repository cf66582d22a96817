//! A source that calls back into the heap above it: the heap refuses, and goes on.

use core::alloc::Layout;
use core::ptr::NonNull;
use std::boxed::Box;
use std::format;
use std::string::String;
use std::sync::{Arc, Mutex, PoisonError};
use std::vec::Vec;

use super::law::Law;
use super::run::{Fault, guarded};
use super::supply::Ledger;
use crate::AllocError;
use crate::heap::SharedHeap;

/// What goes into a source's hook: the heap and a live block of it, without their types.
struct Inside {
    heap: *const (),
    ask: unsafe fn(*const (), NonNull<u8>, Layout) -> Option<String>,
    live: (NonNull<u8>, Layout),
}

// SAFETY: the hook runs on the thread that has set it, and is gone before the heap is.
unsafe impl Send for Inside {}

/// Asks for what must be refused from inside; gives what was not.
///
/// # Safety
/// `heap` points to an `A`, and `ptr` is a live block of it, of layout `old`.
unsafe fn ask<A: SharedHeap>(heap: *const (), ptr: NonNull<u8>, old: Layout) -> Option<String> {
    // SAFETY: the caller's promise.
    let heap = unsafe { &*heap.cast::<A>() };
    let layout = Layout::new::<[u64; 3]>();
    if let Ok(block) = heap.try_alloc(layout) {
        return Some(format!("a block at {block:?}"));
    }
    // SAFETY: the block is live, and this its layout.
    if let Ok(block) = unsafe { heap.try_resize(ptr, old, layout) } {
        return Some(format!("a resized block at {block:?}"));
    }
    // SAFETY: the closure does nothing.
    if unsafe { heap.enter(|_| ()) }.is_ok() {
        return Some("another way in".into());
    }
    heap.try_alloc(Layout::new::<()>()).is_err().then(|| "no block of size zero".into())
}

/// Asks the heap for blocks until its source is called, which then calls the heap.
pub(super) fn run<A: SharedHeap>(heap: &A, ledger: &Ledger) -> Result<(), Fault> {
    let fault = |law, text| Fault { law, text };
    let layout = Layout::new::<[u64; 4]>();
    let Ok(bait) = heap.try_alloc(layout) else { return Ok(()) };
    let found: Arc<Mutex<Option<Option<String>>>> = Arc::default();
    let inside = Inside { heap: (&raw const *heap).cast(), ask: ask::<A>, live: (bait.cast(), layout) };
    let note = Arc::clone(&found);
    let hook = Box::new(move || {
        // All of it, and not the pointers in it alone.
        let Inside { heap, ask, live: (ptr, layout) } = &inside;
        // SAFETY: the heap and its block outlive the hook.
        let answer = unsafe { ask(*heap, *ptr, *layout) };
        *note.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    });
    ledger.set_hook(Some(hook));
    let mut blocks = Vec::new();
    let outcome = guarded(|| {
        let mut size = 64;
        while found.lock().unwrap_or_else(PoisonError::into_inner).is_none() && size < 1 << 20 {
            let layout = Layout::from_size_align(size, 8).map_err(|_| AllocError);
            let made = layout.and_then(|layout| Ok((heap.try_alloc(layout)?.cast(), layout)));
            let Ok(block) = made else { return };
            blocks.push(block);
            size += size / 2;
        }
    });
    ledger.set_hook(None);
    for (block, layout) in blocks.into_iter().chain([(bait.cast(), layout)]) {
        // SAFETY: the blocks are live, and these their layouts.
        guarded(|| unsafe { heap.free(block, layout) }).map_err(|(law, text)| fault(law, text))?;
    }
    outcome.map_err(|(law, text)| fault(law, text))?;
    let found = found.lock().unwrap_or_else(PoisonError::into_inner).take();
    match found.flatten() {
        Some(text) => Err(fault(Law::NoWayBack, format!("a source that calls back gets {text}"))),
        None => Ok(()),
    }
}
