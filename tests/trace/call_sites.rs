//! What is written of call sites: with the program's own, which stand for a walk over the stack.

use std::alloc::{Layout, System};
use std::cell::Cell;
use std::ptr::NonNull;

use heapwright::heap::SharedHeap;
use heapwright::trace::{AnyGlobal, BySize, CallSites, HeapProfile, Symbol, Traced};

use crate::formats::{Json, fields, parsed};

std::thread_local! {
    /// Where the thread is, from the innermost call to the outermost.
    static CALLS: Cell<&'static [usize]> = const { Cell::new(&[]) };
}

/// Call sites that are said: 1 and 2 are calls within libraries, all others are the program's.
struct Said;

impl CallSites for Said {
    fn capture(frames: &mut [usize]) -> usize {
        let calls = CALLS.get();
        frames[..calls.len()].copy_from_slice(calls);
        calls.len()
    }

    fn resolve(frame: usize) -> Vec<Symbol> {
        let name = match frame {
            1 => "alloc::vec::push".into(),
            2 => "std::io::read".into(),
            // Two functions, one compiled into the other, and that one into others as well.
            90 => return ["program::inner", "program::outer"].map(symbol).to_vec(),
            91 => "program::inner".into(),
            other => format!("program::call_{other}"),
        };
        vec![symbol(&name)]
    }
}

fn symbol(name: &str) -> Symbol {
    Symbol { name: name.into(), file: Some("src/main.rs".into()), line: Some(5) }
}

type Heap = Traced<HeapProfile<Said>, AnyGlobal<System>>;

fn heap() -> Heap {
    Heap::new(HeapProfile::new(), AnyGlobal::new(System))
}

const LAYOUT: Layout = Layout::new::<[u64; 4]>();

/// A block for each of the call sites.
fn alloc_at(heap: &Heap, sites: &[&'static [usize]]) -> Vec<NonNull<u8>> {
    let alloc = |&calls: &&'static [usize]| {
        CALLS.set(calls);
        heap.try_alloc(LAYOUT).unwrap().cast()
    };
    let blocks = sites.iter().map(alloc).collect();
    CALLS.set(&[]);
    blocks
}

fn free_all(heap: &Heap, blocks: Vec<NonNull<u8>>) {
    // SAFETY: each is live, and its layout this one.
    blocks.into_iter().for_each(|block| unsafe { heap.free(block, LAYOUT) });
}

/// What a leak report says of blocks that come from these call sites.
fn leaks_of(sites: &[&'static [usize]]) -> String {
    let heap = heap();
    let mut text = Vec::new();
    let report = heap.sink().report_leaks(&mut text);
    let blocks = alloc_at(&heap, sites);
    drop(report);
    free_all(&heap, blocks);
    String::from_utf8(text).unwrap()
}

#[test]
fn a_leak_is_shown_with_the_programs_own_calls() {
    let text = leaks_of(&[&[1, 2, 10, 11]]);
    let calls: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let expected = ["alloc::vec::push", "program::call_10", "program::call_11"];
    assert_eq!(calls, expected.map(|name| format!("{name} (src/main.rs:5)")), "{text}");
}

#[test]
fn a_deep_stack_is_shown_in_part() {
    let text = leaks_of(&[&[10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]]);
    let calls: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("    program::call_")).collect();
    assert_eq!((calls.len(), &calls[11][..2]), (12, "21"), "{text}");
}

/// Call sites of one call each.
static MANY: [[usize; 1]; 25] = {
    let mut sites = [[0]; 25];
    let mut idx = 0;
    while idx < sites.len() {
        sites[idx] = [100 + idx];
        idx += 1;
    }
    sites
};

fn many() -> Vec<&'static [usize]> {
    MANY.iter().map(<[usize; 1]>::as_slice).collect()
}

#[test]
fn of_many_leaks_the_largest_are_shown() {
    let text = leaks_of(&many());
    assert!(text.starts_with("not freed: 800 bytes in 25 blocks, from 25 call sites\n"), "{text}");
    assert_eq!(text.matches("program::call_").count(), 20);
    assert!(text.ends_with("\nand 5 more call sites\n"), "{text}");
}

#[test]
fn a_summary_says_how_many_call_sites_it_leaves_out() {
    let heap = heap();
    let blocks = alloc_at(&heap, &many());
    let text = heap.sink().profile().to_string();
    free_all(&heap, blocks);
    assert_eq!(text.matches("program::call_").count(), 10, "{text}");
    assert!(text.trim_end().ends_with(" 15 more"), "{text}");
}

#[test]
fn estimates_are_said_to_be_some() {
    let profile = <HeapProfile>::sampled(1 << 12).profile();
    assert!(profile.to_string().contains("\nestimated from one block in 4096 bytes\n"), "{profile}");
    let svg = profile.timeline_svg("sampled").to_string();
    assert!(svg.contains("peak 0 bytes in 0 blocks, estimated from one block in 4096 bytes</text>"), "{svg}");
}

#[test]
fn dhat_names_each_call_once() {
    let heap = heap();
    let blocks = alloc_at(&heap, &[&[1, 10], &[11, 10]]);
    let mut bytes = Vec::new();
    heap.sink().profile().write_dhat(&mut bytes).unwrap();
    free_all(&heap, blocks);
    let Json::Map(file) = parsed(&String::from_utf8(bytes).unwrap()) else { panic!("no map") };
    let (Json::List(sites), Json::List(frames)) = (&file["pps"], &file["ftbl"]) else { panic!("{file:?}") };
    let stacks = sites.iter().map(|site| match site {
        Json::Map(site) => &site["fs"],
        other => panic!("{other:?}"),
    });
    let number = |number| Json::Number(number);
    let expected = [Json::List(vec![number(1), number(2)]), Json::List(vec![number(3), number(2)])];
    assert!(stacks.eq(&expected), "{sites:?}");
    let names = ["[root]", "0x1: alloc::vec::push (src/main.rs:5)", "0xa: program::call_10 (src/main.rs:5)"];
    assert_eq!(frames[..3], names.map(|name| Json::Text(name.into())));
    assert_eq!(frames.len(), 4);
}

#[test]
fn pprof_has_each_function_and_each_location_once() {
    let heap = heap();
    let blocks = alloc_at(&heap, &[&[90, 10], &[91, 10]]);
    let mut bytes = Vec::new();
    heap.sink().profile().write_pprof(&mut bytes).unwrap();
    free_all(&heap, blocks);
    let all = fields(&bytes);
    let of = |number: u64| all.iter().filter(move |field| field.0 == number);
    assert_eq!(of(2).count(), 2, "two call sites");
    // Those of 90, 91 and 10; the functions `inner`, `outer` and `call_10`.
    let locations: Vec<_> = of(4).map(|location| fields(location.2)).collect();
    assert_eq!((locations.len(), of(5).count()), (3, 3));
    let lines = locations.iter().map(|location| location.iter().filter(|field| field.0 == 4).count());
    assert!(lines.eq([2, 1, 1]), "two functions at one address");
}

/// Without call sites no number stands for a place.
#[test]
fn sizes_are_no_places() {
    assert_eq!((BySize::capture(&mut [0; 8]), BySize::resolve(7)), (0, vec![]));
}

/// What is known of a place is shown, and no more.
#[test]
fn a_symbol_shows_what_is_known() {
    let whole = symbol("main");
    assert_eq!(whole.to_string(), "main (src/main.rs:5)");
    assert_eq!(Symbol { line: None, ..whole.clone() }.to_string(), "main (src/main.rs)");
    assert_eq!(Symbol { file: None, ..whole }.to_string(), "main");
}
