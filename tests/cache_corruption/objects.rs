//! The table of all objects that are constructed: where each is, in which state, and what it must hold.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::random::{filler, mix};

/// Bytes of an object's head: a nonce, and a hash over it, the object's state, and its address if it knows it. Smaller objects have none.
const HEAD: usize = 8;
/// The smallest object with a head, in bytes.
const HEADED_MIN: usize = 16;

/// What an object says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// As its constructor made it, maybe elsewhere.
    New,
    /// As its user left it.
    Valid,
    /// Destroyed.
    Dropped,
}

/// What an object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) nonce: u32,
    pub(crate) stage: Stage,
    /// Its address, or 0 if it was made where its address was not known.
    pub(crate) address: usize,
}

impl Contents {
    fn hash(self) -> u32 {
        let stage = self.stage as u64 + 1;
        mix(mix(self.address as u64 ^ stage << 60) ^ u64::from(self.nonce)) as u32
    }

    /// Writes it.
    pub(crate) fn write(self, bytes: &mut [u8]) {
        let len = bytes.len();
        let (head, rest) = bytes.split_at_mut(if len < HEADED_MIN { 0 } else { HEAD });
        if let Some((nonce, hash)) = head.split_at_mut_checked(HEAD / 2) {
            nonce.copy_from_slice(&self.nonce.to_le_bytes());
            hash.copy_from_slice(&self.hash().to_le_bytes());
        }
        rest.copy_from_slice(filler(self.nonce, rest.len()));
    }

    /// Whether `bytes` are what `write` wrote.
    pub(crate) fn is_in(self, bytes: &[u8]) -> bool {
        let len = bytes.len();
        let (head, rest) = bytes.split_at(if len < HEADED_MIN { 0 } else { HEAD });
        let headed = head.is_empty()
            || (head[..4] == self.nonce.to_le_bytes() && head[4..] == self.hash().to_le_bytes());
        headed && rest == filler(self.nonce, rest.len())
    }

    /// What an object at this address says of itself, if it has a head and is whole.
    pub(crate) fn read(bytes: &[u8], address: usize) -> Option<Self> {
        if bytes.len() < HEADED_MIN {
            return None;
        }
        let nonce = u32::from_le_bytes(bytes[..4].try_into().unwrap());
        [Stage::New, Stage::Valid, Stage::Dropped]
            .into_iter()
            .flat_map(|stage| [0, address].map(|address| Contents { nonce, stage, address }))
            .find(|contents| contents.is_in(bytes))
    }
}

/// Whose an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// It is out.
    User,
    /// It is free: the cache may hand it out, or destroy it.
    Cache,
    /// It is being destroyed by its user.
    Nobody,
}

/// A constructed object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object {
    pub(crate) owner: Owner,
    pub(crate) contents: Contents,
}

/// All of this thread's.
#[derive(Default)]
pub(crate) struct Objects {
    /// By address.
    pub(crate) constructed: BTreeMap<usize, Object>,
    /// Constructors that have made an object.
    pub(crate) made: usize,
    /// Destructors that have run.
    pub(crate) dropped: usize,
    /// Reset hooks that have run.
    pub(crate) resets: usize,
    /// What the last constructor made.
    pub(crate) last: Option<Contents>,
    /// Objects moved out of their cache, whose destructors may run anywhere.
    pub(crate) moved: usize,
    /// Where they were.
    pub(crate) left: BTreeSet<usize>,
    /// What has been found wrong, where a panic is not allowed.
    pub(crate) faults: Vec<String>,
    next_nonce: u32,
}

thread_local! {
    static OBJECTS: RefCell<Objects> = RefCell::default();
}

/// Does something with this thread's objects.
pub(crate) fn with<V>(work: impl FnOnce(&mut Objects) -> V) -> V {
    OBJECTS.with_borrow_mut(work)
}

/// Whether there are constructed objects in a range of memory that goes back.
pub(crate) fn in_the_way(range: Range<usize>) -> Option<String> {
    with(|objects| {
        let (at, object) = objects.constructed.range(range.clone()).next()?;
        Some(format!("{object:?} is at {at:#x} in {range:x?}, which goes back"))
    })
}

impl Objects {
    /// A number that no object has yet.
    pub(crate) fn nonce(&mut self) -> u32 {
        self.next_nonce += 1;
        self.next_nonce
    }

    /// A constructor makes an object; `address` is 0 if it does not know where.
    pub(crate) fn make(&mut self, bytes: &mut [u8], address: usize) {
        let contents = Contents { nonce: self.nonce(), stage: Stage::New, address };
        contents.write(bytes);
        self.made += 1;
        self.last = Some(contents);
    }

    /// A constructor is to make an object in this place, which holds initialised bytes.
    pub(crate) fn place(&mut self, bytes: &[u8], address: usize) {
        if let Some(object) = self.constructed.get(&address) {
            self.faults.push(format!("a constructor was called where {object:?} is, at {address:#x}"));
        }
        match Contents::read(bytes, address) {
            None | Some(Contents { stage: Stage::Dropped, .. }) => {}
            // An object that was moved out leaves its bytes.
            Some(_) if self.left.remove(&address) => {}
            Some(whole) => self.faults.push(format!("a constructor got a place that holds {whole:?}")),
        }
    }

    /// A destructor runs.
    pub(crate) fn drop(&mut self, bytes: &mut [u8], address: usize) {
        self.dropped += 1;
        let Some(object) = self.constructed.remove(&address) else {
            match self.moved.checked_sub(1) {
                Some(moved) => self.moved = moved,
                None => self.faults.push(format!("destroyed at {address:#x}, where nothing is constructed")),
            }
            return;
        };
        if object.owner == Owner::User {
            self.faults.push(format!("{object:?} at {address:#x} was destroyed while it is out"));
        }
        if !object.contents.is_in(bytes) {
            self.faults.push(format!("{object:?} at {address:#x} was written over before it was destroyed"));
        }
        Contents { stage: Stage::Dropped, address, ..object.contents }.write(bytes);
    }
}
