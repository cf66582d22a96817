//! The program's heap: an arena, and the system's heap for what does not fit there, such as the names of all functions for the report.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::NonNull;

use heapwright::arena::StaticArena;
use heapwright::lock::SpinLock;
use heapwright::sizing::Sizing16MiB;

/// Bytes of the arena.
pub(crate) const ARENA_SIZE: usize = 6 << 20;

/// An arena first, and then the system.
pub(crate) struct ArenaFirst {
    pub(crate) arena: StaticArena<ARENA_SIZE, Sizing16MiB, SpinLock>,
}

impl ArenaFirst {
    pub(crate) const fn new() -> Self {
        ArenaFirst { arena: StaticArena::new() }
    }
}

// SAFETY: blocks are those of the arena or of the system, and go back to where they are from: the arena knows its own. Neither unwinds.
unsafe impl GlobalAlloc for ArenaFirst {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        let block = unsafe { self.arena.alloc(layout) };
        if !block.is_null() {
            return block;
        }
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let is_arenas = NonNull::new(ptr).is_some_and(|ptr| self.arena.owns(ptr, layout));
        if is_arenas {
            // SAFETY: the block is the arena's; the caller's promise is the same.
            unsafe { self.arena.dealloc(ptr, layout) };
        } else {
            // SAFETY: any other block is the system's; the caller's promise is the same.
            unsafe { System.dealloc(ptr, layout) };
        }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let is_arenas = NonNull::new(ptr).is_some_and(|ptr| self.arena.owns(ptr, layout));
        if !is_arenas {
            // SAFETY: any other block is the system's; the caller's promise is the same.
            return unsafe { System.realloc(ptr, layout, new_size) };
        }
        // SAFETY: the block is the arena's; the caller's promise is the same.
        let block = unsafe { self.arena.realloc(ptr, layout, new_size) };
        if !block.is_null() {
            return block;
        }
        // SAFETY: the size is not zero, and with the alignment of the block makes a layout, by the caller's promise.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: the size of the layout is not zero.
        let moved = unsafe { System.alloc(new) };
        if !moved.is_null() {
            // SAFETY: both are blocks of at least that many bytes, one in the arena and one not.
            unsafe { moved.copy_from_nonoverlapping(ptr, layout.size().min(new_size)) };
            // SAFETY: the block is the arena's; the caller's promise is the same.
            unsafe { self.arena.dealloc(ptr, layout) };
        }
        moved
    }
}
