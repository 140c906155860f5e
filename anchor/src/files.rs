//! Files that survive a power cut, and the spelling of hashes and amounts in them.
//!
//! A file is replaced whole (temporary, sync, rename, sync of the folder) or grows by whole lines, each synced. Nothing is
//! believed to be on disk before the call returns.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use crate::error::AnchorError;
use crate::failpoint;

/// Replaces `path` with `bytes`, durably.
///
/// # Errors
/// [`AnchorError::Disk`]; the old file is then still whole.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), AnchorError> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary).map_err(|error| disk("create", &temporary, error))?;
    file.write_all(bytes).map_err(|error| disk("write", &temporary, error))?;
    file.sync_all().map_err(|error| disk("sync", &temporary, error))?;
    failpoint::hit("slot.written");
    std::fs::rename(&temporary, path).map_err(|error| disk("rename", path, error))?;
    failpoint::hit("slot.renamed");
    sync_folder_of(path)
}

/// Replaces a file that is only looked at: whole, but not synced.
///
/// # Errors
/// [`AnchorError::Disk`].
pub fn replace_unsynced(path: &Path, bytes: &[u8]) -> Result<(), AnchorError> {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, bytes).map_err(|error| disk("write", &temporary, error))?;
    std::fs::rename(&temporary, path).map_err(|error| disk("rename", path, error))
}

/// Appends a line, durably. `line` has no line break.
///
/// # Errors
/// [`AnchorError::Disk`].
pub(crate) fn append_line(path: &Path, line: &str) -> Result<(), AnchorError> {
    let created = !path.exists();
    let mut file =
        OpenOptions::new().create(true).append(true).open(path).map_err(|error| disk("open", path, error))?;
    file.write_all(format!("{line}\n").as_bytes()).map_err(|error| disk("append to", path, error))?;
    file.sync_data().map_err(|error| disk("sync", path, error))?;
    if created { sync_folder_of(path) } else { Ok(()) }
}

/// Removes a file, durably.
///
/// # Errors
/// [`AnchorError::Disk`].
pub(crate) fn remove(path: &Path) -> Result<(), AnchorError> {
    std::fs::remove_file(path).map_err(|error| disk("remove", path, error))?;
    sync_folder_of(path)
}

/// The whole lines of a file; a last line without its end is what a power cut leaves, and is cut off the file. No file: no
/// lines.
///
/// # Errors
/// [`AnchorError::Disk`].
pub(crate) fn whole_lines(path: &Path) -> Result<Vec<String>, AnchorError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let bytes = std::fs::read(path).map_err(|error| disk("read", path, error))?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole < bytes.len() {
        let file = OpenOptions::new().write(true).open(path).map_err(|error| disk("open", path, error))?;
        file.set_len(whole as u64).map_err(|error| disk("truncate", path, error))?;
        file.sync_all().map_err(|error| disk("sync", path, error))?;
    }
    let text = std::str::from_utf8(&bytes[..whole])
        .map_err(|_| AnchorError::Damaged { file: path.to_owned(), why: "it is not text" })?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// An error of the system about a file.
pub(crate) fn disk(what: &'static str, file: &Path, source: std::io::Error) -> AnchorError {
    AnchorError::Disk { what, file: file.to_owned(), source }
}

fn sync_folder_of(path: &Path) -> Result<(), AnchorError> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| disk("sync", folder, error))
}

/// Lower-case hex with a leading `0x`.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    format!("0x{}", tally_protocol::hash::hex(bytes))
}

/// Reads hex with a leading `0x`, in either case.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x")?.as_bytes();
    let value = |digit: u8| char::from(digit).to_digit(16);
    if digits.len() % 2 != 0 {
        return None;
    }
    digits.chunks_exact(2).map(|pair| u8::try_from(value(pair[0])? << 4 | value(pair[1])?).ok()).collect()
}

macro_rules! hex_field {
    ($($module:ident: $type:ty, $make:expr, $bytes:expr;)*) => {$(
        /// A field written as 0x-hex.
        pub mod $module {
            use serde::{Deserialize as _, Deserializer, Serializer};

            /// Writes it.
            /// # Errors
            /// The serializer's.
            pub fn serialize<S: Serializer>(value: &$type, serializer: S) -> Result<S::Ok, S::Error> {
                let bytes: fn(&$type) -> &[u8] = $bytes;
                serializer.serialize_str(&super::to_hex(bytes(value)))
            }

            /// Reads it.
            /// # Errors
            /// It is not that many hex digits.
            pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                let text = String::deserialize(deserializer)?;
                let make: fn(Vec<u8>) -> Option<$type> = $make;
                super::from_hex(&text)
                    .and_then(make)
                    .ok_or_else(|| serde::de::Error::custom("not the expected number of hex digits"))
            }
        }
    )*};
}

hex_field! {
    hash32: crate::chain::Hash32, |bytes| bytes.try_into().ok().map(crate::chain::Hash32), |hash| &hash.0;
    address: crate::signer::Address, |bytes| bytes.try_into().ok().map(crate::signer::Address), |address| &address.0;
    root: tally_protocol::hash::RootHash, |bytes| bytes.try_into().ok().map(tally_protocol::hash::RootHash::from_bytes),
        |root| root.as_bytes();
    log_id: tally_protocol::hash::LogId, |bytes| bytes.try_into().ok().map(tally_protocol::hash::LogId::from_bytes),
        |id| id.as_bytes();
    bytes32: [u8; 32], |bytes| bytes.try_into().ok(), |bytes| bytes;
    raw: Vec<u8>, Some, |bytes| bytes;
}

/// A field that is a number of leaves.
pub(crate) mod size {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use tally_protocol::id::TreeSize;

    /// Writes it.
    pub(crate) fn serialize<S: Serializer>(value: &TreeSize, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.get())
    }

    /// Reads it.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TreeSize, D::Error> {
        u64::deserialize(deserializer).map(TreeSize::new)
    }
}

/// A field in wei, as a decimal text: JSON's numbers end before a balance does.
pub(crate) mod wei {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::chain::Wei;

    /// Writes it.
    pub(crate) fn serialize<S: Serializer>(value: &Wei, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    /// Reads it.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Wei, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|_| serde::de::Error::custom("not an amount in wei"))
    }
}
