//! Arenas of every sizing, with each policy of checks, bounded and not, in regions of any length and place.

#![no_main]

use core::mem::MaybeUninit;

use drive::drive_inspected;
use heapwright::arena::Arena;
use heapwright::check::Hardened;
use heapwright::sizing::{Bounded, Checked, Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [sizing, len, more, from, script @ ..] = bytes else { return };
    let len = usize::from(*len) << (more % 8);
    match sizing % 12 {
        0 => arena::<Sizing4KiB>(len, *from, script),
        1 => arena::<Sizing128KiB>(len, *from, script),
        2 => arena::<Sizing16MiB>(len, *from, script),
        3 => arena::<Checked<Sizing4KiB>>(len, *from, script),
        4 => arena::<Checked<Sizing128KiB>>(len, *from, script),
        5 => arena::<Checked<Bounded<Sizing16MiB>>>(len, *from, script),
        6 => arena::<Bounded<Sizing128KiB>>(len, *from, script),
        7 => arena::<Bounded<Sizing16MiB>>(len, *from, script),
        8 => arena::<Checked<Sizing4KiB, Hardened>>(len, *from, script),
        9 => arena::<Checked<Sizing128KiB, Hardened>>(len, *from, script),
        10 => arena::<Checked<Sizing16MiB, Hardened>>(len, *from, script),
        _ => arena::<Checked<Bounded<Sizing128KiB>, Hardened>>(len, *from, script),
    }
});

/// Memory of its own for each arena: the sanitizer sees what goes past either end.
fn arena<S: Sizing>(len: usize, from: u8, script: &[u8]) {
    let from = usize::from(from % 64);
    let mut memory = vec![MaybeUninit::<u8>::uninit(); from + len];
    let mut arena = Arena::<S>::from_slice(&mut memory[from..]);
    drive_inspected(&mut arena, script);
}
