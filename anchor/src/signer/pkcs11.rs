//! Keys in a PKCS#11 device: `CKM_ECDSA` on secp256k1, over a digest.
//!
//! The token is found by its label or serial number, the key by its label or id; exactly one must fit. In production the
//! private key must be sensitive and not extractable. The PIN comes from a file that nobody else may use, or from an
//! inherited descriptor, never from arguments or the environment; a PIN that was refused is not tried again, because
//! devices lock after a few. Calls block, so they run on a thread of their own, one at a time and with a time-out. When
//! a session is lost the module is started again and asked once more; what then fails is [`SignerError::Unreachable`].
//! Source: PKCS#11 v2.40 sections 5.4 to 5.7 and, for CKM_ECDSA, the mechanisms' section 2.3.6.

mod device;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use self::device::Device;
use super::config::{OpenError, pinned};
use super::{Address, Purpose, Signature, Signer, SignerError, Signing, private_file, secp256k1};

/// Settings of `kind = "pkcs11"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11Config {
    /// The vendor's module, a shared library. It is trusted with everything this process has.
    pub module: PathBuf,
    /// The token's label.
    #[serde(default)]
    pub token: Option<String>,
    /// The token's serial number, beside the label or instead of it.
    #[serde(default)]
    pub serial: Option<String>,
    /// The key's label.
    #[serde(default)]
    pub key: Option<String>,
    /// The key's id in hexadecimal (`0x` and an even number of digits), beside the label or instead of it.
    #[serde(default)]
    pub key_id: Option<String>,
    /// Where the PIN comes from.
    pub pin: PinSource,
    /// If given, the key's address must be this one; needed where the device holds no public key.
    #[serde(default)]
    pub address: Option<Address>,
    /// How long one signature may take, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// Allows keys that the device would give out.
    #[serde(default)]
    pub development: bool,
}

const fn timeout_ms() -> u64 {
    10_000
}

/// Where a PIN comes from: `{ file = "..." }` or `{ descriptor = 3 }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum PinSource {
    /// A file with one line, which nobody but its owner may use; read again for every login.
    File(PathBuf),
    /// A descriptor that this process inherited, with one line in it; read once and kept.
    Descriptor(u32),
}

/// The PIN, or where to read it.
enum Pin {
    File(PathBuf),
    Kept(Zeroizing<String>),
}

impl Pin {
    fn new(source: &PinSource) -> Result<Self, OpenError> {
        let pin = match source {
            PinSource::File(path) => Self::File(path.clone()),
            PinSource::Descriptor(descriptor) => {
                let bytes = private_file::read_descriptor(*descriptor)?;
                Self::Kept(private_file::one_line(&bytes, &format!("descriptor {descriptor}"))?)
            }
        };
        pin.read().map(|_| pin)
    }

    fn read(&self) -> Result<Zeroizing<String>, OpenError> {
        match self {
            Self::File(path) => private_file::one_line(&private_file::read(path)?, &path.display().to_string()),
            Self::Kept(pin) => Ok(pin.clone()),
        }
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Pin(..)")
    }
}

/// A key in a device.
#[derive(Debug)]
pub struct Pkcs11Signer {
    address: Address,
    name: String,
    device: Arc<Device>,
    /// One call at a time; a call that hangs keeps its permit, so that no second thread waits behind it.
    gate: Arc<Semaphore>,
    timeout: Duration,
}

impl Pkcs11Signer {
    /// Loads the module, logs in, finds the key and pins its address.
    ///
    /// # Errors
    /// [`OpenError::Config`] for settings that do not hold, [`OpenError::Unsafe`] for a PIN file or key that production
    /// does not allow, [`OpenError::Signer`] if the device does not give the key.
    pub async fn open(config: &Pkcs11Config) -> Result<Self, OpenError> {
        let device = Arc::new(Device::new(config, Pin::new(&config.pin)?)?);
        let (gate, timeout) = (Arc::new(Semaphore::new(1)), Duration::from_millis(config.timeout_ms));
        let opening = Arc::clone(&device);
        let found = on_thread(&gate, timeout, move || Ok(opening.open())).await??;
        let unknown = || OpenError::Config("the device holds no public key; `address` must be given".to_owned());
        let address = match found {
            Some(found) => pinned(found, config.address)?,
            None => config.address.ok_or_else(unknown)?,
        };
        let part = |value: &Option<String>| value.clone().unwrap_or_default();
        let name = format!(
            "pkcs11:{}{}/{}{}",
            part(&config.token),
            part(&config.serial),
            part(&config.key),
            part(&config.key_id)
        );
        Ok(Self { address, name, device, gate, timeout })
    }

    async fn sign_digest(&self, digest: [u8; 32]) -> Result<Signature, SignerError> {
        let device = Arc::clone(&self.device);
        let raw = on_thread(&self.gate, self.timeout, move || device.sign(&digest)).await?;
        let raw = secp256k1::parse_raw(&raw);
        let raw = raw.ok_or_else(|| SignerError::Wrong("the device gave no r and s".to_owned()))?;
        secp256k1::complete(self.address, &digest, &raw)
    }
}

impl Signer for Pkcs11Signer {
    fn address(&self) -> Address {
        self.address
    }

    fn describe(&self) -> String {
        self.name.clone()
    }

    fn sign(&self, _purpose: Purpose, digest: [u8; 32]) -> Signing<'_> {
        Box::pin(self.sign_digest(digest))
    }
}

/// Runs a blocking call; waiting for the one before it and for the call itself share the time-out.
async fn on_thread<T: Send + 'static>(
    gate: &Arc<Semaphore>,
    timeout: Duration,
    call: impl FnOnce() -> Result<T, SignerError> + Send + 'static,
) -> Result<T, SignerError> {
    let gate = Arc::clone(gate);
    let call = async move {
        let permit = gate.acquire_owned().await;
        let permit = permit.map_err(|_| SignerError::Unreachable("the device's gate is closed".to_owned()))?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            call()
        });
        done.await.map_err(|_| SignerError::Unreachable("the device's thread stopped".to_owned()))?
    };
    let late = |_| SignerError::Unreachable("the device did not answer in time".to_owned());
    tokio::time::timeout(timeout, call).await.map_err(late)?
}
