//! Two named heaps: the global allocator, and one for tree nodes with a budget of its own.
//!
//! The tree's links are one word each, since the handle to the heap takes no room. When the nodes' heap is full, inserting
//! says so, and the rest of the program goes on.
//!
//! ```text
//! cargo run --example global_instance -- 5 3 8 1 9
//! cargo run --example global_instance -- --many 100000
//! ```

use std::cmp::Ordering;
use std::io::{self, Write};
use std::thread;

use allocator_api2_04::boxed::Box;
use heapwright::AllocError;
use heapwright::arena::StaticArena;
use heapwright::lock::SpinLock;
use heapwright::sizing::{Sizing16MiB, Sizing128KiB};

heapwright::instance! {
    /// For everything that asks for no heap by name.
    #[global_allocator]
    static EVERYTHING as Everything: StaticArena<{ 16 << 20 }, Sizing16MiB, SpinLock> = StaticArena::new();

    /// 64 KiB for the nodes of all trees.
    static NODES as NodeHeap: StaticArena<{ 64 << 10 }, Sizing128KiB, SpinLock> = StaticArena::new();
}

type Link = Option<Box<Node, NodeHeap>>;

struct Node {
    key: u32,
    left: Link,
    right: Link,
}

const _: () = assert!(size_of::<Link>() == size_of::<usize>(), "a link is one word");

#[derive(Default)]
struct Tree {
    root: Link,
}

impl Tree {
    /// Adds a key; says whether it is new.
    fn insert(&mut self, key: u32) -> Result<bool, AllocError> {
        let mut link = &mut self.root;
        while let Some(node) = link {
            link = match key.cmp(&node.key) {
                Ordering::Less => &mut node.left,
                Ordering::Equal => return Ok(false),
                Ordering::Greater => &mut node.right,
            };
        }
        let node = Node { key, left: None, right: None };
        *link = Some(Box::try_new_in(node, NodeHeap).map_err(|_| AllocError)?);
        Ok(true)
    }

    /// The keys in order. The list itself lies in the global heap.
    fn keys(&self) -> Vec<u32> {
        fn visit(link: &Link, keys: &mut Vec<u32>) {
            if let Some(node) = link {
                visit(&node.left, keys);
                keys.push(node.key);
                visit(&node.right, keys);
            }
        }
        let mut keys = Vec::new();
        visit(&self.root, &mut keys);
        keys
    }
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut numbers = std::env::args().skip(1);
    let numbers: Vec<u32> = match numbers.next().as_deref() {
        Some("--many") => {
            let count = numbers.next().and_then(|count| count.parse().ok()).unwrap_or(1000);
            (0..count).map(u32::reverse_bits).collect()
        }
        first => first.into_iter().map(str::to_owned).chain(numbers).filter_map(|n| n.parse().ok()).collect(),
    };

    let mut tree = Tree::default();
    match numbers.iter().try_for_each(|&number| tree.insert(number).map(drop)) {
        Ok(()) => writeln!(out, "{:?}", tree.keys())?,
        Err(AllocError) => writeln!(out, "the node heap is full with {} nodes", tree.keys().len())?,
    }
    let nodes = NODES.usage();
    writeln!(out, "nodes: {} bytes used by {} objects", nodes.used, nodes.objects)?;

    // Any thread may free what another one allocated: the handle goes along and weighs nothing.
    let sum = thread::spawn(move || tree.keys().iter().map(|&key| u64::from(key)).sum::<u64>()).join();
    writeln!(out, "sum: {}", sum.unwrap_or_default())?;
    let nodes = NodeHeap.heap().usage();
    writeln!(out, "nodes: {} bytes used by {} objects", nodes.used, nodes.objects)?;
    writeln!(out, "{}", if Everything.heap().verify().is_ok() { "all in order" } else { "corrupted" })
}
