//! The graph of nearest words, and the questions put to it.

use std::cmp::Reverse;
use std::mem;

use allocator_api2_04::boxed::Box;
use allocator_api2_04::vec::Vec;
use hashbrown_17::{DefaultHashBuilder, HashMap};

use crate::heaps::{AnyHeap, Full};
use crate::index::Index;
use crate::text::{Library, Progress, each_word};

/// Words at most this far apart are near each other; the closer the more.
const WINDOW: usize = 4;
/// Each word keeps this many neighbours.
const NEIGHBOURS: usize = 8;

/// A word and the words near it.
pub(crate) struct Node<'i, A: AnyHeap> {
    pub(crate) word: &'i str,
    /// How often it occurs.
    pub(crate) count: u32,
    id: u32,
    pub(crate) edges: Vec<Edge, A>,
}

impl<'i, A: AnyHeap> Node<'i, A> {
    /// A node of no word yet, with room for the links to its neighbours.
    pub(crate) fn blank(heap: A) -> Result<Self, Full> {
        let mut edges = Vec::new_in(heap);
        edges.try_reserve_exact(NEIGHBOURS)?;
        Ok(Node { word: "", count: 0, id: 0, edges })
    }

    /// Makes it the node of a word.
    pub(crate) fn stand_for(&mut self, id: u32, word: &'i str) {
        (self.word, self.count, self.id) = (word, 0, id);
    }

    /// Makes it a node of no word again; the room for links stays.
    pub(crate) fn clear(&mut self) {
        self.stand_for(0, "");
        self.edges.clear();
    }

    /// The number of its word.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Adds to the weight of a link.
    pub(crate) fn link(&mut self, to: u32, weight: u32) -> Result<(), Full> {
        match self.edges.binary_search_by_key(&to, |edge| edge.to) {
            Ok(at) => self.edges[at].weight += weight,
            Err(at) => {
                self.edges.try_reserve(1)?;
                self.edges.insert(at, Edge { to, weight });
            }
        }
        Ok(())
    }
}

/// A link to another word.
#[derive(Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) to: u32,
    /// How near it was, summed over all occurrences: `WINDOW` if next to it, 1 if `WINDOW` words away.
    weight: u32,
}

/// The words just before, the last one first.
#[derive(Default)]
pub(crate) struct Window([Option<u32>; WINDOW]);

impl Window {
    /// Goes on to the next word; gives those before it that it is to be linked with, and how much more the link weighs.
    pub(crate) fn next(&mut self, id: u32) -> impl Iterator<Item = (u32, u32)> + use<> {
        let before = self.0;
        self.0.rotate_right(1);
        self.0[0] = Some(id);
        let weighed = before.into_iter().zip((1..=WINDOW as u32).rev());
        weighed.filter_map(move |(before, weight)| Some((before.filter(|&before| before != id)?, weight)))
    }
}

/// For each word the words that are nearest to it.
pub(crate) struct Graph<'i, A: AnyHeap> {
    heap: A,
    /// The word with number n is the nth.
    nodes: Vec<Box<Node<'i, A>, A>, A>,
}

impl<'i, A: AnyHeap> Graph<'i, A> {
    /// An empty graph, which takes no memory yet.
    pub(crate) fn new_in(heap: A) -> Self {
        Graph { heap, nodes: Vec::new_in(heap) }
    }

    /// Makes a node of each word of the index, and links those that are near each other in the texts.
    pub(crate) fn fill<B: AnyHeap>(
        &mut self,
        index: &'i Index<'_, B>,
        library: &Library,
    ) -> Result<(), Full> {
        self.nodes.try_reserve_exact(index.len())?;
        for (word, entry) in index.entries() {
            let count = u32::try_from(entry.places.len()).map_err(|_| Full)?;
            let node = Node { word: word.as_str(), count, id: entry.id, edges: Vec::new_in(self.heap) };
            self.nodes.push(Box::try_new_in(node, self.heap)?);
        }
        self.nodes.sort_unstable_by_key(|node| node.id);

        let progress = Progress::new("linking", library.bytes());
        for document in &library.documents {
            let mut window = Window::default();
            each_word(&document.text, |_, word| {
                let Some(id) = index.get(word).map(|entry| entry.id) else { return Ok::<(), Full>(()) };
                for (before, weight) in window.next(id) {
                    self.nodes[before as usize].link(id, weight)?;
                    self.nodes[id as usize].link(before, weight)?;
                }
                Ok(())
            })?;
            progress.advance(document.text.len() as u64);
        }
        Ok(())
    }

    /// Drops all links but the strongest of each word, which then stand in order.
    pub(crate) fn keep_nearest(&mut self) -> Result<(), Full> {
        for id in 0..self.nodes.len() {
            let mut all = mem::replace(&mut self.nodes[id].edges, Vec::new_in(self.heap));
            let node = &self.nodes[id];
            all.sort_unstable_by(|a, b| {
                self.nearness(node, b).total_cmp(&self.nearness(node, a)).then(a.to.cmp(&b.to))
            });
            all.truncate(NEIGHBOURS);
            let mut nearest = Vec::new_in(self.heap);
            nearest.try_reserve_exact(all.len())?;
            nearest.extend_from_slice(&all);
            self.nodes[id].edges = nearest;
        }
        Ok(())
    }

    /// How near two words are: the weight of their link, less for words that are frequent anyway.
    fn nearness(&self, node: &Node<'i, A>, edge: &Edge) -> f64 {
        let other = &self.nodes[edge.to as usize];
        f64::from(edge.weight) / (WINDOW as f64 * (f64::from(node.count) * f64::from(other.count)).sqrt())
    }

    /// The words nearest to a word, and how near they are, the nearest first.
    pub(crate) fn nearest(&self, id: u32) -> impl Iterator<Item = (&'i str, f64)> {
        let node = &self.nodes[id as usize];
        node.edges.iter().map(|edge| (self.nodes[edge.to as usize].word, self.nearness(node, edge)))
    }

    /// All words, in the order of their numbers.
    pub(crate) fn words(&self) -> impl Iterator<Item = &'i str> {
        self.nodes.iter().map(|node| node.word)
    }

    /// A word and its links.
    pub(crate) fn node(&self, id: u32) -> &Node<'i, A> {
        &self.nodes[id as usize]
    }
}

/// The most frequent words.
pub(crate) struct Ranking<W: AnyHeap> {
    best: Vec<u32, W>,
}

impl<W: AnyHeap> Ranking<W> {
    /// An empty ranking, which takes no memory yet.
    pub(crate) fn new_in(heap: W) -> Self {
        Ranking { best: Vec::new_in(heap) }
    }

    /// The numbers of the `len` most frequent words, the most frequent first.
    pub(crate) fn find<A: AnyHeap>(&mut self, graph: &Graph<'_, A>, len: usize) -> Result<&[u32], Full> {
        self.best.try_reserve_exact(len + 1)?;
        let key = |id: u32| (Reverse(graph.node(id).count), graph.node(id).word);
        for node in &graph.nodes {
            let at = self.best.partition_point(|&better| key(better) < key(node.id));
            if at < len {
                self.best.insert(at, node.id);
                self.best.truncate(len);
            }
        }
        Ok(&self.best)
    }
}

/// A search for the shortest way from word to nearest word.
pub(crate) struct Search<W: AnyHeap> {
    /// Each word that has been seen, and the one that led to it.
    seen_from: HashMap<u32, u32, DefaultHashBuilder, W>,
    /// The words seen, in that order.
    queue: Vec<u32, W>,
}

impl<W: AnyHeap> Search<W> {
    /// A search that has not begun, and takes no memory yet.
    pub(crate) fn new_in(heap: W) -> Self {
        Search { seen_from: HashMap::new_in(heap), queue: Vec::new_in(heap) }
    }

    /// The words on the way, both ends included; `None` if there is no way.
    pub(crate) fn find<'i, A: AnyHeap>(
        &mut self,
        graph: &Graph<'i, A>,
        from: u32,
        to: u32,
    ) -> Result<Option<std::vec::Vec<&'i str>>, Full> {
        self.see(from, from)?;
        let mut next = 0;
        while let Some(&id) = self.queue.get(next) {
            if id == to {
                return Ok(Some(self.way(graph, to)));
            }
            for edge in &graph.nodes[id as usize].edges {
                self.see(edge.to, id)?;
            }
            next += 1;
        }
        Ok(None)
    }

    /// How many words have been looked at.
    pub(crate) fn seen(&self) -> usize {
        self.queue.len()
    }

    fn see(&mut self, id: u32, from: u32) -> Result<(), Full> {
        if self.seen_from.contains_key(&id) {
            return Ok(());
        }
        self.seen_from.try_reserve(1)?;
        self.queue.try_reserve(1)?;
        self.seen_from.insert(id, from);
        self.queue.push(id);
        Ok(())
    }

    /// From the end back to the start, turned round.
    fn way<'i, A: AnyHeap>(&self, graph: &Graph<'i, A>, to: u32) -> std::vec::Vec<&'i str> {
        let mut way = vec![graph.node(to).word];
        let mut id = to;
        while let Some(&from) = self.seen_from.get(&id).filter(|&&from| from != id) {
            way.push(graph.node(from).word);
            id = from;
        }
        way.reverse();
        way
    }
}
