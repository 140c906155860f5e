//! Whole files, torn files and damaged files, written here as RocksDB writes them.

use std::fs;

use proptest::prelude::*;

use super::*;

/// What RocksDB writes: records cut into fragments, blocks padded.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    sequence: u64,
    /// Where each record ends.
    ends: Vec<usize>,
}

impl Writer {
    /// Adds a record with a batch header and this many bytes more.
    fn record(&mut self, more: usize) {
        self.sequence += 1;
        let mut data = self.sequence.to_le_bytes().to_vec();
        data.extend_from_slice(&1u32.to_le_bytes());
        data.extend((0..more).map(|at| (at as u8).wrapping_mul(31) | 1));
        let mut rest = &data[..];
        let mut first = true;
        loop {
            let left = BLOCK_BYTES - self.bytes.len() % BLOCK_BYTES;
            if left < HEADER_BYTES {
                self.bytes.extend(std::iter::repeat_n(0, left));
                continue;
            }
            let (part, more) = rest.split_at(rest.len().min(left - HEADER_BYTES));
            let kind = match (first, more.is_empty()) {
                (true, true) => FULL,
                (true, false) => FIRST,
                (false, false) => MIDDLE,
                (false, true) => LAST,
            };
            let crc = crc32c::crc32c_append(crc32c::crc32c(&[kind]), part);
            self.bytes.extend_from_slice(&crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes());
            self.bytes.extend_from_slice(&(part.len() as u16).to_le_bytes());
            self.bytes.push(kind);
            self.bytes.extend_from_slice(part);
            (rest, first) = (more, false);
            if rest.is_empty() {
                break;
            }
        }
        self.ends.push(self.bytes.len());
    }

    fn with(records: &[usize]) -> Self {
        let mut writer = Self::default();
        records.iter().for_each(|more| writer.record(*more));
        writer
    }
}

fn inspected(files: &[&[u8]]) -> Result<Option<(u64, u64)>, StorageError> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("LOG"), "not a write-ahead file").unwrap();
    for (at, bytes) in files.iter().enumerate() {
        fs::write(directory.path().join(format!("{:06}.log", at + 8)), bytes).unwrap();
    }
    let torn = inspect(directory.path())?;
    if let Some(torn) = &torn {
        torn.cut().unwrap();
        assert_eq!(inspect(directory.path()).unwrap(), None, "a cut file is whole");
    }
    Ok(torn.map(|torn| (torn.offset, torn.bytes)))
}

fn damaged(bytes: &[u8]) -> bool {
    matches!(inspected(&[bytes]), Err(StorageError::WalDamaged { .. }))
}

/// Sizes of records around the bounds of blocks.
fn records() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![0usize..200, 32_700usize..32_800, 0usize..100_000];
    prop::collection::vec(size, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whole_files_are_left_alone(files in prop::collection::vec(records(), 0..3)) {
        let files: Vec<_> = files.iter().map(|records| Writer::with(records).bytes).collect();
        let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(inspected(&files).unwrap(), None);
    }

    #[test]
    fn a_file_that_ends_early_is_cut_behind_its_last_whole_record(records in records(), at in 0usize..1_000_000) {
        let writer = Writer::with(&records);
        let length = at % writer.bytes.len();
        let whole = writer.ends.iter().copied().filter(|end| *end <= length).max().unwrap_or(0);
        let torn = inspected(&[&writer.bytes[..length], b""]).unwrap();
        let left = torn.map_or(length, |(offset, bytes)| {
            assert_eq!(offset + bytes, length as u64);
            offset as usize
        });
        // Padding of a block may be kept with the record before it.
        prop_assert!(left >= whole && left - whole < HEADER_BYTES, "kept {left} of {length}, whole are {whole}");
    }

    #[test]
    fn zeros_behind_the_last_record_are_cut(records in records(), zeros in 7usize..70_000) {
        let mut writer = Writer::with(&records);
        let whole = writer.bytes.len();
        writer.bytes.extend(std::iter::repeat_n(0, zeros));
        let (offset, bytes) = inspected(&[&writer.bytes]).unwrap().unwrap();
        prop_assert!((offset as usize) >= whole && (offset as usize) - whole < HEADER_BYTES);
        prop_assert_eq!(offset + bytes, writer.bytes.len() as u64);
    }

    #[test]
    fn one_flipped_bit_in_a_whole_file_is_refused(records in records(), bit in 0usize..8_000_000) {
        let mut writer = Writer::with(&records);
        let bit = bit % (writer.bytes.len() * 8);
        writer.bytes[bit / 8] ^= 1 << (bit % 8);
        // Padding is nobody's data: RocksDB does not read it either.
        let in_padding = BLOCK_BYTES - (bit / 8) % BLOCK_BYTES < HEADER_BYTES
            && inspected(&[&writer.bytes]).is_ok_and(|torn| torn.is_none());
        prop_assert!(in_padding || damaged(&writer.bytes));
    }

    #[test]
    fn a_damaged_length_near_the_end_of_the_file_is_refused(
        sizes in prop::collection::vec(0usize..300, 1..8),
        which in 0usize..8,
        length: u16,
    ) {
        let mut writer = Writer::with(&sizes);
        let which = which % sizes.len();
        let at = if which == 0 { 0 } else { writer.ends[which - 1] } + 4;
        let honest = u16::from_le_bytes([writer.bytes[at], writer.bytes[at + 1]]);
        prop_assume!(length != honest);
        writer.bytes[at..at + 2].copy_from_slice(&length.to_le_bytes());
        prop_assert!(damaged(&writer.bytes));
    }
}

#[test]
fn every_bit_of_the_last_headers_is_guarded() {
    let writer = Writer::with(&[40, 50, 60]);
    for record in [0, writer.ends[0], writer.ends[1]] {
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = writer.bytes.clone();
            bytes[record + bit / 8] ^= 1 << (bit % 8);
            assert!(damaged(&bytes), "bit {bit} of the header at {record}");
        }
    }
}

#[test]
fn a_torn_file_before_one_with_content_is_refused() {
    let (torn, whole) = (Writer::with(&[100, 100]).bytes, Writer::with(&[5]).bytes);
    let torn = &torn[..torn.len() - 1];
    assert!(matches!(inspected(&[torn, &whole]), Err(StorageError::WalDamaged { .. })));
    assert!(inspected(&[torn, b""]).unwrap().is_some());
    assert!(inspected(&[&whole, torn]).unwrap().is_some());
}

#[test]
fn fragments_out_of_order_and_unknown_types_are_refused() {
    // A record of three fragments without its first block, and without its middle one.
    let bytes = Writer::with(&[80_000]).bytes;
    assert!(damaged(&bytes[BLOCK_BYTES..]));
    assert!(!damaged(&bytes));
    let without_last = [&bytes[..2 * BLOCK_BYTES], &Writer::with(&[3]).bytes].concat();
    assert!(damaged(&without_last));

    let mut unknown = Writer::with(&[10]).bytes;
    unknown[6] = 9;
    let crc = crc32c::crc32c(&unknown[6..]);
    unknown[..4].copy_from_slice(&crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes());
    assert!(damaged(&unknown));
}

#[test]
fn zeros_within_a_file_are_refused() {
    let writer = Writer::with(&[100, 40_000]);
    let mut bytes = writer.bytes.clone();
    bytes[writer.ends[0]..writer.ends[0] + 1_000].fill(0);
    assert!(damaged(&bytes));
}

#[test]
fn no_directory_has_no_torn_tail() {
    assert_eq!(inspect(Path::new("/nonexistent/tally")).unwrap(), None);
}
