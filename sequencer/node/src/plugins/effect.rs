//! What stands in the outbox for an effect: everything its connector needs, and whom it is for.
//!
//! ```text
//! effect: u8 version 1 | effect id[32] | stream[32] | u32 call | u8 length | plugin | u16 length | kind | u16 length | suffix | body
//! ```
//! Takes and gives exactly these bytes, numbers big-endian.

use bytes::Bytes;
use tally_plugin_host::delta::Asked;
use tally_protocol::hash::EffectId;
use tally_protocol::id::{PluginId, Stream};

const VERSION: u8 = 1;

/// An effect as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) id: EffectId,
    pub(crate) stream: Stream,
    pub(crate) call: u32,
    pub(crate) plugin: PluginId,
    pub(crate) kind: String,
    pub(crate) suffix: String,
    pub(crate) body: Bytes,
}

pub(crate) fn encode(asked: &Asked) -> Vec<u8> {
    let Asked { stream, plugin, effect, .. } = asked;
    let mut out = vec![VERSION];
    out.extend_from_slice(effect.id.as_bytes());
    out.extend_from_slice(&stream.to_bytes());
    out.extend_from_slice(&effect.call.to_be_bytes());
    // An id has 64 bytes at most; the host bounds the others far below these lengths.
    out.push(u8::try_from(plugin.as_str().len()).unwrap_or(u8::MAX));
    out.extend_from_slice(plugin.as_str().as_bytes());
    for text in [&effect.kind, &effect.suffix] {
        out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(&effect.body);
    out
}

pub(crate) fn decode(bytes: &[u8]) -> Option<Request> {
    let (&[VERSION], rest) = bytes.split_first_chunk()? else { return None };
    let (id, rest) = rest.split_first_chunk()?;
    let (stream, rest) = rest.split_first_chunk::<32>()?;
    let (call, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first()?;
    let (plugin, rest) = rest.split_at_checked(usize::from(*length))?;
    let (kind, rest) = text(rest)?;
    let (suffix, body) = text(rest)?;
    Some(Request {
        id: EffectId::from_bytes(*id),
        stream: Stream::from_bytes(stream),
        call: u32::from_be_bytes(*call),
        plugin: PluginId::new(core::str::from_utf8(plugin).ok()?).ok()?,
        kind,
        suffix,
        body: Bytes::copy_from_slice(body),
    })
}

fn text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((core::str::from_utf8(text).ok()?.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

    use tally_plugin_host::session::Effect;
    use tally_protocol::id::Index;

    use super::*;

    #[test]
    fn an_effect_reads_back_and_no_cut_of_its_head_does() {
        let (kind, suffix, body) = ("mail".to_owned(), "order/7".to_owned(), Bytes::from_static(b"{}"));
        let effect = Effect { id: EffectId::from_bytes([7; 32]), call: 3, kind, suffix, body };
        let (stream, plugin) = (Stream::from_bytes(&[5; 32]), PluginId::new("checkout").unwrap());
        let asked = Asked { index: Index::new(9), stream, plugin, effect };
        let bytes = encode(&asked);
        let read = decode(&bytes).unwrap();
        assert_eq!((read.id, read.stream, read.call, &read.plugin), (asked.effect.id, stream, 3, &asked.plugin));
        assert_eq!((read.kind.as_str(), read.suffix.as_str(), &read.body[..]), ("mail", "order/7", &b"{}"[..]));
        for end in 0..bytes.len() - 2 {
            assert_eq!(decode(&bytes[..end]), None, "{end}");
        }
    }
}
