//! `plugin_state`: a stream, a plugin and the plugin's own key → the value.
//!
//! The id's length stands before it, so that no plugin's rows lie among those of one whose id begins the same way;
//! within a plugin and stream, rows are in the order of the plugin's keys.

use tally_protocol::id::{PluginId, Stream};

use super::{Key, split};

/// The longest key that a plugin may have.
pub const PLUGIN_KEY_BYTES_MAX: usize = 1_024;

/// Key of a plugin's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginStateKey {
    /// The stream.
    pub stream: Stream,
    /// The plugin.
    pub plugin: PluginId,
    /// The plugin's own key.
    pub key: Vec<u8>,
}

impl PluginStateKey {
    /// 34 to 1,121 bytes; `None` if the plugin's key is longer than any may be.
    #[must_use]
    pub fn encode(&self) -> Option<Key> {
        Self::make(self.stream, &self.plugin, &self.key)
    }

    /// The same from its parts.
    #[must_use]
    pub fn make(stream: Stream, plugin: &PluginId, key: &[u8]) -> Option<Key> {
        let prefix = Self::of_plugin(stream, plugin);
        (key.len() <= PLUGIN_KEY_BYTES_MAX).then(|| Key::of(&[prefix.as_slice(), key]))
    }

    /// Reads 34 to 1,121 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (stream, rest) = split::<32>(bytes)?;
        let (len, rest) = rest.split_first()?;
        let (plugin, key) = rest.split_at_checked(usize::from(*len))?;
        let plugin = PluginId::new(core::str::from_utf8(plugin).ok()?).ok()?;
        let fits = key.len() <= PLUGIN_KEY_BYTES_MAX;
        fits.then(|| Self { stream: Stream::from_bytes(stream), plugin, key: key.to_vec() })
    }

    /// What all rows of a plugin in a stream start with.
    #[must_use]
    pub fn of_plugin(stream: Stream, plugin: &PluginId) -> Key {
        // An id has 64 bytes at most.
        let len = plugin.as_str().len() as u8;
        Key::of(&[&stream.to_bytes(), &[len], plugin.as_str().as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_state_key_reads_back_as_written(
            stream: [u8; 32],
            plugin in "[a-z0-9-]{1,64}",
            key in prop::collection::vec(any::<u8>(), 0..=1024),
        ) {
            let plugin = PluginId::new(&plugin).unwrap();
            let written = PluginStateKey { stream: Stream::from_bytes(&stream), plugin, key };
            let encoded = written.encode().unwrap();
            let prefix = PluginStateKey::of_plugin(written.stream, &written.plugin);
            prop_assert!(encoded.as_slice().starts_with(prefix.as_slice()));
            prop_assert_eq!(PluginStateKey::decode(encoded.as_slice()), Some(written));
        }

        #[test]
        fn no_plugin_has_a_row_among_those_of_another(
            one in "[a-z]{1,4}", other in "[a-z]{1,4}", key in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            prop_assume!(one != other);
            let (one, other) = (PluginId::new(&one).unwrap(), PluginId::new(&other).unwrap());
            let stream = Stream::from_bytes(&[7; 32]);
            let row = PluginStateKey::make(stream, &one, &key).unwrap();
            prop_assert!(!row.as_slice().starts_with(PluginStateKey::of_plugin(stream, &other).as_slice()));
        }
    }

    #[test]
    fn a_key_longer_than_a_plugin_may_have_is_none() {
        let plugin = PluginId::new("a").unwrap();
        let key = |bytes: usize| PluginStateKey::make(Stream::from_bytes(&[1; 32]), &plugin, &vec![0; bytes]);
        assert!(key(PLUGIN_KEY_BYTES_MAX).is_some() && key(PLUGIN_KEY_BYTES_MAX + 1).is_none());
        let longest = PluginId::new(&"z".repeat(64)).unwrap();
        let key = PluginStateKey::make(Stream::from_bytes(&[1; 32]), &longest, &[0; PLUGIN_KEY_BYTES_MAX]).unwrap();
        assert_eq!(key.len(), 32 + 1 + 64 + PLUGIN_KEY_BYTES_MAX);
        assert!(PluginStateKey::decode(&[0; 33]).is_none());
    }
}
