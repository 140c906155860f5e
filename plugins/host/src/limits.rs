//! What a guest may use: wanted by its manifest, capped here, recorded by the install event.
//!
//! Two kinds: [`Limits`] are part of the profile, because they decide outcomes; [`Shape`] bounds what a module may look
//! like before it is compiled, because compilers answer pathological input with time and memory. Neither knows a clock.

use tally_protocol::hash::ProfileId;
use tally_protocol::outcome::Profile;

/// Version of the validator's rules; a new rule is a new number.
pub const VALIDATOR_VERSION: u32 = 1;
/// Version of the ABI this crate speaks (`tally:plugin@1`).
pub const ABI_VERSION: u32 = 1;
/// Version of the code that the instrumenter injects.
pub const INSTRUMENTATION_VERSION: u32 = 1;

/// Bytes of a page of linear memory.
pub const PAGE_BYTES: u64 = 65_536;

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $default:expr, at most $cap:expr;)*) => {
        /// What one guest may use. Every field decides outcomes and is part of the profile.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Limits {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Limits {
            /// The hard caps: no manifest and no policy gets more.
            pub const CAPS: Self = Self { $($name: $cap,)* };

            /// The names of the limits, in the order of the profile.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)*];

            /// Each limit's name and value, in the order of the profile.
            #[must_use]
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }

            /// Sets a limit by its name.
            ///
            /// # Errors
            /// No limit has this name, or the value is zero or above the cap.
            pub fn set(&mut self, name: &str, value: u64) -> Result<(), LimitError> {
                match name {
                    $(stringify!($name) => {
                        if value == 0 || value > $cap {
                            return Err(LimitError::OutOfRange { limit: stringify!($name), max: $cap });
                        }
                        self.$name = value;
                        Ok(())
                    })*
                    _ => Err(LimitError::Unknown),
                }
            }
        }
    };
}

limits! {
    /// Gas for one event; about a millisecond at worst.
    gas = 2_000_000, at most 20_000_000;
    /// Gas for one chunk of `init` or `migrate`.
    lifecycle_gas = 50_000_000, at most 200_000_000;
    /// Gas for one query, and for `describe`.
    query_gas = 10_000_000, at most 50_000_000;
    /// Pages of linear memory (64 KiB each).
    memory_pages = 256, at most 512;
    /// Units of counted stack, of which a frame costs 64 and 8 for each local and operand.
    stack_units = 65_536, at most 131_072;
    /// Bytes of an event's body.
    body_bytes = 65_536, at most 262_144;
    /// Bytes of a key.
    key_bytes = 256, at most 1_024;
    /// Bytes of a value.
    value_bytes = 65_536, at most 262_144;
    /// Distinct keys written for one event.
    writes = 256, at most 4_096;
    /// Bytes of keys and values written for one event, each call counted.
    write_bytes = 262_144, at most 4_194_304;
    /// Derived events of one event.
    emits = 16, at most 256;
    /// Effects of one event.
    effects = 4, at most 64;
    /// Emits within emits.
    emit_depth = 4, at most 8;
    /// Bytes of log lines of one event; what is over is cut off, and is no failure.
    log_bytes = 1_024, at most 16_384;
    /// Bytes of a query's response.
    response_bytes = 1_048_576, at most 4_194_304;
    /// Rows that one range may ask for.
    range_rows = 1_000, at most 10_000;
    /// Bytes that one range or one `get_many` may give.
    range_bytes = 262_144, at most 4_194_304;
    /// Calls of the host for one event, one call of `init` or `migrate`, or one query; `next` is not counted.
    host_calls = 16_384, at most 131_072;
    /// Bytes of all keys and values of the plugin in one stream; a write that lets them grow beyond it is not made.
    state_bytes = 1_073_741_824, at most 68_719_476_736;
    /// Events that one instance may see before the host cuts.
    events_per_instance = 4_096, at most 4_096;
}

/// A limit that cannot be set so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// No limit has this name.
    #[error("unknown limit")]
    Unknown,
    /// The value is zero or above the hard cap.
    #[error("limit {limit} is zero or above {max}")]
    OutOfRange {
        /// The limit's name.
        limit: &'static str,
        /// Its hard cap.
        max: u64,
    },
}

impl Limits {
    /// The profile: ABI, validator, gas table, instrumentation, limits. The engine is not in it, because no engine may
    /// make a difference.
    #[must_use]
    pub fn profile(&self) -> ProfileId {
        let mut entries = self.entries();
        entries.sort_unstable();
        let profile = Profile {
            abi: ABI_VERSION,
            validator: VALIDATOR_VERSION,
            gas_table: crate::gas::GAS_TABLE_VERSION,
            instrumentation: INSTRUMENTATION_VERSION,
            limits: &entries,
        };
        profile.id().expect("the names are identifiers of ours, sorted")
    }
}

/// What a module may look like. Part of the validator's version, not of the limits: no manifest changes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of the module.
    pub module_bytes: usize,
    /// Types.
    pub types: u32,
    /// Functions of its own.
    pub functions: u32,
    /// Parameters of a function.
    pub params: usize,
    /// Results of a function.
    pub results: usize,
    /// Locals of a function, parameters included.
    pub locals: u32,
    /// Bytes of a function's body.
    pub body_bytes: usize,
    /// Blocks within blocks.
    pub nesting: u32,
    /// Targets of one `br_table`.
    pub br_table: u32,
    /// Globals.
    pub globals: u32,
    /// Entries of the table.
    pub table_entries: u64,
    /// Element segments.
    pub elements: u32,
    /// Data segments.
    pub data: u32,
    /// Units of counted stack that one frame may cost: an eighth of the smallest useful limit.
    pub frame_units: u32,
}

/// The shape of version 1. Each bound is far above what compilers emit for real plugins, and far below what hurts.
pub const SHAPE: Shape = Shape {
    module_bytes: 512 * 1024,
    types: 2_048,
    functions: 10_000,
    params: 64,
    results: 16,
    locals: 2_048,
    body_bytes: 128 * 1024,
    nesting: 256,
    br_table: 4_096,
    globals: 1_024,
    table_entries: 16_384,
    elements: 256,
    data: 4_096,
    frame_units: 32_768,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_within_its_cap() {
        for ((name, value), (_, cap)) in Limits::default().entries().into_iter().zip(Limits::CAPS.entries()) {
            assert!(value > 0 && value <= cap, "{name}");
        }
    }

    #[test]
    fn a_limit_above_its_cap_or_of_zero_is_refused() {
        let mut limits = Limits::default();
        for (name, cap) in Limits::CAPS.entries() {
            assert_eq!(limits.set(name, cap), Ok(()), "{name}");
            assert!(matches!(limits.set(name, cap + 1), Err(LimitError::OutOfRange { .. })), "{name}");
            assert!(matches!(limits.set(name, 0), Err(LimitError::OutOfRange { .. })), "{name}");
        }
        assert_eq!(limits.set("fuel", 1), Err(LimitError::Unknown));
    }

    #[test]
    fn every_limit_changes_the_profile() {
        let profile = Limits::default().profile();
        for name in Limits::NAMES {
            let mut limits = Limits::default();
            limits.set(name, 1).expect("one is within every cap");
            assert_ne!(limits.profile(), profile, "{name}");
        }
    }
}
