
/// Which mutant this process runs.
#[doc(hidden)]
pub mod mutant {
    extern crate std;
    use core::ffi::{c_char, c_int};
    use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};

    const MOST: usize = 1 << 14;
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    static RECORDS: AtomicBool = AtomicBool::new(false);
    static REACHED: [AtomicU8; MOST] = [const { AtomicU8::new(0) }; MOST];

    unsafe extern "C" {
        fn getenv(name: *const c_char) -> *const c_char;
        fn atoi(text: *const c_char) -> c_int;
        fn atexit(end: extern "C" fn()) -> c_int;
    }

    #[used]
    #[unsafe(link_section = ".init_array")]
    static BEGIN: extern "C" fn() = begin;

    extern "C" fn begin() {
        // SAFETY: C strings, and what the C library gives.
        unsafe {
            let number = getenv(c"MUTANT".as_ptr());
            if !number.is_null() {
                NUMBER.store(atoi(number) as u32, Relaxed);
            }
            if !getenv(c"MUTANTS_REACHED".as_ptr()).is_null() {
                RECORDS.store(true, Relaxed);
                atexit(end);
            }
        }
    }

    extern "C" fn end() {
        let reached: std::vec::Vec<u8> = REACHED.iter().map(|reached| reached.load(Relaxed)).collect();
        let path = std::format!("{}/{}", std::env::var("MUTANTS_REACHED").unwrap(), std::process::id());
        let _ = std::fs::write(path, reached);
    }

    fn at_run_time(number: u32) -> bool {
        if RECORDS.load(Relaxed) {
            REACHED[number as usize].store(1, Relaxed);
        }
        NUMBER.load(Relaxed) == number
    }

    const fn at_compile_time(_: u32) -> bool {
        false
    }

    #[inline]
    pub const fn is(number: u32) -> bool {
        core::intrinsics::const_eval_select((number,), at_compile_time, at_run_time)
    }
}
