//! Fronts per CPU, whatever the function answers.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use heapwright::cache::{Magazined, PerCpu, UntypedObjectAlloc};
use heapwright::lock::{NoLock, SpinLock};

use crate::checked::Checked;
use crate::many_threads::{collect, exchange, places};
use crate::{give, take};

thread_local! {
    /// The CPU that a test wants its thread to be on.
    static CPU: Cell<usize> = const { Cell::new(0) };
}

fn this_cpu() -> usize {
    CPU.get()
}

/// A machine that moves threads all the time.
fn restless() -> usize {
    static CALLS: AtomicUsize = AtomicUsize::new(usize::MAX - 100);
    CALLS.fetch_add(1, Ordering::Relaxed)
}

#[test]
fn each_cpu_has_a_front() {
    let cache: PerCpu<Magazined<Checked, NoLock, 4, 2>, 2> =
        PerCpu::new(Magazined::new(Checked::new()), this_cpu);
    let slot = take(&cache, 1)[0];
    assert_eq!(cache.magazined().cache().out(), 4);
    CPU.set(1);
    let other = take(&cache, 1)[0];
    assert_eq!(cache.magazined().cache().out(), 8, "this one has nothing yet");
    give(&cache, [slot]);
    assert_eq!(take(&cache, 1), [slot]);
    CPU.set(2);
    give(&cache, [other]);
    CPU.set(usize::MAX - 1);
    assert_eq!(take(&cache, 1), [other], "modulo the number of CPUs");
    give(&cache, [slot, other]);
    cache.flush();
    cache.magazined().reap();
    assert_eq!(cache.magazined().cache().out(), 0);
    give(&cache, take(&cache, 20));
    // The cache checks when it is dropped that nothing is missing.
}

#[test]
fn threads_may_be_moved_at_any_time() {
    let cache: PerCpu<Magazined<Checked, SpinLock, 4, 2>, 3> =
        PerCpu::new(Magazined::new(Checked::new()), restless);
    let places = places();
    thread::scope(|scope| {
        for thread_idx in 0..2 {
            let (cache, places) = (&cache, &places);
            scope.spawn(move || exchange(thread_idx, cache, places));
        }
    });
    give(&cache, collect(&places));
    cache.flush();
    cache.magazined().reap();
    assert_eq!(cache.magazined().cache().out(), 0);
}

/// User code in the inner cache runs under no lock: it may use all fronts.
#[test]
fn a_constructor_may_use_the_fronts() {
    static CACHE: PerCpu<Magazined<Checked, SpinLock, 4, 2>, 2> =
        PerCpu::new(Magazined::new(Checked::new()), restless);
    static KEPT: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    CACHE.magazined().cache().set_constructor(Some(Box::new(|| {
        let slots = take(&CACHE, 9);
        KEPT.lock().unwrap().push(slots[0].as_ptr().expose_provenance());
        give(&CACHE, slots.into_iter().skip(1));
    })));
    let slots = take(&CACHE, 30);
    CACHE.magazined().cache().set_constructor(None);
    let kept = KEPT.lock().unwrap();
    let kept =
        kept.iter().map(|&slot| std::ptr::NonNull::new(std::ptr::with_exposed_provenance_mut(slot)).unwrap());
    let all: Vec<_> = slots.into_iter().chain(kept).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    give(&CACHE, all);
    CACHE.flush();
    CACHE.magazined().reap();
    assert_eq!(CACHE.magazined().cache().out(), 0);
    assert!(CACHE.alloc_slot().is_ok());
}

/// A layer is as good as new by its default, over a cache by its own.
#[test]
fn a_layer_has_a_default() {
    let layer = Magazined::<Checked, SpinLock, 4, 2>::default();
    let handle = layer.handle();
    give(&handle, take(&handle, 9));
    assert_eq!(layer.cache().out(), 12, "whole magazines");
    drop(handle);
    layer.reap();
    assert_eq!(layer.cache().out(), 0);
}

fn nowhere() -> usize {
    panic!("a machine without CPUs");
}

/// A function that panics ends the process: nothing unwinds out of an allocator.
#[test]
#[cfg(not(any(miri, target_family = "wasm")))]
fn a_panic_in_the_function_aborts() {
    const CHILD: &str = "HEAPWRIGHT_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let cache: PerCpu<Magazined<Checked, NoLock, 4, 2>, 2> =
            PerCpu::new(Magazined::new(Checked::new()), nowhere);
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cache.alloc_slot().is_ok()));
        std::process::exit(0);
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "per_cpu::a_panic_in_the_function_aborts"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(!output.status.success() && output.status.code() != Some(101), "it went on: {output:?}");
}
