//! Names and times as text: ids, hashes, keys, refusal codes, RFC 3339.

use tally_protocol::error::RejectCode;
use tally_protocol::hash::{Address, BlockHash, RootHash, bytes_of_hex_0x, hex_0x};
use tally_protocol::id::{EventId, PluginId, TenantId};
use tally_protocol::key::{PublicKey, Signature};
use tally_protocol::time::LogTime;

use crate::{Shape, Target, shape_of};

pub(super) const NAMES: Target = Target {
    name: "names",
    about: "ids, hashes, keys, plugins and codes as text",
    files: &[
        "sdk/protocol/src/id.rs",
        "sdk/protocol/src/hash.rs",
        "sdk/protocol/src/hash/keccak.rs",
        "sdk/protocol/src/key.rs",
        "sdk/protocol/src/error.rs",
    ],
    words: &[b"-", b"0x", b"A", b"g", b"{", b"}", b"urn:uuid:", b"00000000", b"\xc3\xa9"],
    seeds: || {
        let id = b"861910c9-7a1d-4b6f-83d6-51bbf4ae2849".to_vec();
        let hash = "7777c3fef466a0e9df7e07ea4ff13dc8ffbb9e487098f1b65530cdce7b6bbbe7";
        let codes = RejectCode::ALL.iter().map(|code| code.as_str().as_bytes().to_vec());
        let of_chain = [format!("0x{hash}"), format!("0x{}", &hash[..40])].map(String::into_bytes);
        let ours = [id, hash.as_bytes().to_vec(), hash.repeat(2).into_bytes()];
        ours.into_iter().chain(of_chain).chain(codes).collect()
    },
    check: names,
};

pub(super) const TIMES: Target = Target {
    name: "times",
    about: "RFC 3339 times",
    files: &["sdk/protocol/src/time.rs"],
    words: &[
        b"Z",
        b"+00:00",
        b"-23:59",
        b".",
        b".999999999",
        b":60",
        b"T",
        b"t",
        b" ",
        b"02-29",
        b"9999",
        b"0000",
        b"24:00",
    ],
    seeds: || {
        let texts = ["2025-12-20T17:51:10.243Z", "2024-02-29T23:59:59+01:30", "1970-01-01T00:00:00.000000Z"];
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    },
    check: times,
};

fn names(input: &[u8]) -> Shape {
    let Ok(text) = core::str::from_utf8(input) else { return "not text".to_owned() };
    let mut read = Vec::new();
    if let Ok(id) = text.parse::<EventId>() {
        assert_eq!(id.to_string(), text.to_ascii_lowercase(), "an id that writes itself in another way");
        assert_eq!(text.parse::<TenantId>().map(|other| *other.as_bytes()), Ok(*id.as_bytes()));
        read.push("id");
    }
    if let Ok(hash) = RootHash::from_hex(text) {
        assert_eq!(hash.to_hex(), text);
        read.push("hash");
    }
    if let Ok(address) = Address::from_hex(text) {
        assert_eq!(address.to_hex(), text);
        read.push("address");
    }
    if let Ok(block) = BlockHash::from_hex(text) {
        assert_eq!(block.to_hex(), text);
        read.push("block");
    }
    if let Some(bytes) = bytes_of_hex_0x(text) {
        assert_eq!(hex_0x(&bytes), text);
        read.push("bytes");
    }
    if let Ok(key) = PublicKey::from_hex(text) {
        assert_eq!(key.to_hex(), text.to_ascii_lowercase());
        let _ = tally_protocol::key::check_registration(&key);
        read.push("key");
    }
    if let Ok(signature) = Signature::from_hex(text) {
        assert_eq!(signature.to_hex(), text.to_ascii_lowercase());
        read.push("signature");
    }
    if let Ok(plugin) = text.parse::<PluginId>() {
        assert_eq!(plugin.to_string(), text);
        read.push("plugin");
    }
    if let Some(code) = RejectCode::parse(text) {
        assert_eq!(code.as_str(), text);
        read.push("code");
    }
    read.join(" ")
}

fn times(input: &[u8]) -> Shape {
    let Ok(text) = core::str::from_utf8(input) else { return "not text".to_owned() };
    match LogTime::parse_rfc3339(text) {
        Ok(time) => {
            let written = time.to_rfc3339();
            assert_eq!(LogTime::parse_rfc3339(&written), Ok(time), "a time that reads back as another");
            format!("accepted {} {}", text.len().min(40), text.ends_with('Z'))
        }
        Err(error) => shape_of(&error),
    }
}
