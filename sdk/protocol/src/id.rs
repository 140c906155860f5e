//! Names of things: tenants, stores, events, agents, plugins, and positions in logs and streams.
//!
//! Ids are 16 raw bytes; as text they are hyphenated UUIDs (RFC 9562 section 4), written in lower case and read in
//! any case. A plugin's id is a short text. Index, sequence, size and key id are different types, because mixing them up is how logs go wrong.

use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

use crate::limits::PLUGIN_ID_BYTES_MAX;

/// A text that is not a hyphenated UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a hyphenated UUID (8-4-4-4-12 hexadecimal digits)")]
pub struct IdError;

/// A text that is not a plugin's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a plugin id (1 to 64 of a-z, 0-9 and hyphen)")]
pub struct PluginIdError;

fn hex_digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        b'A'..=b'F' => Some(c - b'A' + 10),
        _ => None,
    }
}

fn parse_uuid(text: &str) -> Result<[u8; 16], IdError> {
    let text = text.as_bytes();
    if text.len() != 36 {
        return Err(IdError);
    }
    let mut out = [0u8; 16];
    let mut digits = 0usize;
    for (at, &c) in text.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if c != b'-' {
                return Err(IdError);
            }
            continue;
        }
        let digit = hex_digit(c).ok_or(IdError)?;
        let byte = out.get_mut(digits / 2).ok_or(IdError)?;
        *byte = (*byte << 4) | digit;
        digits += 1;
    }
    Ok(out)
}

fn write_uuid(id: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, byte) in id.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            f.write_str("-")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

macro_rules! uuid_type {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Sixteen zero bytes.
            pub const NIL: Self = Self([0; 16]);

            /// From 16 raw bytes, network order.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 raw bytes, network order.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Whether all bytes are zero.
            #[must_use]
            pub fn is_nil(&self) -> bool {
                self.0 == [0; 16]
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_uuid(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(&self.0, f)
            }
        }
    )*};
}

uuid_type! {
    /// A tenant: the owner of stores, agents and keys.
    TenantId;
    /// A store of a tenant; with the tenant it names a stream.
    StoreId;
    /// An event, unique in its stream, chosen by the agent.
    EventId;
    /// An agent of a tenant: the holder of signing keys.
    AgentId;
}

/// One ordered sequence of events: a tenant's store. A nil store is the tenant's control stream, nil tenant and
/// store are the ledger's (design section 2, reserved streams).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stream {
    /// The tenant.
    pub tenant: TenantId,
    /// The store.
    pub store: StoreId,
}

impl Stream {
    /// The ledger's own control stream.
    pub const LEDGER: Self = Self { tenant: TenantId::NIL, store: StoreId::NIL };

    /// The stream of a tenant's store.
    #[must_use]
    pub const fn new(tenant: TenantId, store: StoreId) -> Self {
        Self { tenant, store }
    }

    /// The control stream of a tenant.
    #[must_use]
    pub const fn control(tenant: TenantId) -> Self {
        Self { tenant, store: StoreId::NIL }
    }

    /// Whether this is the ledger's control stream.
    #[must_use]
    pub fn is_ledger(&self) -> bool {
        *self == Self::LEDGER
    }

    /// Whether this is a control stream (the ledger's or a tenant's).
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.store.is_nil()
    }

    /// Tenant then store, 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out[..16].copy_from_slice(self.tenant.as_bytes());
        out[16..].copy_from_slice(self.store.as_bytes());
        out
    }

    /// From tenant then store.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let (mut tenant, mut store) = ([0; 16], [0; 16]);
        tenant.copy_from_slice(&bytes[..16]);
        store.copy_from_slice(&bytes[16..]);
        Self { tenant: TenantId(tenant), store: StoreId(store) }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.store)
    }
}

/// The name of a plugin: 1 to 64 of `a-z`, `0-9` and hyphen. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginId(Arc<str>);

impl PluginId {
    /// Reads an id; it has one spelling.
    ///
    /// # Errors
    /// Any other text.
    pub fn new(text: &str) -> Result<Self, PluginIdError> {
        let allowed = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if (1..=PLUGIN_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(PluginIdError)
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PluginId {
    type Err = PluginIdError;

    fn from_str(text: &str) -> Result<Self, PluginIdError> {
        Self::new(text)
    }
}

impl fmt::Display for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! number_type {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name($inner);

        impl $name {
            /// From the bare number.
            #[must_use]
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The bare number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }

            /// The one after; saturates at the type's end, which no log reaches.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )*};
}

number_type! {
    /// Global position in the log, from 0 (the genesis entry).
    Index(u64);
    /// Position in a stream, from 1, gap-free.
    Sequence(u64);
    /// How many entries a tree has.
    TreeSize(u64);
    /// Which incarnation of the sequencer wrote something; never falls.
    Epoch(u64);
    /// Number of an agent's key, from 1.
    KeyId(u32);
}

impl Index {
    /// The size of the smallest tree that holds this entry.
    #[must_use]
    pub const fn size_after(self) -> TreeSize {
        TreeSize(self.0.saturating_add(1))
    }
}

impl TreeSize {
    /// The last entry's position, if there is one.
    #[must_use]
    pub const fn last(self) -> Option<Index> {
        match self.0.checked_sub(1) {
            Some(at) => Some(Index(at)),
            None => None,
        }
    }

    /// Whether a tree of this size holds the entry at `index`.
    #[must_use]
    pub const fn holds(self, index: Index) -> bool {
        index.0 < self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_written_and_in_any_case() {
        let text = "64527dd3-a654-4410-9327-e58a1492ce77";
        let id: TenantId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(text.to_uppercase().parse::<TenantId>().unwrap(), id);
    }

    #[test]
    fn malformed_ids_are_refused() {
        for bad in [
            "",
            "64527dd3a65444109327e58a1492ce77",
            "{64527dd3-a654-4410-9327-e58a1492ce77}",
            "64527dd3-a654-4410-9327-e58a1492ce7",
            "64527dd3-a654-4410-9327-e58a1492ce7g",
            "64527dd3-a654-4410-9327_e58a1492ce77",
            "64527dd3-a654-44109-327-e58a1492ce77",
            "urn:uuid:64527dd3-a654-4410-9327-e58a1492ce77",
            " 64527dd3-a654-4410-9327-e58a1492ce7",
        ] {
            assert_eq!(bad.parse::<EventId>(), Err(IdError), "{bad}");
        }
    }

    #[test]
    fn a_plugin_id_is_1_to_64_lower_case_letters_digits_and_hyphens() {
        for good in ["a", "9", "-", "catalog", "a-b-0", &"x".repeat(64)] {
            assert_eq!(PluginId::new(good).unwrap().to_string(), good);
        }
        for bad in ["", "A", "a_b", "a b", "a.b", "a:b", "\u{e9}", "a\0", "a/b", &"x".repeat(65)] {
            assert_eq!(PluginId::new(bad), Err(PluginIdError), "{bad}");
        }
    }
}
