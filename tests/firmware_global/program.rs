//! A small program whose every allocation comes from a preset for firmware: strings, a map, a thread, a caught panic.

use std::collections::BTreeMap;
use std::panic;
use std::thread;

/// Words and how often they come.
fn count(text: &str) -> BTreeMap<String, usize> {
    let mut words = BTreeMap::new();
    for word in text.split(' ') {
        *words.entry(word.to_string()).or_default() += 1;
    }
    words
}

/// Runs the program several times over; `objects` says how many blocks are live.
pub(crate) fn main(objects: impl Fn() -> usize) {
    assert!(objects() > 0 || std::env::args().count() == 0, "the heap is not the one that is used");
    panic::set_hook(Box::new(|_| ()));
    let run = || {
        let text = "one two three two three three".repeat(3);
        let words = count(&text);
        assert_eq!((words["three"], words["two"]), (7, 6));
        let mut numbers: Vec<u16> = (0..300).collect();
        numbers.retain(|number| number % 3 == 0);
        numbers.shrink_to_fit();
        let sum = thread::spawn(move || numbers.iter().map(|&number| u32::from(number)).sum::<u32>());
        assert_eq!(sum.join().unwrap(), 14850);
        let caught = panic::catch_unwind(|| {
            let held = String::from("held");
            panic!("with {held}");
        });
        assert_eq!(*caught.unwrap_err().downcast::<String>().unwrap(), "with held");
    };
    run();
    let before = objects();
    for _ in 0..200 {
        run();
    }
    assert_eq!(objects(), before, "nothing is left behind");
}
