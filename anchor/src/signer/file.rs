//! A key in a file, for development: the only signer whose key is in this process's memory.
//!
//! Four lines: `tally-chain-key-v1`, `use: development`, `address: 0x<40 hex>`, `secret: 0x<64 hex>`. A file is created
//! once, mode 0600, synced, and never overwritten. It is read only with `development = true` in its settings, only if
//! nobody but its owner can, and only if the address line belongs to the secret. There is no production form: in
//! production keys live in a device or a service (S-119).

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use super::config::OpenError;
use super::secp256k1::SecretKey;
use super::{Address, Purpose, Signer, Signing, parse_hex, private_file};

const HEADER: &str = "tally-chain-key-v1";
const USE: &str = "use: development";

/// Settings of `kind = "file"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// The key file.
    pub path: PathBuf,
    /// Must be true: says that this is no production.
    #[serde(default)]
    pub development: bool,
    /// If given, the file's address must be this one.
    #[serde(default)]
    pub address: Option<Address>,
}

/// A key in this process's memory.
pub struct FileSigner {
    key: SecretKey,
    address: Address,
}

impl std::fmt::Debug for FileSigner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "FileSigner({})", self.address)
    }
}

impl FileSigner {
    /// Reads a key file.
    ///
    /// # Errors
    /// [`OpenError::Unsafe`] without `development = true` or if others may use the file; [`OpenError::Config`] if it is
    /// no such file, or another address's.
    pub fn open(config: &FileConfig) -> Result<Self, OpenError> {
        if !config.development {
            let hint = "needs `development = true`; in production use kms, pkcs11 or remote";
            return Err(OpenError::Unsafe(format!("a key in a file {hint}")));
        }
        let name = config.path.display();
        let bytes = private_file::read(&config.path)?;
        let key = std::str::from_utf8(&bytes).ok().and_then(decode);
        let key = key.ok_or_else(|| OpenError::Config(format!("{name} is not a tally chain key file")))?;
        let address = key.address();
        match config.address {
            Some(wanted) if wanted != address => {
                Err(OpenError::Config(format!("{name} holds the key of {address}, not of {wanted}")))
            }
            _ => Ok(Self { key, address }),
        }
    }
}

impl Signer for FileSigner {
    fn address(&self) -> Address {
        self.address
    }

    fn describe(&self) -> String {
        format!("file:{}", self.address)
    }

    fn sign(&self, _purpose: Purpose, digest: [u8; 32]) -> Signing<'_> {
        Box::pin(async move { self.key.sign(&digest) })
    }
}

/// Writes a new development key file with this secret, which the caller drew; gives its address.
///
/// # Errors
/// [`OpenError::Config`] if the secret is no key, the file exists, or writing failed.
pub fn create(path: &Path, secret: &[u8; 32]) -> Result<Address, OpenError> {
    let key = SecretKey::from_bytes(secret);
    let address = key.ok_or_else(|| OpenError::Config("that is no secp256k1 key".to_owned()))?.address();
    let text = encode(address, secret);
    let fail = |error: std::io::Error| OpenError::Config(format!("failed to create {}: {error}", path.display()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)?;
    Ok(address)
}

fn encode(address: Address, secret: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(256));
    for part in [HEADER, "\n", USE, "\naddress: ", &address.to_string(), "\nsecret: 0x"] {
        text.push_str(part);
    }
    for nibble in secret.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
        text.push(char::from_digit(u32::from(nibble), 16).unwrap_or_default());
    }
    text.push('\n');
    text
}

fn decode(text: &str) -> Option<SecretKey> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    if lines.next()? != HEADER || lines.next()? != USE {
        return None;
    }
    let address = lines.next()?.strip_prefix("address: ")?;
    let secret: Zeroizing<[u8; 32]> = Zeroizing::new(parse_hex(lines.next()?.strip_prefix("secret: ")?)?);
    let key = SecretKey::from_bytes(&secret)?;
    (lines.next().is_none() && key.address().to_string() == address).then_some(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn written(folder: &tempfile::TempDir) -> FileConfig {
        let path = folder.path().join("gas.key");
        create(&path, &[7; 32]).unwrap();
        FileConfig { path, development: true, address: None }
    }

    #[test]
    fn a_file_reads_back_private_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let config = written(&folder);
        let mode = std::fs::metadata(&config.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let signer = FileSigner::open(&config).unwrap();
        assert!(create(&config.path, &[8; 32]).is_err());
        assert_eq!(FileSigner::open(&config).unwrap().address(), signer.address());
        assert!(!format!("{signer:?}{}", signer.describe()).contains("0707"));
    }

    #[test]
    fn a_file_is_refused_without_the_word_development() {
        let folder = tempfile::tempdir().unwrap();
        let config = FileConfig { development: false, ..written(&folder) };
        assert!(matches!(FileSigner::open(&config), Err(OpenError::Unsafe(_))));
    }

    #[test]
    fn a_file_that_others_may_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = written(&folder);
        for mode in [0o640, 0o604, 0o620, 0o601, 0o660] {
            std::fs::set_permissions(&config.path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(FileSigner::open(&config), Err(OpenError::Unsafe(_))), "{mode:o}");
        }
    }

    #[test]
    fn a_file_of_another_address_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = FileConfig { address: Some(Address([1; 20])), ..written(&folder) };
        assert!(matches!(FileSigner::open(&config), Err(OpenError::Config(_))));
    }

    #[test]
    fn every_mutation_of_a_file_is_refused() {
        let address = SecretKey::from_bytes(&[7; 32]).unwrap().address();
        let text = encode(address, &[7; 32]);
        assert!(decode(&text).is_some());
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert!(std::str::from_utf8(&bytes).ok().and_then(decode).is_none(), "byte {at}");
        }
        assert!(decode(&format!("{}\n", *text)).is_none());
    }
}
