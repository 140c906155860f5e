//! SoftHSM2 with a token of its own. The module reads `SOFTHSM2_CONF` when it starts, and a test may not change its own
//! environment: so each test runs again in a child process that has the variable.

use std::path::{Path, PathBuf};
use std::process::Command;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

pub(crate) const PIN: &str = "4711-anchor";
const CHILD: &str = "TALLY_TEST_TOKEN_FOLDER";
const SECP256K1: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];

/// A token with a secp256k1 key `gas` in it, made inside it.
pub(crate) struct Token {
    /// Where the tokens lie; the PIN is in the file `pin` beside it.
    pub(crate) folder: PathBuf,
    pub(crate) module: PathBuf,
}

/// Runs the test's body in a child process with a token; `name` is the test's own.
pub(crate) fn with_token(name: &str, body: impl AsyncFnOnce(Token)) {
    if let Some(folder) = std::env::var_os(CHILD) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        return runtime.block_on(body(Token::new(PathBuf::from(folder))));
    }
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let conf = folder.path().join("softhsm2.conf");
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
    std::fs::write(&conf, text).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture"]).env("SOFTHSM2_CONF", conf).env(CHILD, folder.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "no test is named {name}");
}

impl Token {
    fn new(folder: PathBuf) -> Self {
        let module = std::env::var_os("TALLY_SOFTHSM").map_or_else(find_module, PathBuf::from);
        let token = Self { folder, module };
        write_private(&token.pin_file(), PIN);
        token.in_session(|session| generate(session, "gas", true));
        token
    }

    pub(crate) fn pin_file(&self) -> PathBuf {
        self.folder.join("pin")
    }

    pub(crate) fn settings(&self, more: &str) -> String {
        let (module, pin) = (self.module.display(), self.pin_file());
        let pin = pin.display();
        format!("kind = \"pkcs11\"\nmodule = \"{module}\"\ntoken = \"anchor\"\npin = {{ file = \"{pin}\" }}\n{more}")
    }

    /// Does something as the device's owner, before the signer sees it; initialises the token if there is none.
    pub(crate) fn in_session(&self, work: impl FnOnce(&Session)) {
        let library = Pkcs11::new(&self.module).unwrap();
        library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        let slot = match library.get_slots_with_initialized_token().unwrap()[..] {
            [slot] => slot,
            _ => initialise(&library),
        };
        let session = library.open_rw_session(slot).unwrap();
        session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).unwrap();
        work(&session);
        drop(session);
        library.finalize().unwrap();
    }
}

fn find_module() -> PathBuf {
    let places = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
    let found = places.into_iter().map(PathBuf::from).find(|path| path.is_file());
    found.expect("libsofthsm2.so is missing: set TALLY_SOFTHSM, or run `cargo xtask test`")
}

fn initialise(library: &Pkcs11) -> cryptoki::slot::Slot {
    let officer = AuthPin::new("officer-0815".into());
    let slot = library.get_slots_with_token().unwrap()[0];
    library.init_token(slot, &officer, "anchor").unwrap();
    let slot = library.get_slots_with_initialized_token().unwrap()[0];
    let session = library.open_rw_session(slot).unwrap();
    session.login(UserType::So, Some(&officer)).unwrap();
    session.init_pin(&AuthPin::new(PIN.into())).unwrap();
    slot
}

/// Makes a key pair inside the token.
pub(crate) fn generate(session: &Session, label: &str, kept_inside: bool) {
    let label = Attribute::Label(label.as_bytes().to_vec());
    let public =
        [Attribute::Token(true), Attribute::Verify(true), Attribute::EcParams(SECP256K1.to_vec()), label.clone()];
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sign(true),
        Attribute::Sensitive(kept_inside),
        Attribute::Extractable(!kept_inside),
        label,
    ];
    session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).unwrap();
}

pub(crate) fn write_private(path: &Path, text: &str) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
