//! On a Cortex-M4. The exit code of the emulator tells how it went.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod chip {
    // Its critical sections: interrupts masked.
    use cortex_m as _;
    use cortex_m_semihosting::{debug, hprintln};

    #[cortex_m_rt::entry]
    fn main() -> ! {
        bare::run();
        hprintln!("passed");
        debug::exit(debug::EXIT_SUCCESS);
        loop {}
    }

    #[panic_handler]
    fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
        hprintln!("{}", info);
        debug::exit(debug::EXIT_FAILURE);
        loop {}
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    bare::run();
}
