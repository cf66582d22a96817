//! Data structures that grow, change and go.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::rc::Rc;

use super::Work;
use super::random::Random;

/// A map of strings to vectors: inserts, removals, look-ups. A smaller one that was there before is left.
pub(super) fn btree(amount: usize) -> Work {
    fn change(map: &mut BTreeMap<String, Vec<u8>>, random: &mut Random, keys: usize, count: usize) {
        for _ in 0..count {
            let key = format!("key-{:06}", random.below(keys));
            match random.below(8) {
                0..=3 => _ = map.insert(key, vec![1; random.size(1, 512)]),
                4..=5 => _ = map.remove(&key),
                _ => _ = black_box(map.get(&key).map(Vec::len)),
            }
        }
    }
    Box::new(move || {
        let mut random = Random::new(1);
        let (mut left, mut map) = (BTreeMap::new(), BTreeMap::new());
        change(&mut left, &mut random, 12_000, 40_000);
        change(&mut map, &mut random, 60_000, 400_000 * amount);
        drop(map);
        // Nodes of up to 11 elements, of which there are fewer in most.
        let bytes = left.iter().map(|(key, value)| key.capacity() + value.capacity() + 80).sum();
        (0, Some((Box::new(left), bytes)))
    })
}

/// Many hash maps that grow, shrink and go.
pub(super) fn hashmap(amount: usize) -> Work {
    Box::new(move || {
        let mut random = Random::new(2);
        let mut maps: Vec<HashMap<u64, Box<[u8]>>> = (0..64).map(|_| HashMap::new()).collect();
        for _ in 0..1_200_000 * amount {
            let map = random.below(64);
            let key = random.next() % 4000;
            match random.below(5) {
                0..=2 => _ = maps[map].insert(key, vec![2; random.size(8, 128)].into()),
                3 => _ = maps[map].remove(&key),
                _ if random.below(2000) == 0 => maps[map] = HashMap::new(),
                _ => _ = black_box(maps[map].get(&key)),
            }
        }
        (0, None)
    })
}

/// A tree of boxes and a graph of counted nodes: built, walked, half of it dropped and built again.
pub(super) fn graph(amount: usize) -> Work {
    struct Tree {
        key: u64,
        left: Option<Box<Tree>>,
        right: Option<Box<Tree>>,
    }
    fn insert(mut place: &mut Option<Box<Tree>>, key: u64) {
        while let Some(tree) = place {
            place = if key < tree.key { &mut tree.left } else { &mut tree.right };
        }
        *place = Some(Box::new(Tree { key, left: None, right: None }));
    }
    fn sum(tree: &Option<Box<Tree>>) -> u64 {
        tree.as_ref().map_or(0, |tree| tree.key ^ sum(&tree.left) ^ sum(&tree.right))
    }
    struct Node {
        name: String,
        edges: Vec<Rc<Node>>,
    }
    Box::new(move || {
        let mut random = Random::new(3);
        for _ in 0..4 * amount {
            let mut root = None;
            (0..60_000).for_each(|_| insert(&mut root, random.next()));
            black_box(sum(&root));
            if let Some(tree) = &mut root {
                tree.left = None;
            }
            (0..30_000).for_each(|_| insert(&mut root, random.next() >> 1));
            black_box(sum(&root));
            let mut nodes: Vec<Rc<Node>> = Vec::new();
            for number in 0..60_000 {
                let count = random.below(4).min(nodes.len());
                let edges = (0..count).map(|_| Rc::clone(&nodes[random.below(nodes.len())])).collect();
                nodes.push(Rc::new(Node { name: format!("node {number}"), edges }));
                if nodes.len() > 20_000 {
                    let gone = random.below(nodes.len());
                    nodes.swap_remove(gone);
                }
            }
            black_box(nodes.iter().map(|node| node.name.len() + node.edges.len()).sum::<usize>());
        }
        (0, None)
    })
}

/// Vectors that grow by pushing, of all sizes up to 64 MiB.
pub(super) fn vectors(amount: usize) -> Work {
    Box::new(move || {
        let mut random = Random::new(4);
        for _ in 0..amount {
            let mut kept: Vec<Vec<u64>> = Vec::new();
            for round in 0..12_000usize {
                let len =
                    if round % 1500 == 1499 { 1 << (17 + round / 1500 % 5) } else { random.size(8, 4096) };
                let mut vector = Vec::new();
                (0..len as u64).for_each(|number| vector.push(number));
                kept.push(vector);
                if kept.len() > 200 {
                    let gone = random.below(kept.len());
                    kept.swap_remove(gone);
                }
            }
            let mut long = Vec::new();
            (0..8u64 << 20).for_each(|number| long.push(number));
            black_box(&long);
        }
        (0, None)
    })
}
