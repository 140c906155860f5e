//! The record of uses: what each key was asked to sign, on disk before the signature is given out (S-123).
//!
//! A file of JSON lines that only grows. Each use is two lines: `asked` before the device hears of it, so that a crash
//! leaves no use of the device without a line, and the outcome before the caller hears of it. Both are synced. A record
//! that cannot be written is [`SignerError::Unrecorded`] and no signature; after a failed write nobody knows what the
//! disk holds, so the record stays closed until the process starts again. Reconcile it with the device's own record by
//! key, time and digest.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tally_protocol::hash::hex;

use super::config::OpenError;
use super::{Address, Clock, Purpose, Signature, Signer, SignerError, Signing};

/// The file that uses are written to; one per process, shared by its signers.
#[derive(Debug)]
pub struct UseLog {
    /// `None` after a write that failed.
    file: Mutex<Option<File>>,
}

impl UseLog {
    /// Opens the record, or makes it with mode 0600, and keeps other processes from writing to it.
    ///
    /// A line that a crash tore is ended, and stays.
    ///
    /// # Errors
    /// [`OpenError::Config`] if it cannot be written, or another process has it open.
    pub fn open(path: &Path) -> Result<Arc<Self>, OpenError> {
        let fail = |error: std::io::Error| OpenError::Config(format!("failed to open {}: {error}", path.display()));
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).mode(0o600).open(path).map_err(fail)?;
        file.try_lock().map_err(|error| fail(error.into()))?;
        end_torn_line(&mut file).map_err(fail)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)?;
        Ok(Arc::new(Self { file: Mutex::new(Some(file)) }))
    }

    /// Writes one line and syncs it. Blocks.
    fn append(&self, line: &str) -> Result<(), SignerError> {
        let closed = || SignerError::Unrecorded("an earlier write failed".to_owned());
        let mut slot = self.file.lock().map_err(|_| closed())?;
        let mut file = slot.take().ok_or_else(closed)?;
        let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
        written.map_err(|error| SignerError::Unrecorded(error.to_string()))?;
        *slot = Some(file);
        Ok(())
    }
}

fn end_torn_line(file: &mut File) -> std::io::Result<()> {
    if file.metadata()?.len() == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last != *b"\n" {
        file.write_all(b"\n")?;
        file.sync_data()?;
    }
    Ok(())
}

/// A signer each of whose uses is recorded.
#[derive(Debug)]
pub struct Recorded<S> {
    signer: S,
    uses: Arc<UseLog>,
    clock: Clock,
}

impl<S: Signer> Recorded<S> {
    /// Records what this signer is asked from now on.
    pub const fn new(signer: S, uses: Arc<UseLog>, clock: Clock) -> Self {
        Self { signer, uses, clock }
    }

    async fn write(
        &self,
        purpose: Purpose,
        digest: &[u8; 32],
        outcome: &str,
        signature: Option<&Signature>,
    ) -> Result<(), SignerError> {
        let mut line = json!({
            "time": self.clock.now().to_rfc3339(),
            "purpose": purpose.name(),
            "key": self.signer.describe(),
            "address": self.signer.address().to_string(),
            "digest": hex(digest),
            "outcome": outcome,
        });
        if let Some(signature) = signature {
            line["signature"] = format!("{}{}", hex(&signature.r), hex(&signature.s)).into();
        }
        let (uses, line) = (Arc::clone(&self.uses), format!("{line}\n"));
        let written = tokio::task::spawn_blocking(move || uses.append(&line)).await;
        written.map_err(|_| SignerError::Unrecorded("the writer stopped".to_owned()))?
    }

    async fn sign_recorded(&self, purpose: Purpose, digest: [u8; 32]) -> Result<Signature, SignerError> {
        self.write(purpose, &digest, "asked", None).await?;
        let answer = self.signer.sign(purpose, digest).await;
        self.write(purpose, &digest, outcome(&answer), answer.as_ref().ok()).await?;
        answer
    }
}

impl<S: Signer> Signer for Recorded<S> {
    fn address(&self) -> Address {
        self.signer.address()
    }

    fn describe(&self) -> String {
        self.signer.describe()
    }

    fn sign(&self, purpose: Purpose, digest: [u8; 32]) -> Signing<'_> {
        Box::pin(self.sign_recorded(purpose, digest))
    }
}

const fn outcome(answer: &Result<Signature, SignerError>) -> &'static str {
    match answer {
        Ok(_) => "signed",
        Err(SignerError::Unreachable(_)) => "unreachable",
        Err(SignerError::Refused(_)) => "refused",
        Err(SignerError::Wrong(_)) => "wrong",
        Err(SignerError::Unrecorded(_)) => "unrecorded",
    }
}

#[cfg(test)]
#[path = "record/tests.rs"]
mod tests;
