//! Containers: keys stand for objects.

use crate::pool::{Object, Store};

impl<const SIZE: usize> Store for slab::Slab<Object<SIZE>> {
    const NAME: &'static str = "slab";
    type Key = usize;

    fn make() -> Self {
        Self::new()
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> usize {
        self.insert(Object::new(word))
    }

    #[inline(always)]
    unsafe fn free(&mut self, key: usize) {
        self.remove(key);
    }

    #[inline(always)]
    fn address(&mut self, key: &usize) -> *mut usize {
        self[*key].address()
    }
}

impl<const SIZE: usize> Store for slotmap::SlotMap<slotmap::DefaultKey, Object<SIZE>> {
    const NAME: &'static str = "slotmap";
    type Key = slotmap::DefaultKey;

    fn make() -> Self {
        Self::new()
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> slotmap::DefaultKey {
        self.insert(Object::new(word))
    }

    #[inline(always)]
    unsafe fn free(&mut self, key: slotmap::DefaultKey) {
        self.remove(key);
    }

    #[inline(always)]
    fn address(&mut self, key: &slotmap::DefaultKey) -> *mut usize {
        self[*key].address()
    }
}

impl<const SIZE: usize> Store for thunderdome::Arena<Object<SIZE>> {
    const NAME: &'static str = "thunderdome";
    type Key = thunderdome::Index;

    fn make() -> Self {
        Self::new()
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> thunderdome::Index {
        self.insert(Object::new(word))
    }

    #[inline(always)]
    unsafe fn free(&mut self, key: thunderdome::Index) {
        self.remove(key);
    }

    #[inline(always)]
    fn address(&mut self, key: &thunderdome::Index) -> *mut usize {
        self[*key].address()
    }
}

impl<const SIZE: usize> Store for generational_arena::Arena<Object<SIZE>> {
    const NAME: &'static str = "generational-arena";
    type Key = generational_arena::Index;

    fn make() -> Self {
        Self::new()
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> generational_arena::Index {
        self.insert(Object::new(word))
    }

    #[inline(always)]
    unsafe fn free(&mut self, key: generational_arena::Index) {
        self.remove(key);
    }

    #[inline(always)]
    fn address(&mut self, key: &generational_arena::Index) -> *mut usize {
        self[*key].address()
    }
}

impl<const SIZE: usize> Store for obj_pool::ObjPool<Object<SIZE>> {
    const NAME: &'static str = "obj-pool";
    type Key = obj_pool::ObjId;

    fn make() -> Self {
        Self::new()
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> obj_pool::ObjId {
        self.insert(Object::new(word))
    }

    #[inline(always)]
    unsafe fn free(&mut self, key: obj_pool::ObjId) {
        self.remove(key);
    }

    #[inline(always)]
    fn address(&mut self, key: &obj_pool::ObjId) -> *mut usize {
        self[*key].address()
    }
}

impl<const SIZE: usize> Store for sharded_slab::Slab<Object<SIZE>> {
    const NAME: &'static str = "sharded-slab";
    type Key = usize;

    fn make() -> Self {
        Self::new()
    }

    #[inline(always)]
    fn alloc(&mut self, word: usize) -> usize {
        self.insert(Object::new(word)).unwrap_or_else(|| panic!("sharded-slab has no more room"))
    }

    #[inline(always)]
    unsafe fn free(&mut self, key: usize) {
        self.remove(key);
    }

    fn address(&mut self, key: &usize) -> *mut usize {
        self.get(*key).map_or(std::ptr::null_mut(), |object| object.address())
    }
}
