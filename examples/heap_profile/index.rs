//! An index of words and items, made of the collections of the standard library.

use std::collections::{BTreeMap, HashMap};

use crate::read::Text;

/// Where a word stands.
#[derive(Clone, Copy)]
struct Place {
    file: u32,
    line: u32,
}

/// A function, type or trait.
struct Item {
    kind: &'static str,
    place: Place,
    /// Lines to its end.
    lines: u32,
    signature: String,
}

/// What stands where.
#[derive(Default)]
pub(crate) struct Index {
    words: HashMap<String, Vec<Place>>,
    items: BTreeMap<String, Vec<Item>>,
}

const KINDS: [&str; 5] = ["fn", "struct", "enum", "trait", "macro_rules!"];

impl Index {
    /// Adds a text.
    pub(crate) fn add(&mut self, file: usize, text: &Text) {
        let lines: Vec<String> = text.contents.lines().map(str::to_lowercase).collect();
        for (number, line) in lines.iter().enumerate() {
            self.add_words(line, Place { file: file as u32, line: number as u32 });
        }
        self.add_items(file, &text.contents);
    }

    fn add_words(&mut self, line: &str, place: Place) {
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.len() > 1);
        for word in words {
            match self.words.get_mut(word) {
                Some(places) => places.push(place),
                None => drop(self.words.insert(word.to_string(), vec![place])),
            }
        }
    }

    fn add_items(&mut self, file: usize, contents: &str) {
        let mut open: Vec<(usize, String, Item)> = Vec::new();
        for (number, line) in contents.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            if line.trim_start().starts_with('}') {
                while open.last().is_some_and(|(at, ..)| *at >= indent) {
                    let Some((_, name, mut item)) = open.pop() else { break };
                    item.lines = number as u32 - item.place.line;
                    self.items.entry(name).or_default().push(item);
                }
            } else if let Some((kind, name)) = item(line) {
                let place = Place { file: file as u32, line: number as u32 };
                let signature = line.trim().trim_end_matches('{').to_string();
                open.push((indent, name.to_string(), Item { kind, place, lines: 1, signature }));
            }
        }
        for (_, name, item) in open {
            self.items.entry(name).or_default().push(item);
        }
    }

    /// How many different words there are.
    pub(crate) fn words(&self) -> usize {
        self.words.len()
    }

    /// How many items there are.
    pub(crate) fn items(&self) -> usize {
        self.items.values().map(Vec::len).sum()
    }

    /// The most frequent words.
    pub(crate) fn most_frequent(&self, count: usize) -> Vec<String> {
        let mut all: Vec<(usize, &String)> =
            self.words.iter().map(|(word, places)| (places.len(), word)).collect();
        all.sort_unstable_by(|one, other| other.cmp(one));
        all.iter().take(count).map(|(times, word)| format!("{word} ({times})")).collect()
    }

    /// The item with most lines.
    pub(crate) fn longest_item(&self, names: &[String]) -> String {
        let longest = self.items.values().flatten().max_by_key(|item| item.lines);
        longest.map_or_else(String::new, |item| {
            let file = names.get(item.place.file as usize).map_or("", String::as_str);
            format!(
                "{} {} at {file}:{}, {} lines",
                item.kind,
                item.signature,
                item.place.line + 1,
                item.lines
            )
        })
    }

    /// Forgets words that stand in fewer places than so many, or in one file only.
    pub(crate) fn forget_rare(&mut self, places_min: usize) {
        self.words.retain(|_, places| {
            places.len() >= places_min && places.iter().any(|place| place.file != places[0].file)
        });
        self.words.shrink_to_fit();
    }
}

/// What a line begins, if that is an item: its kind and its name.
fn item(line: &str) -> Option<(&'static str, &str)> {
    let mut words = line.split_whitespace();
    let kind = loop {
        let word = words.next()?;
        if let Some(kind) = KINDS.iter().find(|kind| **kind == word) {
            break *kind;
        }
        let is_before =
            ["pub", "unsafe", "const", "extern", "async"].iter().any(|start| word.starts_with(start));
        if !is_before && word != "\"C\"" {
            return None;
        }
    };
    let name = words.next()?;
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    (end > 0).then(|| (kind, &name[..end]))
}
