//! Private keys in files, for development and for operators without an HSM.
//!
//! Four lines of text: `tally-key-v1`, `use: development` or `use: production`, `public: <hex>`, `seed: <hex>`.
//! A file is created once, mode 0600, synced, and never overwritten. It is read only if nobody but its owner can, the
//! owner is this process's user (or root), and the public line belongs to the seed. Fails with the rule that is
//! broken; messages never repeat a seed.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use tally_protocol::key::{PublicKey, SigningKey};
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};
use crate::random;

const HEADER: &str = "tally-key-v1";
const SECRET_HEADER: &str = "tally-secret-v1";
/// Longer than any key file; nothing is read past it.
const FILE_BYTES_MAX: u64 = 1024;

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Made by `tally dev`: never accepted by `tally serve`.
    Development,
    /// Made by `tally keygen` or `tally init`.
    Production,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Development, Self::Production].into_iter().find(|purpose| purpose.name() == text)
    }
}

/// A key that was read from a file.
#[derive(Debug, Clone)]
pub struct KeyFile {
    /// What it may be used for.
    pub purpose: Purpose,
    /// The key.
    pub key: SigningKey,
}

impl KeyFile {
    /// Draws a new key and writes it to a new file.
    ///
    /// # Errors
    /// The file exists, its folder does not, or writing failed.
    pub fn create(path: &Path, purpose: Purpose) -> Result<Self, Failure> {
        let seed = random::bytes::<32>()?;
        let key = SigningKey::from_seed(*seed);
        let text = encode(purpose, &key.public_key(), &seed);
        create_private(path, text.as_bytes())?;
        Ok(Self { purpose, key })
    }

    /// Reads a key.
    ///
    /// # Errors
    /// The file is readable by others, belongs to somebody else, or is not a key file.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = read_private(path)?;
        decode(&text).ok_or_else(|| Failure::usage(format!("{} is not a tally key file", path.display())))
    }

    /// Reads the key, or makes it if there is no such file.
    ///
    /// # Errors
    /// See [`Self::load`] and [`Self::create`].
    pub fn load_or_create(path: &Path, purpose: Purpose) -> Result<Self, Failure> {
        match path.try_exists() {
            Ok(true) => Self::load(path),
            Ok(false) => Self::create(path, purpose),
            Err(error) => Err(Failure::file("look for", path, &error)),
        }
    }
}

/// A secret that is no signing key, with its purpose: `tally-secret-v1`, `use: ...`, `secret: <hex>`.
#[derive(Clone)]
pub struct SecretFile {
    /// What it may be used for.
    pub purpose: Purpose,
    /// The secret.
    pub secret: Zeroizing<[u8; 32]>,
}

impl SecretFile {
    /// Draws a secret and writes it to a new file.
    ///
    /// # Errors
    /// The file exists, its folder does not, or writing failed.
    pub fn create(path: &Path, purpose: Purpose) -> Result<Self, Failure> {
        let secret = random::bytes::<32>()?;
        let mut text = Zeroizing::new(String::with_capacity(128));
        text.push_str(SECRET_HEADER);
        text.push_str("\nuse: ");
        text.push_str(purpose.name());
        text.push_str("\nsecret: ");
        push_hex(&mut text, &secret);
        text.push('\n');
        create_private(path, text.as_bytes())?;
        Ok(Self { purpose, secret })
    }

    /// Reads a secret.
    ///
    /// # Errors
    /// The file is readable by others, belongs to somebody else, or is not a secret file.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = read_private(path)?;
        Self::decode(&text).ok_or_else(|| Failure::usage(format!("{} is not a tally secret file", path.display())))
    }

    /// Reads the secret, or makes it if there is no such file.
    ///
    /// # Errors
    /// See [`Self::load`] and [`Self::create`].
    pub fn load_or_create(path: &Path, purpose: Purpose) -> Result<Self, Failure> {
        match path.try_exists() {
            Ok(true) => Self::load(path),
            Ok(false) => Self::create(path, purpose),
            Err(error) => Err(Failure::file("look for", path, &error)),
        }
    }

    fn decode(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != SECRET_HEADER {
            return None;
        }
        let purpose = Purpose::parse(lines.next()?.strip_prefix("use: ")?)?;
        let secret = decode_seed(lines.next()?.strip_prefix("secret: ")?)?;
        lines.next().is_none().then_some(Self { purpose, secret })
    }
}

/// A key file's text, as `tally keygen` prints it.
#[must_use]
pub fn encode(purpose: Purpose, public: &PublicKey, seed: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(256));
    text.push_str(HEADER);
    text.push_str("\nuse: ");
    text.push_str(purpose.name());
    text.push_str("\npublic: ");
    text.push_str(&public.to_hex());
    text.push_str("\nseed: ");
    push_hex(&mut text, seed);
    text.push('\n');
    text
}

/// Hex without a temporary copy of the secret.
fn push_hex(text: &mut String, bytes: &[u8; 32]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or_default());
        }
    }
}

fn decode(text: &str) -> Option<KeyFile> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    if lines.next()? != HEADER {
        return None;
    }
    let purpose = Purpose::parse(lines.next()?.strip_prefix("use: ")?)?;
    let public = PublicKey::from_hex(lines.next()?.strip_prefix("public: ")?).ok()?;
    let seed = decode_seed(lines.next()?.strip_prefix("seed: ")?)?;
    let key = SigningKey::from_seed(*seed);
    (lines.next().is_none() && key.public_key() == public).then_some(KeyFile { purpose, key })
}

fn decode_seed(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut seed = Zeroizing::new([0; 32]);
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in seed.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = (digit(*pair.first()?)? << 4) | digit(*pair.last()?)?;
    }
    Some(seed)
}

/// Creates a file that only its owner can read, and syncs it and its folder.
///
/// # Errors
/// The file exists, or the file system failed.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let fail = |error: std::io::Error| Failure::file("create", path, &error);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Failure::usage(format!("{} exists; it is never overwritten", path.display())),
            _ => fail(error),
        })?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fail)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(fail)
}

/// What a file is kept for, and so what nobody but its owner may do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It holds a secret: others may do nothing.
    Secret,
    /// It says where secrets are: the same.
    PlaceOfSecrets,
    /// It says who is believed: others may read it.
    Trust,
}

impl Kept {
    const fn forbidden(self) -> u32 {
        match self {
            Self::Secret | Self::PlaceOfSecrets => 0o077,
            Self::Trust => 0o022,
        }
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Secret => ("holds a secret", "use it"),
            Self::PlaceOfSecrets => ("names files with secrets", "use it"),
            Self::Trust => ("says who is believed", "change it"),
        }
    }

    fn hint(self, name: &std::path::Display<'_>) -> String {
        match self {
            Self::Secret => format!("chmod 600 {name}; then think about who has read it"),
            Self::PlaceOfSecrets => format!("chmod 600 {name}"),
            Self::Trust => format!("chmod go-w {name}; then look whom it names"),
        }
    }

    /// Checks what others may do with a file.
    ///
    /// # Errors
    /// They may do more than they should, it belongs to somebody else, or is no file.
    pub fn check(self, path: &Path, metadata: &Metadata) -> Result<(), Failure> {
        let (name, (holds, may)) = (path.display(), self.words());
        if !metadata.is_file() {
            return Err(Failure::usage(format!("{name} is not a file")));
        }
        let mode = metadata.mode() & 0o7777;
        if mode & self.forbidden() != 0 {
            return Err(Failure::usage(format!("{name} {holds} and has mode {mode:04o}, so that others may {may}"))
                .hint(self.hint(&name)));
        }
        let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if owner != user && owner != 0 {
            return Err(Failure::usage(format!("{name} {holds} and belongs to user {owner}, not to {user}")));
        }
        Ok(())
    }
}

/// Reads a text file with a secret in it, after checking who else could.
///
/// # Errors
/// Others may read or write it, it belongs to somebody else, or it cannot be read.
pub fn read_private(path: &Path) -> Result<Zeroizing<String>, Failure> {
    read_kept(path, Kept::Secret, FILE_BYTES_MAX).map(|(text, _)| text)
}

/// Reads a text file of at most so many bytes, after checking what others may do with it.
///
/// # Errors
/// They may do more than they should, it belongs to somebody else, is longer, or cannot be read.
pub fn read_kept(path: &Path, kept: Kept, bytes_max: u64) -> Result<(Zeroizing<String>, Metadata), Failure> {
    let fail = |error: std::io::Error| {
        // What is not there or no text is the operator's to mend.
        let given = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData);
        let exit = if given { Exit::Usage } else { Exit::Failed };
        Failure::new(exit, format!("failed to read {}: {error}", path.display()))
    };
    // Opened first, then asked: the answer is about the file that is read.
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    kept.check(path, &metadata)?;
    // Room for everything at once: growing would leave copies of a secret behind.
    let room = usize::try_from(bytes_max).unwrap_or_default().saturating_add(1);
    let mut text = Zeroizing::new(String::with_capacity(room));
    file.take(bytes_max + 1).read_to_string(&mut text).map_err(fail)?;
    if text.len() as u64 > bytes_max {
        return Err(Failure::usage(format!("{} is longer than {bytes_max} bytes", path.display())));
    }
    Ok((text, metadata))
}

/// Checks who else could read a file with a secret in it that another library will read.
///
/// # Errors
/// See [`read_private`].
pub fn check_private_path(path: &Path) -> Result<(), Failure> {
    let metadata = std::fs::metadata(path).map_err(|error| Failure::file("read", path, &error))?;
    Kept::Secret.check(path, &metadata)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_reads_back_and_its_file_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        let made = KeyFile::create(&path, Purpose::Production).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let read = KeyFile::load(&path).unwrap();
        assert_eq!(read.key.public_key(), made.key.public_key());
        assert_eq!(read.purpose, Purpose::Production);
    }

    #[test]
    fn a_key_file_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        KeyFile::create(&path, Purpose::Production).unwrap();
        let before = std::fs::read(&path).unwrap();
        assert_eq!(KeyFile::create(&path, Purpose::Production).unwrap_err().exit, Exit::Usage);
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        KeyFile::create(&path, Purpose::Production).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601, 0o660] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let failure = KeyFile::load(&path).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains(&format!("{mode:04o}")), "{failure}");
        }
    }

    #[test]
    fn every_mutation_of_a_key_file_is_refused_and_never_shown() {
        let seed = [7; 32];
        let key = SigningKey::from_seed(seed);
        let text = encode(Purpose::Production, &key.public_key(), &seed);
        assert!(decode(&text).is_some());
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(decode(&changed).is_none(), "byte {at}");
            }
        }
        assert!(decode(&format!("{}\n", *text)).is_none());
        let debug = format!("{:?}", decode(&text).unwrap());
        assert!(!debug.contains("0707"), "{debug}");
    }
}
