//! The files that are written: that they are what their readers read. Small readers of the formats stand here.

use std::alloc::{Layout, System};
use std::collections::HashMap;

use heapwright::heap::SharedHeap;
use heapwright::trace::{AnyGlobal, HeapProfile, Profile, Traced};

/// A profile of a few blocks: 3 of 100 bytes, one of which is live, and one of 40,000.
fn profile() -> Profile {
    let heap = Traced::new(<HeapProfile>::new(), AnyGlobal::new(System));
    let (small, large) = (Layout::new::<[u8; 100]>(), Layout::new::<[u8; 40_000]>());
    let blocks = [small, small, large, small].map(|layout| (heap.try_alloc(layout).unwrap(), layout));
    let free = |idx: usize| {
        let (block, layout) = blocks[idx];
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.free(block.cast(), layout) };
    };
    [0, 1, 2].into_iter().for_each(free);
    let profile = heap.sink().profile();
    free(3);
    profile
}

/// A JSON value, as far as it is needed here.
#[derive(Debug, PartialEq)]
pub(crate) enum Json {
    Bool(bool),
    Number(u64),
    Text(String),
    List(Vec<Json>),
    Map(HashMap<String, Json>),
}

/// The value that a text stands for.
pub(crate) fn parsed(text: &str) -> Json {
    Parser(text).value()
}

struct Parser<'a>(&'a str);

impl Parser<'_> {
    fn skip(&mut self, token: &str) -> bool {
        self.0 = self.0.trim_start();
        let rest = self.0.strip_prefix(token);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn text(&mut self) -> String {
        let (mut text, mut chars) = (String::new(), self.0.char_indices());
        loop {
            match chars.next().unwrap() {
                (end, '"') => {
                    self.0 = &self.0[end + 1..];
                    return text;
                }
                // Paths of Windows.
                (at, '\\') => match chars.next() {
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    _ => panic!("nothing else is escaped in this test: {}", &self.0[at..]),
                },
                (_, other) => text.push(other),
            }
        }
    }

    fn value(&mut self) -> Json {
        if self.skip("true") || self.skip("false") {
            return Json::Bool(true);
        }
        if self.skip("\"") {
            return Json::Text(self.text());
        }
        if self.skip("[") {
            let mut list = Vec::new();
            while !self.skip("]") {
                assert!(list.is_empty() || self.skip(","), "{}", self.0);
                list.push(self.value());
            }
            return Json::List(list);
        }
        if self.skip("{") {
            let mut map = HashMap::new();
            while !self.skip("}") {
                assert!(map.is_empty() || self.skip(","), "{}", self.0);
                assert!(self.skip("\""), "{}", self.0);
                let key = self.text();
                assert!(self.skip(":"), "{}", self.0);
                let value = self.value();
                assert!(map.insert(key, value).is_none());
            }
            return Json::Map(map);
        }
        self.0 = self.0.trim_start();
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap();
        let number = self.0[..end].parse().unwrap();
        self.0 = &self.0[end..];
        Json::Number(number)
    }
}

#[test]
fn dhat_has_what_its_viewer_asks_for() {
    let mut bytes = Vec::new();
    profile().write_dhat(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let Json::Map(file) = parsed(&text) else { panic!("{text}") };
    for field in
        ["dhatFileVersion", "mode", "verb", "bklt", "bkacc", "tu", "Mtu", "tuth", "cmd", "pid", "te", "tg"]
    {
        assert!(file.contains_key(field), "{field} is missing in {text}");
    }
    assert_eq!(file["dhatFileVersion"], Json::Number(2));
    let (Json::List(sites), Json::List(frames)) = (&file["pps"], &file["ftbl"]) else { panic!("{text}") };
    assert_eq!(frames[0], Json::Text("[root]".into()));
    assert_eq!(sites.len(), 2);
    let mut sums = HashMap::new();
    for site in sites {
        let Json::Map(site) = site else { panic!("{text}") };
        for (key, value) in site {
            match value {
                Json::Number(number) => *sums.entry(key.as_str()).or_insert(0) += number,
                Json::List(stack) => {
                    let in_table =
                        |frame: &Json| matches!(frame, Json::Number(idx) if *idx < frames.len() as u64);
                    assert!(!stack.is_empty() && stack.iter().all(in_table));
                }
                _ => panic!("{key} in {text}"),
            }
        }
    }
    let expected = [
        ("tb", 40_300),
        ("tbk", 4),
        ("gb", 40_300),
        ("gbk", 4),
        ("mb", 40_300),
        ("mbk", 4),
        ("eb", 100),
        ("ebk", 1),
    ];
    for (key, value) in expected {
        assert_eq!(sums[key], value, "{key}");
    }
    assert!(sums.contains_key("tl"));
}

/// The fields of a protocol buffer: number, and a varint or bytes.
pub(crate) fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let number = varint(&mut bytes);
        match key & 7 {
            0 => found.push((key >> 3, number, &[][..])),
            2 => {
                let (field, rest) = bytes.split_at(number as usize);
                found.push((key >> 3, 0, field));
                bytes = rest;
            }
            kind => panic!("wire type {kind}"),
        }
    }
    found
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    panic!("a number of more than 64 bits")
}

fn varints(mut bytes: &[u8]) -> Vec<u64> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        all.push(varint(&mut bytes));
    }
    all
}

#[test]
fn pprof_refers_to_what_is_there() {
    let mut bytes = Vec::new();
    profile().write_pprof(&mut bytes).unwrap();
    let all = fields(&bytes);
    let of = |number: u64| all.iter().filter(move |field| field.0 == number);
    let strings: Vec<_> = of(6).map(|field| std::str::from_utf8(field.2).unwrap()).collect();
    assert_eq!(strings[0], "");
    let names: Vec<_> = of(1).map(|field| strings[fields(field.2)[0].1 as usize]).collect();
    assert_eq!(
        names,
        ["alloc_objects", "alloc_space", "peak_objects", "peak_space", "inuse_objects", "inuse_space"]
    );
    let ids = |number: u64| -> Vec<u64> { of(number).map(|field| fields(field.2)[0].1).collect() };
    let (mappings, locations, functions) = (ids(3), ids(4), ids(5));
    assert_eq!(mappings, [1]);
    let mut sums = vec![0; names.len()];
    for sample in of(2) {
        let parts = fields(sample.2);
        assert!(varints(parts[0].2).iter().all(|location| locations.contains(location)));
        let values = varints(parts[1].2);
        assert_eq!(values.len(), names.len());
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    assert_eq!(sums, [4, 40_300, 4, 40_300, 1, 100]);
    for location in of(4) {
        for (_, _, line) in fields(location.2).into_iter().filter(|field| field.0 == 4) {
            assert!(functions.contains(&fields(line)[0].1));
        }
    }
    for function in of(5) {
        assert!(fields(function.2)[1..].iter().all(|field| (field.1 as usize) < strings.len()));
    }
}

#[test]
fn a_timeline_is_an_image_of_its_peak() {
    let svg = profile().timeline_svg("few <blocks>").to_string();
    assert!(svg.contains("<title>few &lt;blocks&gt;</title>"));
    assert!(svg.contains("peak 39.4 KiB in 4 blocks"), "{svg}");
    assert_eq!(svg.matches(r#"<path class="band"#).count(), 2, "two sizes: {svg}");
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    let open = svg.matches("<rect").count() + svg.matches("<svg").count() + svg.matches("<text").count();
    let closed = svg.matches("</rect>").count() + svg.matches("/>").count()
        - svg.matches("<path").count()
        - svg.matches("<circle").count()
        + svg.matches("</svg>").count()
        + svg.matches("</text>").count();
    assert_eq!(open, closed, "every element is closed");
    let none = Traced::new(<HeapProfile>::new(), AnyGlobal::new(System))
        .sink()
        .profile()
        .timeline_svg("none")
        .to_string();
    assert!(!none.contains("NaN"), "{none}");
}

/// Blocks beyond the largest class are there without a bound.
#[test]
fn a_timeline_shows_the_largest_blocks() {
    let heap = Traced::new(<HeapProfile>::new(), AnyGlobal::new(System));
    let layout = Layout::new::<[u8; 40 << 20]>();
    let block = heap.try_alloc(layout).unwrap();
    let svg = heap.sink().profile().timeline_svg("one large block").to_string();
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.free(block.cast(), layout) };
    assert!(svg.contains(">more</text>") && svg.contains("\nmore: 40 MiB<"), "{svg}");
    assert!(!svg.contains("up to"), "no other class: {svg}");
}
