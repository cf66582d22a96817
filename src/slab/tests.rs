//! Where objects lie: the fit rule's bound, and that nothing overlaps in any slab of a region.

extern crate std;

use core::alloc::Layout;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::header::{HEADER_LEN, REGION_LEN};
use super::*;
use crate::source::Buffer;

static_assertions::const_assert_eq!(size_of::<AlignedSlabs<Buffer<'static>>>(), 13 * size_of::<usize>());

/// The rules of a system over a source that gives memory lazily, or not.
const fn rules<K: FreeObjects, C: Coloring>(slab_size: usize, aligned: bool, lazy: bool) -> Rules {
    Rules {
        slab_size,
        aligned,
        granule: if lazy { 4096 } else { 1 },
        align_max: 1 << 30,
        lazy,
        object_bits: K::BITS,
        object_min: K::OBJECT_MIN,
        capacity_max: K::CAPACITY_MAX,
        keeps: K::KEEPS,
        color_stride: C::STRIDE,
        header_room: 0,
        ..Rules::new(0)
    }
}

/// Every kind of rules with the slab size left open, by name.
fn all_rules(slab_size: usize) -> Vec<(String, Rules)> {
    let mut all = Vec::new();
    for (aligned, lazy) in [(true, true), (true, false), (false, true), (false, false)] {
        let kinds = [
            ("bitmap", rules::<Bitmap, ByStride>(slab_size, aligned, lazy)),
            ("bitmap, always colored", rules::<Bitmap, Colored>(slab_size, aligned, lazy)),
            ("bitmap, no colors", rules::<Bitmap, NoColor>(slab_size, aligned, lazy)),
            ("stack", rules::<IndexStack, ByStride>(slab_size, aligned, lazy)),
            ("list", rules::<IntrusiveList, ByStride>(slab_size, aligned, lazy)),
        ];
        all.extend(kinds.map(|(kind, rules)| (format!("{kind}, aligned {aligned}, lazy {lazy}"), rules)));
    }
    all
}

/// All sizes to 70,000 bytes, and from there to 1 MiB every 61st and those around powers of two; fewer under Miri.
fn sizes() -> impl Iterator<Item = usize> {
    let fine = if cfg!(miri) { 40 } else { 70_000 };
    let step = if cfg!(miri) { 9973 } else { 61 };
    let powers = (0..=20).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]);
    (0..=fine).chain((fine..1 << 20).step_by(step)).chain(powers).chain([1 << 20])
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// Bytes of the tables of a region's slabs, or of the one slab: what no choice of a slab size can save.
fn tables(shape: &Shape) -> usize {
    shape.region_slabs as usize * (shape.header_len as usize - HEADER_LEN)
}

/// Asserts the bound on waste for every size; gives the sizes whose tables alone break it.
fn sizes_beyond_the_bound(name: &str, rules: &Rules, tracked: bool) -> Vec<usize> {
    let mut beyond = Vec::new();
    for size in sizes() {
        let shape = Shape::new(rules, layout(size, 1), tracked)
            .unwrap_or_else(|error| panic!("{name}, tracked {tracked}, {size} bytes: {error}"));
        let (waste, bytes) = shape.waste();
        if waste > bytes / 8 {
            assert!(
                waste - tables(&shape) <= bytes / 8,
                "{name}, tracked {tracked}, {size} bytes: {waste} of {bytes} wasted in {shape:?}"
            );
            beyond.push(size);
        }
    }
    beyond.sort_unstable();
    beyond.dedup();
    beyond
}

/// No more than 1/8 is wasted, whatever the size: but where a table has more than an eighth of a slab by itself there is a slab all
/// the same, and the rest of the waste keeps the bound.
#[test]
fn the_fit_rule_keeps_its_bound() {
    for (name, rules) in all_rules(0) {
        let largest_beyond = |tracked| sizes_beyond_the_bound(&name, &rules, tracked).last().copied();
        let raw = largest_beyond(false);
        let tracked = if rules.keeps { largest_beyond(true) } else { None };
        if rules.object_bits == IndexStack::BITS {
            // Two bytes, and a bit if tracked, for each object; over pages there is the rest of a region's cache lines.
            assert!((Some(14)..=Some(16)).contains(&raw), "{name}: {raw:?}");
            assert!((Some(14)..=Some(17)).contains(&tracked), "{name}: {tracked:?}");
        } else {
            assert_eq!(raw, None, "{name}");
            // A bit of the bitmap and one that says constructed: a quarter of a byte.
            assert_eq!(tracked, (rules.object_bits == 1).then_some(1), "{name}");
        }
    }
}

/// Checks that the objects of every slab of a block lie where they may.
fn check_objects(name: &str, rules: &Rules, shape: &Shape, base: usize) {
    let slabs = shape.region_slabs as usize;
    let align = shape.object_align;
    let beside = rules.header_room > 0;
    let headers_end = REGION_LEN + slabs * shape.header_len as usize;
    for number in 0..slabs {
        let slab = base + number * shape.slab_size;
        let reserved = if slabs > 1 && number == 0 { shape.reserved } else { 0 };
        let start = slab + shape.first(slab);
        let first = start + reserved as usize * shape.stride;
        let end = start + shape.capacity as usize * shape.stride;
        let taken = match slabs {
            _ if beside => slab,
            1 => slab + shape.header_len as usize,
            _ if number == 0 => base + headers_end,
            _ => slab,
        };
        assert!(first >= taken, "{name}: slab {number}'s objects overlap its headers in {shape:?}");
        assert!(end <= slab + shape.slab_size, "{name}: slab {number}'s objects leave it in {shape:?}");
        assert_eq!(first % align, 0, "{name}: slab {number} in {shape:?}");
        assert!(reserved < shape.capacity, "{name}: a slab without objects in {shape:?}");
        let all = reserved..shape.capacity;
        // All of a small slab's, some of a large one's.
        for index in all.clone().step_by(all.len().div_ceil(200)).chain([shape.capacity - 1]) {
            let object = start + index as usize * shape.stride;
            assert_eq!(shape.index(slab, object), index, "{name}: slab {number} in {shape:?}");
        }
    }
    assert!(
        !beside || shape.header_len as usize <= rules.header_room,
        "{name}: the header outgrows its room in {shape:?}"
    );
    assert!(slabs == 1 || rules.aligned, "{name}: regions are found by masking");
    let tables = shape.kept_at as usize + if shape.tracked { shape.capacity as usize / 8 } else { 0 };
    assert!(tables <= shape.header_len as usize, "{name}: the tables outgrow the header of {shape:?}");
    assert_eq!(shape.kept_at % 8, 0, "{name}: the table of words in {shape:?}");
    assert!(slabs == 1 || shape.header_len % 64 == 0, "{name}: headers share a cache line in {shape:?}");
}

/// Blocks at every place that changes the colors, each as aligned as its source must make it.
fn check_shape(name: &str, rules: &Rules, shape: &Shape) {
    let block = shape.block_layout(rules.aligned);
    for place in 1..=(shape.colors() / shape.region_slabs()).clamp(1, 8) {
        let base =
            block.size().checked_next_multiple_of(block.align()).and_then(|len| len.checked_mul(place));
        // As many as there are addresses for.
        if let Some(base) = base.filter(|base| base.checked_add(block.size()).is_some()) {
            check_objects(name, rules, shape, base);
        }
    }
    assert!(shape.capacity() <= rules.capacity_max, "{name}: {shape:?}");
    assert!(shape.colors().is_power_of_two(), "{name}: {shape:?}");
}

#[test]
fn objects_lie_in_their_slabs_and_clear_of_all_headers() {
    for slab_size in [0, 256, 512, 1024, 4096, 1 << 16, 1 << 21] {
        for (name, rules) in all_rules(slab_size) {
            let name = format!("{name}, slabs of {slab_size}");
            for size in sizes().step_by(if slab_size == 0 { 23 } else { 101 }) {
                for align in [1, 8, 64, 1 << 12, 1 << 15] {
                    for tracked in [false, rules.keeps] {
                        if let Ok(shape) = Shape::new(&rules, layout(size, align), tracked) {
                            check_shape(&name, &rules, &shape);
                        }
                    }
                }
            }
        }
    }
}

/// Slabs need not be a power of two long, nor a multiple of the alignment.
#[test]
fn any_slab_size_will_do_where_slabs_are_not_masked() {
    for slab_size in [57, 100, 333, 1000, 5000, 12_345, 100_001] {
        let rules = rules::<Bitmap, Colored>(slab_size, false, false);
        for size in (1..slab_size).step_by(slab_size.div_ceil(97)) {
            for align in [1, 2, 16, 128, 1024] {
                if let Ok(shape) = Shape::new(&rules, layout(size, align), true) {
                    check_shape(&format!("slabs of {slab_size}"), &rules, &shape);
                }
            }
        }
    }
}

/// The rules of slabs whose headers lie apart, with room for a bit for every 16 bytes: those of a stock of chunks.
fn side_rules<K: FreeObjects, C: Coloring>(slab_size: usize) -> Rules {
    Rules { header_room: 64 + slab_size / 128, ..rules::<K, C>(slab_size, true, false) }
}

/// Slabs with their headers apart: objects of every size up to the slab's have a shape, and lie in the slab, which holds nothing else.
#[test]
fn where_headers_lie_apart_slabs_hold_objects_only() {
    for slab_size in (13..=20).map(|bits| 1 << bits) {
        let kinds = [
            ("bitmap", side_rules::<Bitmap, ByStride>(slab_size)),
            ("bitmap, always colored", side_rules::<Bitmap, Colored>(slab_size)),
            ("bitmap, no colors", side_rules::<Bitmap, NoColor>(slab_size)),
            ("stack", side_rules::<IndexStack, ByStride>(slab_size)),
            ("list", side_rules::<IntrusiveList, ByStride>(slab_size)),
        ];
        for (kind, rules) in &kinds {
            let name = format!("{kind}, slabs of {slab_size} with their headers apart");
            let some = sizes().filter(|&size| size < 2 * slab_size).step_by(149);
            for size in some.chain([slab_size - 1, slab_size, slab_size + 1]) {
                for align in [1, 8, 64, 1 << 12, 1 << 15] {
                    for tracked in [false, rules.keeps] {
                        let stride = size.max(rules.object_min).max(1).next_multiple_of(align);
                        match Shape::new(rules, layout(size, align), tracked) {
                            Ok(shape) => {
                                assert!(
                                    shape.region_slabs() == 1 && stride <= slab_size,
                                    "{name}: {shape:?}"
                                );
                                check_shape(&name, rules, &shape);
                            }
                            Err(error) => {
                                assert_eq!(error, ShapeError::TooLarge, "{name}: {size} bytes");
                                assert!(stride > slab_size, "{name}: {size} bytes aligned to {align}");
                            }
                        }
                    }
                }
            }
        }
    }
}

/// All objects of 16 bytes and more that have no colors are described: the slab is full of them.
#[test]
fn where_headers_lie_apart_nothing_but_the_rest_is_wasted() {
    for slab_size in [1 << 14, 1 << 15, 1 << 16] {
        let rules = side_rules::<Bitmap, NoColor>(slab_size);
        for size in (17..=slab_size).step_by(7) {
            let shape = Shape::new(&rules, layout(size, 1), false).unwrap();
            assert_eq!(shape.capacity(), slab_size / size, "{size} of {slab_size} bytes");
            assert!(shape.waste().0 < size, "{size} of {slab_size} bytes");
        }
    }
}

/// The length of slabs that the fit rule has, by its words: the least that is tried with at most 1/16 of waste, if it is not beyond the first that is eight times the least with 1/8, or
/// more; otherwise the latter. `tables` says whether these are waste.
fn fitted(rules: &Rules, layout: Layout, tracked: bool, tables: bool) -> Option<usize> {
    let least = if rules.lazy { 65_536 } else { rules.granule.max(1024) };
    let stride = layout.size().max(rules.object_min).max(1).next_multiple_of(layout.align());
    let mut tried = least.max(if rules.aligned { layout.align() } else { 1 });
    let mut eighth = None;
    while tried <= 1 << 26 {
        if let Ok(shape) = Shape::new(&Rules { slab_size: tried, ..*rules }, layout, tracked) {
            let (all, bytes) = shape.waste();
            let waste = if tables { all } else { all - self::tables(&shape) };
            if 16 * waste <= bytes {
                return Some(tried);
            }
            eighth = eighth.or((8 * waste <= bytes).then_some(tried));
        }
        // The first that is tried at eight times as much, or beyond, is the last.
        if eighth.is_some_and(|eighth| tried / 8 >= eighth) {
            break;
        }
        tried = match rules.aligned {
            true => 2 * tried,
            false => (tried + stride.max(tried / 8)).next_multiple_of(rules.granule.max(64)),
        };
    }
    eighth
}

#[test]
fn slabs_are_as_long_as_the_fit_rule_says() {
    for (name, rules) in all_rules(0) {
        let sizes = (0..60).chain((60..9000).step_by(71)).chain((9000..300_000).step_by(9973));
        for (size, align) in sizes.flat_map(|size| [(size, 1), (size, 64), (size, 1 << 16)]) {
            let tracked = rules.keeps && size % 2 == 0;
            let layout = layout(size, align);
            let shape = Shape::new(&rules, layout, tracked).unwrap();
            let expected =
                fitted(&rules, layout, tracked, true).or_else(|| fitted(&rules, layout, tracked, false));
            assert_eq!(Some(shape.slab_size), expected, "{name}, {layout:?}, tracked {tracked}: {shape:?}");
        }
    }
}

/// Objects, objects that headers have the room of, slabs of a region, colors, and bytes that are no objects: of shapes at the edges of what decides
/// on them.
#[cfg(target_pointer_width = "64")]
#[test]
fn shapes_in_numbers() {
    const PAGES: Rules = rules::<Bitmap, NoColor>(4096, true, true);
    const PAGES_COLORED: Rules = rules::<Bitmap, Colored>(1 << 16, true, true);
    const HEAP: Rules = rules::<Bitmap, Colored>(4096, true, false);
    const BY_STRIDE: Rules = rules::<Bitmap, ByStride>(1 << 16, true, false);
    let side = side_rules::<Bitmap, NoColor>(1 << 15);
    for (what, rules, size, tracked, expected) in [
        ("headers have half a slab at most", PAGES, 64, false, (64, 17, 16, 1, 1088)),
        ("a huge page", Rules { slab_size: 1 << 16, ..PAGES }, 100, true, (655, 83, 32, 1, 9452)),
        ("as aligned as may be", Rules { align_max: 1 << 16, ..PAGES }, 64, false, (64, 17, 16, 1, 1088)),
        ("less aligned", Rules { align_max: 1 << 15, ..PAGES }, 64, false, (64, 9, 8, 1, 576)),
        ("colors of a region", PAGES_COLORED, 128, false, (511, 32, 32, 2, 8192)),
        ("more colors of a region", PAGES_COLORED, 256, false, (255, 16, 32, 4, 12288)),
        ("colors that take an object", PAGES_COLORED, 136, false, (480, 30, 32, 2, 12272)),
        ("no byte is left", Rules { slab_size: 1024, color_stride: 0, ..HEAP }, 64, false, (15, 0, 1, 1, 64)),
        ("half a line has no color", HEAP, 96, false, (41, 0, 1, 1, 160)),
        ("two lines have two", HEAP, 128, true, (30, 0, 1, 2, 256)),
        ("one of nine given up is an eighth", HEAP, 448, false, (8, 0, 1, 4, 512)),
        ("one of ten would be more", HEAP, 380, false, (10, 0, 1, 4, 296)),
        ("one of eight would be more", HEAP, 500, false, (8, 0, 1, 1, 96)),
        ("as many as slack has room for", HEAP, 1300, false, (3, 0, 1, 2, 196)),
        ("just as many", HEAP, 1984, false, (2, 0, 1, 2, 128)),
        ("a multiple of the stride of colors", BY_STRIDE, 1024, false, (62, 0, 1, 16, 2048)),
        ("no multiple", BY_STRIDE, 640, false, (102, 0, 1, 1, 256)),
        ("as many as are described", side, 8, false, (2048, 0, 1, 1, 16384)),
        ("by two bits each", side, 8, true, (992, 0, 1, 1, 24832)),
        ("by one of them", Rules { object_bits: 0, ..side }, 8, true, (2048, 0, 1, 1, 16384)),
        ("eight in a slab beside", Rules { color_stride: 1, ..side }, 4096, false, (8, 0, 1, 1, 0)),
        ("nine in a slab beside", Rules { color_stride: 1, ..side }, 3600, false, (8, 0, 1, 32, 3968)),
    ] {
        let shape = Shape::new(&rules, layout(size, 1), tracked).unwrap();
        let (waste, bytes) = shape.waste();
        assert_eq!(bytes, shape.slab_size() * shape.region_slabs(), "{what}");
        let found = (shape.capacity(), shape.reserved, shape.region_slabs(), shape.colors(), waste);
        assert_eq!(found, expected, "{what}");
    }
}

/// What the shape can't do it says.
#[test]
fn layouts_that_have_no_shape_are_refused() {
    let shape = |rules: &Rules, size, align| Shape::new(rules, layout(size, align), false).map(|_| ());
    let heap = rules::<Bitmap, ByStride>(0, true, false);
    let pages = rules::<Bitmap, ByStride>(0, true, true);
    let large = rules::<Bitmap, ByStride>(0, false, true);
    for rules in [&heap, &pages, &large] {
        assert_eq!(shape(rules, isize::MAX as usize, 1), Err(ShapeError::TooLarge));
        assert_eq!(shape(rules, 1, 1 << (usize::BITS - 2)), Err(ShapeError::TooLarge));
        assert_eq!(shape(rules, (1 << 29) + 1, 1), Err(ShapeError::TooLarge));
        assert_eq!(shape(rules, 64 << 20, 1), Ok(()));
        assert_eq!(shape(rules, 1, 1 << 20), Ok(()));
        assert_eq!(shape(rules, 0, 1), Ok(()));
        assert_eq!(shape(rules, 5, 4), Ok(()));
    }
    let of_seven = Shape::new(&heap, layout(140 << 20, 1), false).map(|shape| shape.slab_size());
    assert_eq!(of_seven, Ok(1 << 30), "the longest slab is one");
    let longest = Rules { slab_size: 1 << 30, ..heap };
    assert_eq!([shape(&longest, 1 << 29, 1), shape(&longest, 1, 1 << 28)], [Ok(()); 2]);
    assert_eq!(
        [shape(&longest, (1 << 29) + 1, 1), shape(&longest, 1, 1 << 29)],
        [Err(ShapeError::TooLarge); 2]
    );
    let unaligning = Rules { align_max: 16, ..heap };
    assert_eq!(shape(&unaligning, 8, 8), Err(ShapeError::Unaligned));
    assert_eq!(shape(&Rules { aligned: false, ..unaligning }, 8, 8), Ok(()));
    assert_eq!(shape(&Rules { aligned: false, ..unaligning }, 8, 16), Ok(()));
    assert_eq!(shape(&Rules { aligned: false, ..unaligning }, 8, 32), Err(ShapeError::Unaligned));
    assert_eq!(shape(&Rules { slab_size: 3000, ..heap }, 8, 8), Err(ShapeError::NotAPowerOfTwo));
    let side = side_rules::<Bitmap, ByStride>(1 << 15);
    assert_eq!(shape(&Rules { slab_size: 3000, ..side }, 8, 8), Err(ShapeError::NotAPowerOfTwo));
    assert_eq!(shape(&side, 1 << 15, 1 << 15), Ok(()));
    assert_eq!(shape(&side, (1 << 15) + 1, 1), Err(ShapeError::TooLarge));
    assert_eq!(shape(&side, 1, 1 << 16), Err(ShapeError::TooLarge));
    assert_eq!(shape(&side, isize::MAX as usize, 1), Err(ShapeError::TooLarge));
    assert_eq!(shape(&Rules { slab_size: 2 << 30, ..heap }, 8, 8), Err(ShapeError::TooLarge));
    assert_eq!(shape(&Rules { slab_size: 10, ..large }, 1, 1), Err(ShapeError::TooLarge));
    let list = rules::<IntrusiveList, ByStride>(0, true, true);
    assert_eq!(Shape::new(&list, layout(8, 8), true).map(|_| ()), Err(ShapeError::Overwritten));
}

/// Whatever a bookkeeping and a source say of themselves: a shape that holds, or an error.
#[test]
fn rules_of_any_kind_give_a_shape_that_holds_or_an_error() {
    let mut random = 1_u64;
    let mut pick = |from: &[usize]| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        from[(random >> 33) as usize % from.len()]
    };
    let top = usize::BITS - 1;
    let mut shapes = 0;
    for _ in 0..if cfg!(miri) { 200 } else { 40_000 } {
        let rules = Rules {
            slab_size: pick(&[
                0,
                0,
                1,
                3,
                56,
                57,
                63,
                64,
                100,
                128,
                1000,
                4096,
                1 << 21,
                1 << 29,
                1 << 30,
                2 << 30,
                usize::MAX,
            ]),
            aligned: pick(&[0, 1]) == 0,
            granule: 1 << pick(&[0, 3, 12, 16, 21, 30, 31, top as usize]),
            align_max: 1 << pick(&[0, 2, 4, 12, 16, 21, 30, 31, top as usize]),
            lazy: pick(&[0, 1]) == 0,
            object_bits: pick(&[0, 1, 2, 7, 16, 64, 1000, 1 << 20, 1 << 31, usize::MAX / 64, usize::MAX]),
            object_min: pick(&[0, 1, 2, 8, 1 << 30, usize::MAX]),
            capacity_max: pick(&[0, 1, 2, 63, 65_535, u32::MAX as usize, usize::MAX]),
            keeps: true,
            color_stride: pick(&[0, 1, 3, 512, 1 << top]),
            header_room: pick(&[0, 0, 0, HEADER_LEN + 17, 128, 576, 1 << 20, usize::MAX]),
            ..Rules::new(0).with_zone(pick(&[0, 0, 8, 4096, usize::MAX]))
        };
        // Headers lie apart from aligned slabs only: `Rules::beside`.
        let rules = Rules { header_room: if rules.aligned { rules.header_room } else { 0 }, ..rules };
        let align = 1 << pick(&[0, 0, 1, 3, 4, 6, 12, 20, 28, 29]);
        let size = pick(&[
            0,
            1,
            2,
            3,
            7,
            8,
            24,
            64,
            100,
            511,
            512,
            513,
            4096,
            65_536,
            1 << 28,
            (1 << 29) - 1,
            1 << 29,
        ]);
        let tracked = pick(&[0, 1]) == 0;
        if let Ok(shape) = Shape::new(&rules, layout(size, align), tracked) {
            let bits = (rules.object_bits as u128) * shape.capacity as u128;
            let kept = if tracked { u128::from(shape.capacity) } else { 0 };
            assert!(
                HEADER_LEN as u128 + bits.div_ceil(8) + kept.div_ceil(8) <= shape.header_len as u128,
                "{rules:?} {shape:?}"
            );
            assert!(shape.stride >= 1.max(size).max(rules.object_min), "{rules:?}: {shape:?}");
            // Slabs with their headers apart are asked for otherwise.
            assert!(
                rules.header_room > 0 || shape.block_layout(rules.aligned).align() <= rules.align_max,
                "{rules:?}: {shape:?}"
            );
            check_shape(&format!("{rules:?}"), &rules, &shape);
            shapes += 1;
        }
    }
    assert!(shapes > 0);
}

/// Memory for slabs of 1 KiB.
#[repr(align(1024))]
struct Slabs([MaybeUninit<u8>; 2048]);

/// What comes back raw is no longer counted as constructed, and what is constructed comes out first.
#[test]
fn objects_that_come_back_raw_are_not_constructed() {
    type System<'a> = AlignedSlabs<Buffer<'a>, 1024>;
    let mut memory = Slabs([MaybeUninit::uninit(); 2048]);
    let (mut system, mut source) = (System::NEW, Buffer::from_slice(&mut memory.0));
    let shape = Shape::new(&System::RULES, layout(16, 8), true).unwrap();
    let constructed = |system: &System<'_>| {
        // SAFETY: the shape is that of all calls.
        unsafe { system.slab(&shape, 0) }.map(|slab| slab.constructed())
    };
    let mut objects = Vec::new();
    for _ in 0..5 {
        let mut out = [MaybeUninit::uninit()];
        // SAFETY: source and shape are those of all calls.
        let taken = unsafe { system.take(&mut source, &shape, &mut out) }.unwrap();
        assert_eq!(taken, Taken { count: 1, constructed: false });
        // SAFETY: one was taken.
        objects.push(unsafe { out[0].assume_init() });
    }
    // In no order, so that they are brought back one by one.
    let scattered = [0, 3, 1, 4, 2].map(|at| objects[at]);
    // SAFETY: all were taken, and come back once.
    unsafe { system.put(&shape, &scattered, true) };
    assert_eq!(constructed(&system), Some(5));
    let mut out = [MaybeUninit::uninit(); 8];
    // SAFETY: source and shape are those of all calls.
    let taken = unsafe { system.take(&mut source, &shape, &mut out) }.unwrap();
    assert_eq!((taken, constructed(&system)), (Taken { count: 5, constructed: true }, Some(0)));
    // SAFETY: all were taken, and come back once.
    unsafe { system.put(&shape, &scattered[..3], true) };
    // SAFETY: as above.
    unsafe { system.put(&shape, &scattered[3..], false) };
    assert_eq!(constructed(&system), Some(3));
    // SAFETY: source and shape are those of all calls.
    let taken = unsafe { system.take(&mut source, &shape, &mut out) }.unwrap();
    assert_eq!(taken, Taken { count: 3, constructed: true });
    // SAFETY: the three that have just been taken, and come back once.
    unsafe { system.put(&shape, &scattered[..3], false) };
    assert_eq!(constructed(&system), Some(0));
    // SAFETY: the shape is that of all calls.
    assert_eq!(unsafe { system.verify(&shape) }, Ok(()));
}

/// Behind the last object of a slab, where the alignment leaves a rest, there is none, live or free.
#[test]
fn behind_the_last_object_there_is_none() {
    fn run<K: FreeObjects>() {
        let mut memory = Slabs([MaybeUninit::uninit(); 2048]);
        let mut source = Buffer::from_slice(&mut memory.0);
        let mut system = LargeSlabs::<Buffer<'_>, 1000, K, NoColor>::NEW;
        let rules = LargeSlabs::<Buffer<'_>, 1000, K, NoColor>::RULES;
        let shape = Shape::new(&rules, layout(16, 16), false).unwrap();
        let mut out = [MaybeUninit::uninit(); 3];
        // SAFETY: source and shape are those of all calls.
        unsafe { system.take(&mut source, &shape, &mut out) }.unwrap();
        // SAFETY: the shape is that of all calls.
        let slab = unsafe { system.slab(&shape, 0) }.unwrap();
        let end = slab.address() + slab.objects_at() + slab.capacity() * slab.stride();
        assert!(end < slab.address() + slab.len());
        assert_eq!(slab.place_of(end - 16), Err(Wrong::DoubleFree));
        assert_eq!([end, end + 1, end + 7].map(|address| slab.place_of(address)), [Err(Wrong::Foreign); 3]);
        let last = slab.capacity() - 1;
        assert_eq!([last, last + 1, last + 2].map(|number| slab.is_free(number)), [true, false, false]);
    }
    run::<Bitmap>();
    run::<IndexStack>();
    run::<IntrusiveList>();
}

/// Slabs that say no more than a system has to, and find the slab of any address.
struct Least<'a>(AlignedSlabs<Buffer<'a>, 1024>);

// SAFETY: that of the system within, to which all goes.
unsafe impl<'a> SlabSystem for Least<'a> {
    type Source = Buffer<'a>;
    const RULES: Rules = AlignedSlabs::<Buffer<'a>, 1024>::RULES;
    const NEW: Self = Least(AlignedSlabs::NEW);
    const LOOKUP: Lookup = AlignedSlabs::<Buffer<'a>, 1024>::LOOKUP;

    unsafe fn take(
        &mut self,
        source: &mut Buffer<'a>,
        shape: &Shape,
        out: &mut [MaybeUninit<NonNull<u8>>],
    ) -> Result<Taken, AllocError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.take(source, shape, out) }
    }

    unsafe fn put(&mut self, shape: &Shape, objects: &[NonNull<u8>], constructed: bool) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.put(shape, objects, constructed) };
    }

    unsafe fn detach(&mut self, shape: &Shape, any: bool) -> Option<Slab> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.detach(shape, any) }
    }

    unsafe fn release(&mut self, source: &mut Buffer<'a>, shape: &Shape, slab: Slab) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.release(source, shape, slab) };
    }

    fn census(&self) -> Census {
        self.0.census()
    }

    unsafe fn slab_at(&self, shape: &Shape, address: usize) -> Option<SlabInfo<'_>> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.slab_at(shape, address) }
    }
}

/// What is found for any address is found for one that lies in a slab, whether or not a system has a shorter way.
#[test]
fn a_slab_is_found_by_its_objects() {
    let mut memory = Slabs([MaybeUninit::uninit(); 2048]);
    let (mut system, mut source) = (Least::NEW, Buffer::from_slice(&mut memory.0));
    let shape = Shape::new(&Least::RULES, layout(16, 8), false).unwrap();
    let mut out = [MaybeUninit::uninit()];
    // SAFETY: source and shape are those of all calls.
    unsafe { system.take(&mut source, &shape, &mut out) }.unwrap();
    // SAFETY: one was taken.
    let object = unsafe { out[0].assume_init() }.addr().get();
    // SAFETY: the shape is that of all calls, and the object lies in a slab.
    let found = unsafe { system.slab_of(&shape, object) }.map(|slab| (slab.address(), slab.place_of(object)));
    assert_eq!(found, Some((object & !1023, Ok(()))));
}

/// Where the first slab of a region has its headers, no object is.
#[cfg(all(feature = "os", not(miri)))]
#[test]
fn in_the_room_of_a_regions_headers_there_is_no_object() {
    use crate::source::Pages;
    type System = AlignedSlabs<Pages, 4096>;
    let (mut system, mut source) = (System::NEW, Pages);
    let shape = Shape::new(&System::RULES, layout(32, 8), false).unwrap();
    assert!(shape.region_slabs > 1 && shape.reserved > 0);
    let mut objects = Vec::new();
    for _ in 0..shape.region_slabs as usize * shape.capacity() - shape.reserved as usize {
        let mut out = [MaybeUninit::uninit()];
        // SAFETY: source and shape are those of all calls.
        unsafe { system.take(&mut source, &shape, &mut out) }.unwrap();
        // SAFETY: one was taken.
        objects.push(unsafe { out[0].assume_init() });
    }
    let mut firsts = 0;
    for number in 0..system.census().slabs {
        // SAFETY: the shape is that of all calls.
        let slab = unsafe { system.slab(&shape, number) }.unwrap();
        firsts += usize::from(slab.reserved > 0);
        let objects = slab.address() + slab.objects_at();
        assert_eq!(slab.place_of(objects), Ok(()));
        for before in 1..=slab.reserved as usize {
            assert_eq!(slab.place_of(objects - before * slab.stride()), Err(Wrong::Foreign));
        }
        assert!(!slab.is_free(0) && !slab.is_free(slab.capacity()), "all are taken, and no more are there");
    }
    assert_eq!(firsts, 1);
    // SAFETY: all were taken, and come back once.
    unsafe { system.put(&shape, &objects, false) };
    // SAFETY: the shape is that of all calls.
    let is_free = |number| unsafe { system.slab(&shape, 0) }.unwrap().is_free(number);
    assert_eq!([0, usize::MAX, shape.capacity()].map(is_free), [true, false, false]);
    // SAFETY: the shape is that of all calls.
    while let Some(slab) = unsafe { system.detach(&shape, false) } {
        // SAFETY: it has just been detached, and nobody needs its objects.
        unsafe { system.release(&mut source, &shape, slab) };
    }
    assert_eq!(system.census().slabs, 0);
}
