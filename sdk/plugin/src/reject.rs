//! Why a plugin refuses an event: a short code that becomes part of the outcome.
//!
//! Takes a text of 1 to 32 letters `a-z 0-9 _ - .`; a constant with any other does not compile.

/// A refusal by a rule of the plugin. Nothing of the event stays but its outcome.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Reject(&'static str);

impl Reject {
    /// Longest code.
    pub const BYTES_MAX: usize = 32;

    /// A refusal with a code. Use it in constants, so that a wrong code is found by the compiler:
    ///
    /// ```
    /// # use tally_plugin::Reject;
    /// const SOLD_OUT: Reject = Reject::new("sold_out");
    /// assert_eq!(SOLD_OUT.code(), "sold_out");
    /// ```
    ///
    /// # Panics
    /// If the code is empty, too long, or has other letters.
    #[must_use]
    pub const fn new(code: &'static str) -> Self {
        let bytes = code.as_bytes();
        assert!(!bytes.is_empty() && bytes.len() <= Self::BYTES_MAX, "a code has 1 to 32 bytes");
        let mut at = 0;
        while at < bytes.len() {
            assert!(
                matches!(bytes[at], b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.'),
                "a code has letters a-z 0-9 _ - . only"
            );
            at += 1;
        }
        Self(code)
    }

    /// The code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.0
    }
}
