//! The index: every word, and where it occurs.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use allocator_api2_04::boxed::Box;
use allocator_api2_04::vec::Vec;
use hashbrown_17::{DefaultHashBuilder, HashMap};

use crate::heaps::{AnyHeap, Full, GLOBAL, GlobalHeap, PagedArena, WORDS, WordArena};
use crate::text::{Library, Progress, each_word};

/// The text of a word, in the first heap that had room for it.
pub(crate) enum Word<'w> {
    Static(Box<[u8], &'static WordArena>),
    Paged(Box<[u8], &'w PagedArena>),
    Global(Box<[u8], &'static GlobalHeap>),
}

impl<'w> Word<'w> {
    /// Copies a word into the static arena; if that is full into the paged one; if that is full too, into the global heap.
    fn new(word: &str, paged: &'w PagedArena) -> Result<Self, Full> {
        copy(word, &WORDS)
            .map(Word::Static)
            .or_else(|Full| copy(word, paged).map(Word::Paged))
            .or_else(|Full| copy(word, &GLOBAL).map(Word::Global))
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Word::Static(text) => text,
            Word::Paged(text) => text,
            Word::Global(text) => text,
        }
    }

    /// The word itself.
    pub(crate) fn as_str(&self) -> &str {
        // It was made of a `str`, so the default never shows up.
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }
}

/// The bytes of a word in a box of exactly their size.
fn copy<A: AnyHeap>(word: &str, heap: A) -> Result<Box<[u8], A>, Full> {
    let mut bytes = Vec::new_in(heap);
    bytes.try_reserve_exact(word.len())?;
    bytes.extend_from_slice(word.as_bytes());
    Ok(bytes.into_boxed_slice())
}

// A word is looked up by its bytes, so it hashes and compares as they do.
impl Borrow<[u8]> for Word<'_> {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

impl Hash for Word<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

impl PartialEq for Word<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Word<'_> {}

/// Where a word occurs.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Number of the document in its library.
    pub(crate) document: u32,
    /// Line, from 1 on.
    pub(crate) line: u32,
}

/// What the index knows of a word.
pub(crate) struct Entry<A: AnyHeap> {
    /// Words are numbered as they come.
    pub(crate) id: u32,
    /// All its occurrences, in order.
    pub(crate) places: Vec<Place, A>,
}

/// Every word of a library, and where it occurs.
pub(crate) struct Index<'w, A: AnyHeap> {
    heap: A,
    entries: HashMap<Word<'w>, Entry<A>, DefaultHashBuilder, A>,
}

impl<'w, A: AnyHeap> Index<'w, A> {
    /// An empty index, which takes no memory yet.
    pub(crate) fn new_in(heap: A) -> Self {
        Index { heap, entries: HashMap::new_in(heap) }
    }

    /// Takes all words in.
    pub(crate) fn fill(&mut self, library: &Library, paged: &'w PagedArena) -> Result<(), Full> {
        let progress = Progress::new("indexing", library.bytes());
        for (document, number) in library.documents.iter().zip(0..) {
            each_word(&document.text, |line, word| self.add(word, Place { document: number, line }, paged))?;
            progress.advance(document.text.len() as u64);
        }
        Ok(())
    }

    fn add(&mut self, word: &str, place: Place, paged: &'w PagedArena) -> Result<(), Full> {
        if let Some(entry) = self.entries.get_mut(word.as_bytes()) {
            entry.places.try_reserve(1)?;
            entry.places.push(place);
            return Ok(());
        }
        let id = u32::try_from(self.entries.len()).map_err(|_| Full)?;
        let mut places = Vec::new_in(self.heap);
        places.try_reserve(1)?;
        places.push(place);
        self.entries.try_reserve(1)?;
        self.entries.insert(Word::new(word, paged)?, Entry { id, places });
        Ok(())
    }

    /// What is known of a word.
    pub(crate) fn get(&self, word: &str) -> Option<&Entry<A>> {
        self.entries.get(word.as_bytes())
    }

    /// All words, in no order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Word<'w>, &Entry<A>)> {
        self.entries.iter()
    }

    /// How many different words there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many words have their text in the static arena.
    pub(crate) fn words_in_static_arena(&self) -> usize {
        self.entries.keys().filter(|word| matches!(word, Word::Static(_))).count()
    }

    /// How many words there are in all, the repeated ones included.
    pub(crate) fn occurrences(&self) -> usize {
        self.entries.values().map(|entry| entry.places.len()).sum()
    }
}
