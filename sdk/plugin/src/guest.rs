//! The trait an author implements, the loop around it, and the macro that exports both.
//!
//! Takes events from the host by `next`, gives a verdict for each by `done`. Everything allocated for an event is
//! dropped before the next one is asked for.

use alloc::vec::Vec;

use crate::abi;
use crate::event::Event;
use crate::manifest::Manifest;
use crate::reject::Reject;
use crate::state::{Snapshot, State};
use crate::step::Step;

/// How one call of [`Plugin::migrate`] ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The state is what this module expects.
    Finished,
    /// Part of it was done and written; call again. Keep the cursor in a key.
    Again,
}

/// A plugin. There is no `self`: whatever is to last is a key.
pub trait Plugin {
    /// Who this is and what it wants. Pure.
    fn describe() -> Manifest;

    /// When installed, and when configured anew: canonical JSON of the configuration.
    ///
    /// # Errors
    /// A configuration that makes no sense.
    fn init(state: &mut State, config: &[u8]) -> Result<(), Reject> {
        let _ = (state, config);
        Ok(())
    }

    /// When this module follows one with another state version.
    ///
    /// # Errors
    /// A version it cannot follow: by default every one.
    fn migrate(state: &mut State, from: u32, config: &[u8]) -> Result<Progress, Reject> {
        let _ = (state, from, config);
        Err(Reject::new("no_migration"))
    }

    /// One event. State is written when this returns `Ok`, and only then.
    ///
    /// # Errors
    /// The event breaks a rule of the plugin; nothing of the step stays.
    fn apply(step: &mut Step, event: &Event) -> Result<(), Reject>;

    /// Answers a request with canonical JSON, `{"body":…,"status":…}`.
    fn query(state: &mut Snapshot, request: &[u8]) -> Vec<u8>;
}

/// `describe` as the host calls it.
#[must_use]
pub fn describe<P: Plugin>() -> Vec<u8> {
    P::describe().to_json()
}

/// `init` as the host calls it.
pub fn init<P: Plugin>(config: &[u8]) -> u32 {
    let mut state = State::default();
    ended(P::init(&mut state, config).map(|()| Progress::Finished), &mut state)
}

/// `migrate` as the host calls it.
pub fn migrate<P: Plugin>(from: u32, config: &[u8]) -> u32 {
    let mut state = State::default();
    ended(P::migrate(&mut state, from, config), &mut state)
}

fn ended(end: Result<Progress, Reject>, state: &mut State) -> u32 {
    match end {
        Ok(progress) => {
            state.flush();
            if progress == Progress::Again { 2 } else { 0 }
        }
        Err(reject) => {
            abi::done(false, reject.code());
            1
        }
    }
}

/// `run` as the host calls it: the pull loop.
pub fn run<P: Plugin>() {
    while let Some(record) = abi::next() {
        let Some(event) = Event::new(record) else { panic!("the host's record is not one") };
        let mut step = Step::default();
        match P::apply(&mut step, &event) {
            Ok(()) => {
                step.state.flush();
                abi::done(true, "");
            }
            Err(reject) => abi::done(false, reject.code()),
        }
    }
}

/// `query` as the host calls it.
#[must_use]
pub fn query<P: Plugin>(request: &[u8]) -> Vec<u8> {
    P::query(&mut Snapshot::default(), request)
}

/// Makes a module of a plugin: its exports, its allocator and its panic handler. Does nothing on other targets than
/// wasm32, where the plugin is a plain crate that tests call.
///
/// `export!(MyPlugin)` is for a crate that is `no_std` on wasm32; `export!(MyPlugin, std)` leaves out allocator and panic
/// handler, which std brings itself.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[global_allocator]
        static ALLOCATOR: $crate::abi::Allocator = $crate::abi::Allocator::new();

        #[cfg(target_arch = "wasm32")]
        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            $crate::abi::stop()
        }

        $crate::export!($plugin, std);
    };
    ($plugin:ty, std) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[unsafe(no_mangle)]
            extern "C" fn cabi_realloc(old: *mut u8, old_size: usize, align: usize, new_size: usize) -> *mut u8 {
                unsafe { $crate::abi::cabi_realloc(old, old_size, align, new_size) }
            }

            #[unsafe(no_mangle)]
            extern "C" fn describe(ret: *mut u32) {
                unsafe { $crate::abi::give($crate::describe::<$plugin>(), ret) }
            }

            #[unsafe(no_mangle)]
            extern "C" fn init(config: *mut u8, config_len: usize) -> u32 {
                $crate::init::<$plugin>(&unsafe { $crate::abi::take(config, config_len) })
            }

            #[unsafe(no_mangle)]
            extern "C" fn migrate(from: u32, config: *mut u8, config_len: usize) -> u32 {
                $crate::migrate::<$plugin>(from, &unsafe { $crate::abi::take(config, config_len) })
            }

            #[unsafe(no_mangle)]
            extern "C" fn run() {
                $crate::run::<$plugin>();
            }

            #[unsafe(no_mangle)]
            extern "C" fn query(request: *mut u8, request_len: usize, ret: *mut u32) {
                let request = unsafe { $crate::abi::take(request, request_len) };
                unsafe { $crate::abi::give($crate::query::<$plugin>(&request), ret) }
            }
        };
    };
}
