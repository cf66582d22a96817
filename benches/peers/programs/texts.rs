//! Texts that are parsed, sorted, counted and written.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;

use super::Work;
use super::random::Random;

/// A document of objects.
fn document(random: &mut Random, count: usize) -> String {
    let mut text = String::from("[");
    for number in 0..count {
        let comma = if number == 0 { "" } else { "," };
        let (first, second) = (random.word(), random.word());
        let _ = write!(
            text,
            "{comma}{{\"id\":{number},\"name\":\"{first} {second}\",\"score\":{}.5,",
            random.below(1000)
        );
        let tags: Vec<String> = (0..random.below(6)).map(|_| format!("\"{}\"", random.word())).collect();
        let (tags, x) = (tags.join(","), random.below(99));
        let _ = write!(text, "\"tags\":[{tags}],\"at\":{{\"x\":{x},\"y\":null,\"note\":\"");
        (0..random.below(12)).for_each(|_| _ = write!(text, "{} ", random.word()));
        text.push_str("\"}}");
    }
    text.push(']');
    text
}

/// A document of some 10 MB, parsed, written, and parsed again. A smaller one that was there before is left.
pub(super) fn json(amount: usize) -> Work {
    let mut random = Random::new(11);
    let (small, text) = (document(&mut random, 5000), document(&mut random, 40_000));
    Box::new(move || {
        let left: serde_json::Value = serde_json::from_str(&small).unwrap_or_default();
        for _ in 0..2 * amount {
            let parsed: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let written = parsed.to_string();
            black_box(written.len());
            let again: serde_json::Value = serde_json::from_str(&written).unwrap_or_default();
            drop(parsed);
            black_box(again);
        }
        let bytes = bytes(&left);
        // The text was there before, so it stays.
        (0, Some((Box::new((left, small, text)), bytes)))
    })
}

/// About how many bytes a document takes.
fn bytes(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::String(text) => text.capacity(),
        serde_json::Value::Array(list) => {
            list.iter().map(bytes).sum::<usize>() + list.capacity() * size_of_val(value)
        }
        serde_json::Value::Object(map) => {
            // A leaf has room for 11 elements.
            map.iter().map(|(key, value)| key.capacity() + bytes(value)).sum::<usize>()
                + 11 * (24 + size_of_val(value))
        }
        _ => 0,
    }
}

/// Regular expressions, compiled and used once.
pub(super) fn regex(amount: usize) -> Work {
    let mut random = Random::new(12);
    let patterns: Vec<String> = (0..240)
        .map(|number| {
            let (first, second) = (random.word(), random.word());
            match number % 4 {
                0 => format!("^({first}|{second})+[0-9]{{2,5}}$"),
                1 => format!("(?i){first}.*?({second}|[a-f]+x?y*)"),
                2 => format!(r"\b{first}\s+(\w+)\s+{second}\b"),
                _ => format!("[{first}]+@[{second}]+\\.(com|org|net)"),
            }
        })
        .collect();
    let text: String = (0..200).map(|_| random.word() + " ").collect();
    Box::new(move || {
        for _ in 0..amount {
            for pattern in &patterns {
                black_box(
                    regex::Regex::new(pattern).map(|regex| regex.find_iter(&text).count()).unwrap_or(0),
                );
            }
        }
        (0, None)
    })
}

/// Lines of some 8 MB in all: read, sorted, those that come twice taken out, joined.
pub(super) fn sort(amount: usize) -> Work {
    let mut random = Random::new(13);
    let mut text = String::new();
    for _ in 0..200_000 {
        (0..1 + random.below(8)).for_each(|_| _ = write!(text, "{} ", random.word()));
        text.push('\n');
    }
    Box::new(move || {
        for _ in 0..amount {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines.dedup();
            let upper: Vec<String> = lines.iter().map(|line| line.to_uppercase()).collect();
            black_box(upper.join("\n").len() + lines.join("\n").len());
        }
        (0, None)
    })
}

/// The sources of this crate as syntax trees: parsed, cloned, dropped.
pub(super) fn ast(amount: usize) -> Work {
    fn read(directory: &Path, sources: &mut Vec<String>) {
        let Ok(entries) = std::fs::read_dir(directory) else { return };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                read(&path, sources);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                sources.extend(std::fs::read_to_string(path));
            }
        }
    }
    let mut sources = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src"), &mut sources);
    Box::new(move || {
        for _ in 0..2 * amount {
            let files: Vec<syn::File> = sources.iter().flat_map(|source| syn::parse_file(source)).collect();
            let copy = files.clone();
            drop(files);
            black_box(copy.len());
        }
        (0, None)
    })
}

/// Words counted in a hash map, and a report of many short strings.
pub(super) fn strings(amount: usize) -> Work {
    let mut random = Random::new(14);
    let dictionary: Vec<String> = (0..20_000).map(|_| random.word()).collect();
    let text: String = (0..400_000).map(|_| dictionary[random.below(20_000)].clone() + " ").collect();
    Box::new(move || {
        for _ in 0..2 * amount {
            let mut counts: HashMap<String, usize> = HashMap::new();
            for word in text.split_whitespace() {
                *counts.entry(word.to_string()).or_default() += 1;
            }
            let mut report: Vec<String> =
                counts.iter().map(|(word, count)| format!("{word}: {count:>6}")).collect();
            report.sort_unstable();
            black_box(report.concat().len());
        }
        (0, None)
    })
}
