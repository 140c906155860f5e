//! How protocol types are written in JSON: modules for `#[serde(with = "...")]`.
//!
//! Takes ids, hashes, keys, numbers, times and bytes; gives strings (lower-case hex, with `0x` for things of a chain,
//! hyphenated UUID, RFC 3339, standard base64) or plain numbers. Reading is strict: a text that would be written differently is an error, except
//! that UUIDs may be in any case. Messages name the expected form and never repeat the text.

use core::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serializer};
use tally_protocol::hash::{
    self, Address, ApiKeyHash, BlockHash, CipherHash, EffectsHash, EmitsHash, LeafHash, LedgerId, LogId, ModuleHash,
    NodeHash, PayloadHash, ProfileId, ReceiptHash, ReportHash, RootHash, SigningHash, StateRoot, StatesRoot,
    TransactionHash, VesLeaf, VesNode, VesStreamId, WritesHash,
};
use tally_protocol::id::{AgentId, Epoch, EventId, Index, KeyId, Sequence, StoreId, TenantId, TreeSize};
use tally_protocol::key::{PublicKey, Signature};
use tally_protocol::time::LogTime;

/// A type of fixed size that is written as lower-case hex.
pub trait HexText: Sized {
    /// How many bytes it has.
    const BYTES: usize;
    /// Its bytes.
    fn raw(&self) -> &[u8];
    /// From exactly [`Self::BYTES`] bytes.
    fn from_raw(bytes: &[u8]) -> Option<Self>;
}

macro_rules! hex_text {
    ($($name:ty: $bytes:literal),* $(,)?) => {$(
        impl HexText for $name {
            const BYTES: usize = $bytes;
            fn raw(&self) -> &[u8] {
                self.as_bytes()
            }
            fn from_raw(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(<$name>::from_bytes)
            }
        }
    )*};
}

hex_text! {
    LeafHash: 32, NodeHash: 32, RootHash: 32, SigningHash: 32, PayloadHash: 32, CipherHash: 32, LedgerId: 32,
    LogId: 32, VesLeaf: 32, VesNode: 32, VesStreamId: 32, StateRoot: 32, ReceiptHash: 32, ApiKeyHash: 32, PublicKey: 32,
    Signature: 64, ModuleHash: 32, ReportHash: 32, ProfileId: 32, WritesHash: 32, EmitsHash: 32, EffectsHash: 32, StatesRoot: 32,
}

/// The widest type above.
const HEX_BYTES_MAX: usize = 64;

/// The lower-case digit of a number below 16. Arithmetic rather than a table, so that the compiler takes many at once.
const fn digit(number: u8) -> u8 {
    number + if number < 10 { b'0' } else { b'a' - 10 }
}

fn write_digits(bytes: &[u8], out: &mut [u8]) {
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
}

fn write_hex<'a>(bytes: &[u8], out: &'a mut [u8; 2 * HEX_BYTES_MAX]) -> &'a str {
    write_digits(bytes, out);
    core::str::from_utf8(&out[..2 * bytes.len()]).unwrap_or_default()
}

fn read_hex<T: HexText>(text: &str) -> Option<T> {
    let text = text.as_bytes();
    if text.len() != 2 * T::BYTES {
        return None;
    }
    let mut out = [0u8; HEX_BYTES_MAX];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        for &c in pair {
            let digit = match c {
                b'0'..=b'9' => c - b'0',
                b'a'..=b'f' => c - b'a' + 10,
                _ => return None,
            };
            *byte = (*byte << 4) | digit;
        }
    }
    T::from_raw(&out[..T::BYTES])
}

/// Reads a string through `parse` without owning it first.
struct TextVisitor<T, F> {
    expected: &'static str,
    parse: F,
    marker: core::marker::PhantomData<T>,
}

impl<T, F: Fn(&str) -> Option<T>> Visitor<'_> for TextVisitor<T, F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::custom(format_args!("expected {}", self.expected)))
    }
}

fn read_text<'de, T, D: Deserializer<'de>>(
    deserializer: D,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, D::Error> {
    deserializer.deserialize_str(TextVisitor { expected, parse, marker: core::marker::PhantomData })
}

/// Hashes, keys and signatures as lower-case hex.
pub mod hex {
    use super::{Deserializer, HEX_BYTES_MAX, HexText, Serializer, read_hex, read_text, write_hex};

    /// Writes hex.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: HexText, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = [0u8; 2 * HEX_BYTES_MAX];
        serializer.serialize_str(write_hex(value.raw(), &mut out))
    }

    /// Reads hex of exactly the type's length.
    ///
    /// # Errors
    /// Any other text.
    pub fn deserialize<'de, T: HexText, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        read_text(deserializer, "lower-case hexadecimal of the right length", read_hex)
    }
}

/// A 16-byte id that is written as a hyphenated UUID.
pub trait IdText: Sized {
    /// Its bytes.
    fn raw(&self) -> &[u8; 16];
    /// From its bytes.
    fn from_raw(bytes: [u8; 16]) -> Self;
}

macro_rules! id_text {
    ($($name:ty),*) => {$(
        impl IdText for $name {
            fn raw(&self) -> &[u8; 16] {
                self.as_bytes()
            }
            fn from_raw(bytes: [u8; 16]) -> Self {
                Self::from_bytes(bytes)
            }
        }
    )*};
}

id_text!(TenantId, StoreId, EventId, AgentId);

/// The name of a batch has no type of its own.
impl IdText for [u8; 16] {
    fn raw(&self) -> &[u8; 16] {
        self
    }
    fn from_raw(bytes: [u8; 16]) -> Self {
        bytes
    }
}

const UUID_CHARS: usize = 36;

fn write_uuid<'a>(bytes: &[u8; 16], out: &'a mut [u8; UUID_CHARS]) -> &'a str {
    out.fill(b'-');
    for (at, part) in [(0, 0..4), (9, 4..6), (14, 6..8), (19, 8..10), (24, 10..16)] {
        write_digits(&bytes[part], &mut out[at..]);
    }
    core::str::from_utf8(out).unwrap_or_default()
}

/// Reads a hyphenated UUID in any case.
#[must_use]
pub fn read_uuid<T: IdText>(text: &str) -> Option<T> {
    text.parse::<EventId>().ok().map(|id| T::from_raw(*id.as_bytes()))
}

/// The hyphenated UUID of an id.
#[must_use]
pub fn uuid_string<T: IdText>(id: &T) -> String {
    write_uuid(id.raw(), &mut [0; UUID_CHARS]).to_owned()
}

/// Ids as hyphenated UUIDs.
pub mod uuid {
    use super::{Deserializer, IdText, Serializer, UUID_CHARS, read_text, read_uuid, write_uuid};

    /// Writes the hyphenated form.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: IdText, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(write_uuid(value.raw(), &mut [0; UUID_CHARS]))
    }

    /// Reads the hyphenated form.
    ///
    /// # Errors
    /// Any other text.
    pub fn deserialize<'de, T: IdText, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        read_text(deserializer, "a hyphenated UUID", read_uuid)
    }
}

/// A position, size or key number that is written as a JSON number.
pub trait NumberText: Sized {
    /// The bare number.
    fn number(&self) -> u64;
    /// From the bare number, if it fits.
    fn from_number(number: u64) -> Option<Self>;
}

macro_rules! number_text {
    ($($name:ty),*) => {$(
        impl NumberText for $name {
            fn number(&self) -> u64 {
                u64::from(self.get())
            }
            fn from_number(number: u64) -> Option<Self> {
                number.try_into().ok().map(<$name>::new)
            }
        }
    )*};
}

number_text!(Index, Sequence, TreeSize, Epoch, KeyId);

/// Positions, sizes and key numbers as JSON numbers.
pub mod number {
    use serde::de::Error as _;

    use super::{Deserialize, Deserializer, NumberText, Serializer};

    /// Writes the number.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: NumberText, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.number())
    }

    /// Reads the number.
    ///
    /// # Errors
    /// A number that does not fit the type.
    pub fn deserialize<'de, T: NumberText, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        T::from_number(u64::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("number out of range"))
    }
}

/// A thing of a chain, which is written as chains do.
pub trait ChainText: Sized {
    /// `0x` and lower-case hex.
    fn to_text(&self) -> String;
    /// Reads that.
    fn from_text(text: &str) -> Option<Self>;
}

macro_rules! chain_text {
    ($($name:ty),*) => {$(
        impl ChainText for $name {
            fn to_text(&self) -> String {
                self.to_hex()
            }
            fn from_text(text: &str) -> Option<Self> {
                Self::from_hex(text).ok()
            }
        }
    )*};
}

chain_text!(Address, BlockHash, TransactionHash);

/// Addresses and hashes of chains: `0x` and lower-case hex.
pub mod hex_0x {
    use super::{ChainText, Deserializer, Serializer, read_text};

    /// Writes `0x` and hex.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: ChainText, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.to_text())
    }

    /// Reads `0x` and hex of exactly the type's length.
    ///
    /// # Errors
    /// Any other text.
    pub fn deserialize<'de, T: ChainText, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        read_text(deserializer, "0x and lower-case hexadecimal of the right length", T::from_text)
    }
}

/// Bytes as chains write them: `0x` and lower-case hex.
pub mod bytes_0x {
    use super::{Deserializer, Serializer, hash, read_text};

    /// Writes `0x` and hex.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hash::hex_0x(value))
    }

    /// Reads `0x` and hex.
    ///
    /// # Errors
    /// Any other text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        read_text(deserializer, "0x and lower-case hexadecimal", hash::bytes_of_hex_0x)
    }
}

/// Log time as RFC 3339 in UTC with microseconds.
pub mod time {
    use super::{Deserializer, LogTime, Serializer, read_text};

    /// Writes `YYYY-MM-DDTHH:MM:SS.ffffffZ`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &LogTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.to_rfc3339())
    }

    /// Reads any strict RFC 3339 time.
    ///
    /// # Errors
    /// Any other text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LogTime, D::Error> {
        read_text(deserializer, "an RFC 3339 time", |text| LogTime::parse_rfc3339(text).ok())
    }
}

/// Byte strings as standard base64 with padding.
pub mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::{Deserializer, Serializer, read_text};

    /// Writes base64.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(value))
    }

    /// Reads base64.
    ///
    /// # Errors
    /// Any other text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        read_text(deserializer, "standard base64 with padding", |text| STANDARD.decode(text).ok())
    }
}

/// Byte strings or null.
pub mod base64_option {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::base64_bytes;

    struct Owned(Vec<u8>);

    impl<'de> Deserialize<'de> for Owned {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            base64_bytes::deserialize(deserializer).map(Self)
        }
    }

    /// Writes base64 or null.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => base64_bytes::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads base64 or null.
    ///
    /// # Errors
    /// Any other text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        Ok(Option::<Owned>::deserialize(deserializer)?.map(|owned| owned.0))
    }
}

macro_rules! wrapped {
    ($($(#[$doc:meta])* $option:ident, $list:ident of $inner:ident [$($bound:tt)*];)*) => {$(
        $(#[$doc])*
        pub mod $option {
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            use super::$list::{Owned, Ref};

            /// Writes the value or null.
            ///
            /// # Errors
            /// Those of the serializer.
            pub fn serialize<T: $($bound)*, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
                value.as_ref().map(Ref).serialize(serializer)
            }

            /// Reads the value or null.
            ///
            /// # Errors
            /// Anything else.
            pub fn deserialize<'de, T: $($bound)*, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Option<T>, D::Error> {
                Ok(Option::<Owned<T>>::deserialize(deserializer)?.map(|owned| owned.0))
            }
        }

        /// A list of them.
        pub mod $list {
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            pub(super) struct Ref<'a, T>(pub(super) &'a T);
            pub(super) struct Owned<T>(pub(super) T);

            impl<T: $($bound)*> Serialize for Ref<'_, T> {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    super::$inner::serialize(self.0, serializer)
                }
            }

            impl<'de, T: $($bound)*> Deserialize<'de> for Owned<T> {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    super::$inner::deserialize(deserializer).map(Self)
                }
            }

            /// Writes an array.
            ///
            /// # Errors
            /// Those of the serializer.
            pub fn serialize<T: $($bound)*, S: Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(values.iter().map(Ref))
            }

            /// Reads an array.
            ///
            /// # Errors
            /// Anything else.
            pub fn deserialize<'de, T: $($bound)*, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
                Ok(Vec::<Owned<T>>::deserialize(deserializer)?.into_iter().map(|owned| owned.0).collect())
            }
        }
    )*};
}

wrapped! {
    /// An id or null.
    uuid_option, uuid_list of uuid [super::IdText];
    /// A number or null.
    number_option, number_list of number [super::NumberText];
    /// A hash or key, or null.
    hex_option, hex_list of hex [super::HexText];
}

/// A time or null.
pub mod time_option {
    use super::{Deserialize, Deserializer, LogTime, Serializer, time};

    struct Owned(LogTime);

    impl<'de> Deserialize<'de> for Owned {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            time::deserialize(deserializer).map(Self)
        }
    }

    /// Writes the time or null.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Option<LogTime>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => time::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a time or null.
    ///
    /// # Errors
    /// Anything else.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LogTime>, D::Error> {
        Ok(Option::<Owned>::deserialize(deserializer)?.map(|owned| owned.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_the_protocol() {
        let bytes: [u8; 64] = core::array::from_fn(|at| (at * 37) as u8);
        let mut out = [0; 2 * HEX_BYTES_MAX];
        assert_eq!(write_hex(&bytes, &mut out), hash::hex(&bytes));
        assert_eq!(write_hex(&bytes[..32], &mut out), hash::hex(&bytes[..32]));
        let id = EventId::from_bytes(core::array::from_fn(|at| (at * 29) as u8));
        assert_eq!(uuid_string(&id), id.to_string());
        assert_eq!(read_uuid::<EventId>(&id.to_string()), Some(id));
    }

    #[test]
    fn hex_is_read_back_and_has_one_text() {
        let hash = LeafHash::from_bytes(core::array::from_fn(|at| at as u8));
        assert_eq!(read_hex::<LeafHash>(&hash.to_hex()), Some(hash));
        for bad in ["", &hash.to_hex()[1..], &hash.to_hex().to_uppercase(), &format!("0x{hash}"), &"g".repeat(64)] {
            assert_eq!(read_hex::<LeafHash>(bad), None, "{bad}");
        }
    }
}
