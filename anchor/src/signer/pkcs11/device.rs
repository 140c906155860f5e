//! The device's side: module, token, session, key.
//!
//! A module is state of the process, not of a signer (PKCS#11 v2.40 section 5.4): it is initialised once, a login counts
//! for all sessions of a token, and finalising ends every session. So modules are kept in one table, each behind a lock
//! with all its sessions, and a session is never used, closed or lost outside that lock.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::{Pin, Pkcs11Config};
use crate::signer::config::OpenError;
use crate::signer::{Address, SignerError, secp256k1};

static MODULES: Mutex<BTreeMap<PathBuf, Arc<Module>>> = Mutex::new(BTreeMap::new());
static SIGNERS: AtomicU64 = AtomicU64::new(0);

/// A loaded module.
struct Module {
    state: Mutex<State>,
}

struct State {
    library: Pkcs11,
    initialised: bool,
    /// One session per signer.
    sessions: BTreeMap<u64, Logged>,
}

/// A session that is logged in, and the key in it.
struct Logged {
    session: Session,
    key: ObjectHandle,
}

/// One key of one token, and how to come to it.
pub(super) struct Device {
    signer: u64,
    module: Arc<Module>,
    token: Option<String>,
    serial: Option<String>,
    key: Vec<Attribute>,
    pin: Pin,
    /// The last PIN that the device refused.
    refused_pin: Mutex<Option<Zeroizing<String>>>,
    extractable_allowed: bool,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Device({:?}, {:?})", self.token, self.serial)
    }
}

/// Why a call failed.
enum Failed {
    /// The session, the token or the module is gone; asking anew may help.
    Lost(String),
    /// Asking anew does not help.
    Final(OpenError),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error {
            Error::Pkcs11(
                reason @ (RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinExpired
                | RvError::PinLocked
                | RvError::UserPinNotInitialized
                | RvError::KeyFunctionNotPermitted
                | RvError::KeyTypeInconsistent
                | RvError::MechanismInvalid
                | RvError::ActionProhibited
                | RvError::FunctionRejected),
                function,
            ) => refused(&format!("{function} says {reason:?}")),
            Error::Pkcs11(reason, function) => Self::Lost(format!("{function} says {reason:?}")),
            other => Self::Lost(other.to_string()),
        }
    }
}

fn refused(why: &str) -> Failed {
    Failed::Final(SignerError::Refused(why.to_owned()).into())
}

impl Failed {
    fn open_error(self) -> OpenError {
        match self {
            Self::Lost(why) => SignerError::Unreachable(why).into(),
            Self::Final(error) => error,
        }
    }

    fn signer_error(self) -> SignerError {
        match self {
            Self::Lost(why) => SignerError::Unreachable(why),
            Self::Final(OpenError::Signer(error)) => error,
            Self::Final(other) => SignerError::Refused(other.to_string()),
        }
    }
}

impl Device {
    pub(super) fn new(config: &Pkcs11Config, pin: Pin) -> Result<Self, OpenError> {
        if config.token.is_none() && config.serial.is_none() {
            return Err(OpenError::Config("a PKCS#11 token needs its label (`token`) or `serial`".to_owned()));
        }
        let mut key = vec![Attribute::KeyType(KeyType::EC)];
        key.extend(config.key.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
        if let Some(text) = &config.key_id {
            let id = parse_id(text).ok_or_else(|| OpenError::Config("key_id is 0x and pairs of digits".to_owned()))?;
            key.push(Attribute::Id(id));
        }
        if key.len() == 1 {
            return Err(OpenError::Config("a PKCS#11 key needs its label (`key`) or `key_id`".to_owned()));
        }
        Ok(Self {
            signer: SIGNERS.fetch_add(1, Ordering::Relaxed),
            module: Module::load(&config.module)?,
            token: config.token.clone(),
            serial: config.serial.clone(),
            key,
            pin,
            refused_pin: Mutex::new(None),
            extractable_allowed: config.development,
        })
    }

    /// Finds the key; gives its address if the device holds the public key. Blocks.
    pub(super) fn open(&self) -> Result<Option<Address>, OpenError> {
        self.with_key(|session, _| self.address(session)).map_err(Failed::open_error)
    }

    /// Gives what the device calls a signature. Blocks.
    pub(super) fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, SignerError> {
        let signed = self.with_key(|session, key| Ok(session.sign(&Mechanism::Ecdsa, key, digest)?));
        signed.map_err(Failed::signer_error)
    }

    /// Does something in the session; if it is lost, once more in a new one of a module that is started again.
    fn with_key<T>(&self, work: impl Fn(&Session, ObjectHandle) -> Result<T, Failed>) -> Result<T, Failed> {
        let mut state = self.module.lock()?;
        match self.attempt(&mut state, &work) {
            Err(Failed::Lost(_)) => {
                state.restart()?;
                self.attempt(&mut state, &work)
            }
            other => other,
        }
    }

    fn attempt<T>(
        &self,
        state: &mut State,
        work: &impl Fn(&Session, ObjectHandle) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let logged = match state.sessions.remove(&self.signer) {
            Some(logged) => logged,
            None => self.log_in(state)?,
        };
        let done = work(&logged.session, logged.key)?;
        state.sessions.insert(self.signer, logged);
        Ok(done)
    }

    fn log_in(&self, state: &mut State) -> Result<Logged, Failed> {
        state.start()?;
        let slot = self.slot(&state.library)?;
        let session = state.library.open_ro_session(slot)?;
        self.give_pin(&session)?;
        let key = self.private_key(&session)?;
        Ok(Logged { session, key })
    }

    fn slot(&self, library: &Pkcs11) -> Result<Slot, Failed> {
        let mut found = Vec::new();
        for slot in library.get_slots_with_initialized_token()? {
            let info = library.get_token_info(slot)?;
            let fits = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is.trim_end());
            if fits(&self.token, info.label()) && fits(&self.serial, info.serial_number()) {
                found.push(slot);
            }
        }
        match found[..] {
            [slot] => Ok(slot),
            [] => Err(Failed::Lost("there is no such token".to_owned())),
            _ => Err(refused("more than one token fits; give its serial")),
        }
    }

    /// Logs in; a PIN that the device has refused is not shown to it again.
    fn give_pin(&self, session: &Session) -> Result<(), Failed> {
        let pin = self.pin.read().map_err(Failed::Final)?;
        let mut last = self.refused_pin.lock().map_err(|_| Failed::Lost("a thread stopped".to_owned()))?;
        if last.as_ref() == Some(&pin) {
            return Err(refused("the PIN was refused before and has not changed"));
        }
        match session.login(UserType::User, Some(&AuthPin::new(pin.as_str().into()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                *last = None;
                Ok(())
            }
            Err(error) => {
                if matches!(error, Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLocked, _)) {
                    *last = Some(pin);
                }
                Err(error.into())
            }
        }
    }

    fn private_key(&self, session: &Session) -> Result<ObjectHandle, Failed> {
        let found = session.find_objects(&self.template(ObjectClass::PRIVATE_KEY))?;
        let key = match found[..] {
            [key] => key,
            [] => return Err(refused("there is no such private key on the token")),
            _ => return Err(refused("more than one private key fits; give its key_id")),
        };
        let asked = [AttributeType::Sensitive, AttributeType::Extractable, AttributeType::EcParams];
        let (mut sensitive, mut extractable, mut curve) = (false, true, None);
        for attribute in session.get_attributes(key, &asked)? {
            match attribute {
                Attribute::Sensitive(is) => sensitive = is,
                Attribute::Extractable(is) => extractable = is,
                Attribute::EcParams(der) => curve = Some(der),
                _ => {}
            }
        }
        if curve.is_some_and(|der| der != secp256k1::CURVE_OID_DER) {
            return Err(refused("the key is not on secp256k1"));
        }
        if (extractable || !sensitive) && !self.extractable_allowed {
            let why = "the private key is extractable or not sensitive: the device would give it out".to_owned();
            return Err(Failed::Final(OpenError::Unsafe(why)));
        }
        Ok(key)
    }

    fn address(&self, session: &Session) -> Result<Option<Address>, Failed> {
        let found = session.find_objects(&self.template(ObjectClass::PUBLIC_KEY))?;
        let Some(key) = found.first() else { return Ok(None) };
        let point = session.get_attributes(*key, &[AttributeType::EcPoint])?;
        let [Attribute::EcPoint(point)] = &point[..] else { return Ok(None) };
        let address = secp256k1::address_of_ec_point(point);
        address.map(Some).ok_or_else(|| refused("the public key is no uncompressed point of secp256k1"))
    }

    fn template(&self, class: ObjectClass) -> Vec<Attribute> {
        let mut template = self.key.clone();
        template.push(Attribute::Class(class));
        template
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // A module that hangs keeps its lock; its session then ends with the process.
        if let Ok(mut state) = self.module.state.try_lock() {
            state.sessions.remove(&self.signer);
        }
    }
}

impl Module {
    /// Loads a module, once per process.
    fn load(path: &Path) -> Result<Arc<Self>, OpenError> {
        let fail =
            |error: &dyn std::fmt::Display| OpenError::Config(format!("failed to load {}: {error}", path.display()));
        let mut modules = MODULES.lock().map_err(|error| fail(&error))?;
        if let Some(module) = modules.get(path) {
            return Ok(Arc::clone(module));
        }
        let library = Pkcs11::new(path).map_err(|error| fail(&error))?;
        let state = State { library, initialised: false, sessions: BTreeMap::new() };
        let module = Arc::new(Self { state: Mutex::new(state) });
        modules.insert(path.to_owned(), Arc::clone(&module));
        Ok(module)
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>, Failed> {
        self.state.lock().map_err(|_| Failed::Lost("a thread stopped inside the module".to_owned()))
    }
}

impl State {
    fn start(&mut self) -> Result<(), Failed> {
        if self.initialised {
            return Ok(());
        }
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        match self.library.initialize(arguments) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {
                self.initialised = true;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Ends every session and starts the module again: only then some modules see a token that was away.
    fn restart(&mut self) -> Result<(), Failed> {
        // Handles are numbers, and a new session may get an old one's: none may be closed after this.
        self.sessions.clear();
        if self.initialised {
            // A module that is already down says so; starting tells.
            let _ = self.library.clone().finalize();
            self.initialised = false;
        }
        self.start()
    }
}

fn parse_id(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").filter(|digits| !digits.is_empty() && digits.len() % 2 == 0)?;
    let pairs = digits.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
