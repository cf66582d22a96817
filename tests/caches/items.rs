//! Objects that are counted: how many were made, reset and destroyed, and that none is destroyed twice or while it is in use.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ptr;

/// Something to be done on an occasion, if anything.
type Hook<F> = RefCell<Option<Box<F>>>;

/// What has happened to all items of a test.
#[derive(Default)]
pub(crate) struct Tally {
    /// Constructors that have been called.
    pub(crate) calls: Cell<usize>,
    /// Items made.
    pub(crate) made: Cell<usize>,
    /// Items destroyed.
    pub(crate) destroyed: Cell<usize>,
    /// Items reset.
    pub(crate) reset: Cell<usize>,
    /// The numbers of items made and not destroyed.
    alive: RefCell<BTreeSet<usize>>,
    /// What happens in a constructor, before the item is made: it gets the number of the call, counted from 0.
    pub(crate) on_make: Hook<dyn Fn(usize)>,
    /// What happens in a reset hook.
    pub(crate) on_reset: Hook<dyn Fn(&Item<'_>)>,
    /// What happens in a destructor, when the item counts as destroyed.
    pub(crate) on_destroy: Hook<dyn Fn(&Item<'_>)>,
}

pub(crate) fn up(count: &Cell<usize>) -> usize {
    count.replace(count.get() + 1)
}

impl Tally {
    /// The constructor.
    pub(crate) fn make(&self) -> Item<'_> {
        let call = up(&self.calls);
        if let Some(act) = &*self.on_make.borrow() {
            act(call);
        }
        let number = up(&self.made);
        assert!(self.alive.borrow_mut().insert(number));
        Item { tally: self, number, at: Cell::new(ptr::null()), body: [number as u64; WORDS] }
    }

    /// The reset hook.
    pub(crate) fn reset(&self, item: &mut Item<'_>) {
        up(&self.reset);
        if let Some(act) = &*self.on_reset.borrow() {
            act(item);
        }
    }

    /// Items made and not destroyed.
    pub(crate) fn alive(&self) -> usize {
        self.alive.borrow().len()
    }
}

/// So many that seven items fill a slab of 1 KiB, and eight would not, however long pointers are.
const WORDS: usize = if usize::BITS > 32 { 12 } else { 15 };

/// An object of 128 bytes: seven in a slab of 1 KiB.
pub(crate) struct Item<'t> {
    tally: &'t Tally,
    pub(crate) number: usize,
    /// Where it is, once that is known.
    at: Cell<*const ()>,
    pub(crate) body: [u64; WORDS],
}

impl Item<'_> {
    /// Checks what it holds, and that it has never moved.
    pub(crate) fn check(&self) {
        assert_eq!(self.body, [self.number as u64; WORDS], "written over");
        let here = ptr::from_ref(self).cast();
        let before = self.at.replace(here);
        assert!(before.is_null() || before == here, "moved");
    }
}

impl Drop for Item<'_> {
    fn drop(&mut self) {
        assert_eq!(self.body, [self.number as u64; WORDS], "written over");
        self.body = [u64::MAX; WORDS];
        assert!(self.tally.alive.borrow_mut().remove(&self.number), "destroyed twice");
        up(&self.tally.destroyed);
        if let Some(act) = &*self.tally.on_destroy.borrow() {
            act(self);
        }
    }
}
