//! One small graph after another: the nodes of each passage's graph come from a cache, and go back to it for the next one.

use std::cell::Cell;
use std::ops::DerefMut;
use std::time::{Duration, Instant};

use allocator_api2_04::boxed::Box;
use hashbrown_17::HashMap;
use heapwright::cache::{CacheStats, ObjectCache, TryInit, WithReset};
use heapwright::describe::Describe;
use heapwright::heap::Usage;
use heapwright::lock::SpinLock;
use heapwright::slab::SlabSystem;

use crate::graph::{self, Node, Window};
use crate::heaps::{AnyHeap, Full, Portrait};
use crate::index::Index;
use crate::text::{Library, each_word};

/// Words of a passage; the last one of a text has fewer.
const PASSAGE_WORDS: usize = 256;
/// No more than so many passages are looked at.
const PASSAGES_MAX: usize = 512;
/// How often the same work is done, for the clock. The first time the cache is empty.
const ROUNDS: usize = 5;

/// The passages of a library.
pub(crate) struct Passages<'i> {
    /// The numbers of their words, in order.
    passages: Vec<Vec<u32>>,
    /// The word with number n is the nth.
    words: Vec<&'i str>,
}

impl<'i> Passages<'i> {
    /// Cuts the texts into passages.
    pub(crate) fn new<A: AnyHeap, B: AnyHeap>(
        library: &Library,
        index: &Index<'_, A>,
        graph: &graph::Graph<'i, B>,
    ) -> Self {
        let mut passages = Vec::new();
        for document in &library.documents {
            let mut ids = Vec::new();
            // A text of which there is already more than enough is not read on.
            let _ = each_word(&document.text, |_, word| {
                ids.extend(index.get(word).map(|entry| entry.id));
                if ids.len() < PASSAGE_WORDS * PASSAGES_MAX { Ok(()) } else { Err(()) }
            });
            passages.extend(ids.chunks(PASSAGE_WORDS).map(<[u32]>::to_vec));
            if passages.len() >= PASSAGES_MAX {
                passages.truncate(PASSAGES_MAX);
                break;
            }
        }
        Passages { passages, words: graph.words().collect() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.passages.len()
    }

    /// Makes the graph of each passage, with nodes by `make`, shows its nodes to `look`, and drops them.
    fn each_graph<A: AnyHeap, P: DerefMut<Target = Node<'i, A>>>(
        &self,
        mut make: impl FnMut() -> Result<P, Full>,
        mut look: impl FnMut(&[P]),
    ) -> Result<(), Full> {
        let mut graph = Graph::default();
        for passage in &self.passages {
            graph.fill(passage, &self.words, &mut make)?;
            look(&graph.nodes);
            graph.clear();
        }
        Ok(())
    }

    /// The pairs of words that are near each other in the most passages, and in how many.
    pub(crate) fn frequent_pairs<A: AnyHeap>(
        &self,
        heap: A,
        len: usize,
    ) -> Result<Vec<([&'i str; 2], usize)>, Full> {
        let mut pairs = HashMap::<[u32; 2], usize>::new();
        self.each_graph(
            || Ok(Box::try_new_in(Node::blank(heap)?, heap)?),
            |nodes| {
                for node in nodes {
                    for edge in &node.edges {
                        let pair = [node.id(), nodes[edge.to as usize].id()];
                        if pair[0] < pair[1] {
                            *pairs.entry(pair).or_default() += 1;
                        }
                    }
                }
            },
        )?;
        let named = |([a, b], count): ([u32; 2], usize)| {
            let mut words = [self.words[a as usize], self.words[b as usize]];
            words.sort_unstable();
            (words, count)
        };
        let mut pairs: Vec<_> = pairs.into_iter().map(named).collect();
        pairs.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        pairs.truncate(len);
        Ok(pairs)
    }

    /// Makes all graphs several times with their nodes in a cache of slabs `S`, and as often with nodes that are made and dropped. The links
    /// are in `heap`, and so are the nodes that are not in the cache. At last the cache is reaped, and `look` looks at what that has left.
    pub(crate) fn compare<A: AnyHeap, S: SlabSystem + Describe, R>(
        &self,
        name: &str,
        heap: A,
        source: S::Source,
        look: impl FnOnce() -> R,
    ) -> Result<(Portrait, R), Full> {
        let made = Cell::new(0);
        let make = || Node::blank(heap).inspect(|_| made.set(made.get() + 1));
        // A node that comes back loses its links but keeps the room for them, which the next word finds ready.
        let cache =
            ObjectCache::<Node<'i, A>, _, S, SpinLock>::new(source, WithReset(TryInit(make), Node::clear));

        let reuse = || Ok(cache.try_alloc()?);
        let anew = || Ok(Box::try_new_in(Node::blank(heap)?, heap)?);

        let mut nodes = 0;
        self.each_graph(reuse, |graph| nodes += graph.len())?;
        let made_first = made.get();
        // The fastest round of each passage, one way and the other: what else the machine does meanwhile counts for little.
        let mut fastest = vec![[Duration::MAX; 2]; self.len()];
        let (mut graph, mut graph_anew) = (Graph::default(), Graph::default());
        for _ in 0..ROUNDS {
            for (passage, [reusing, making]) in self.passages.iter().zip(&mut fastest) {
                *reusing = graph.time(passage, &self.words, reuse)?.min(*reusing);
                *making = graph_anew.time(passage, &self.words, anew)?.min(*making);
            }
        }
        let [reusing, making] = [0, 1].map(|way| fastest.iter().map(|times| times[way]).sum::<Duration>());
        let made_later = made.get() - made_first;

        let halfway = self.len() / 2;
        graph.fill(&self.passages[halfway], &self.words, reuse)?;
        let contents = format!("the nodes of passage {} of {}", halfway + 1, self.len());
        let stats = cache.stats();
        let mut portrait = Portrait::new::<S, _>(name, contents, usage(&stats), || cache.chunks());
        drop(graph);
        portrait.part_of(&cache);
        portrait.note(slabs(&stats));
        portrait.note(format!(
            "nodes made: {made_first} for the {nodes} of the first round, {made_later} for those of {ROUNDS} more rounds"
        ));
        portrait.note(format!(
            "time of a round: {reusing:.2?} with nodes reused, {making:.2?} with nodes made and dropped: {:.2} times as long ({:.0} ns more per node)",
            making.as_secs_f64() / reusing.as_secs_f64(),
            (making.as_secs_f64() - reusing.as_secs_f64()) * 1e9 / nodes as f64
        ));
        let gone = cache.reap();
        portrait.note(format!("reaped: {gone} slabs gone, {} left", cache.stats().slabs));
        Ok((portrait, look()))
    }
}

/// The graph of one passage.
struct Graph<P> {
    nodes: Vec<P>,
    /// Where the node of each word is.
    numbers: HashMap<u32, u32>,
}

impl<P> Default for Graph<P> {
    fn default() -> Self {
        Graph { nodes: Vec::new(), numbers: HashMap::new() }
    }
}

impl<'i, A: AnyHeap, P: DerefMut<Target = Node<'i, A>>> Graph<P> {
    /// Makes the nodes of a passage's words, by `make`, and links those that are near each other.
    fn fill(
        &mut self,
        passage: &[u32],
        words: &[&'i str],
        mut make: impl FnMut() -> Result<P, Full>,
    ) -> Result<(), Full> {
        let mut window = Window::default();
        for &id in passage {
            let at = *self.numbers.entry(id).or_insert(self.nodes.len() as u32);
            if at as usize == self.nodes.len() {
                let mut node = make()?;
                node.stand_for(id, words[id as usize]);
                self.nodes.push(node);
            }
            self.nodes[at as usize].count += 1;
            for (before, weight) in window.next(at) {
                self.nodes[before as usize].link(at, weight)?;
                self.nodes[at as usize].link(before, weight)?;
            }
        }
        Ok(())
    }

    /// How long it takes to fill it and to clear it.
    fn time(
        &mut self,
        passage: &[u32],
        words: &[&'i str],
        make: impl FnMut() -> Result<P, Full>,
    ) -> Result<Duration, Full> {
        let start = Instant::now();
        self.fill(passage, words, make)?;
        self.clear();
        Ok(start.elapsed())
    }

    /// Drops the nodes, or hands them back to where they are from.
    fn clear(&mut self) {
        self.nodes.clear();
        self.numbers.clear();
    }
}

/// What a cache tells of itself, as an arena would.
fn usage(stats: &CacheStats) -> Usage {
    Usage {
        total: stats.bytes_held,
        used: stats.bytes_live(),
        free: stats.bytes_held - stats.bytes_wasted() - stats.bytes_live(),
        objects: stats.live,
    }
}

/// How many slabs there are, and of what size.
fn slabs(stats: &CacheStats) -> String {
    let CacheStats { at_hand, slabs, free_slabs, capacity, slot_size, bytes_held, .. } = *stats;
    format!(
        "slabs: {slabs} of {} bytes, {free_slabs} of them without a live node; room for {capacity} nodes of {slot_size} bytes; \
         {at_hand} free ones at hand, drawn as used",
        bytes_held / slabs.max(1)
    )
}
