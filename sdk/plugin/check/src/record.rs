//! How modules were built: `plugins/manifest.json`, one object a module, so that anybody can build the same bytes.
//!
//! Takes modules and what the builder says of itself; gives canonical members, one module a line.

use tally_plugin::json::{Json, Object};
use tally_plugin::test_host::{Host, Limits, Mode, Stop};

use crate::engine::{LoadError, ModuleHost};

/// Who built.
#[derive(Clone, Debug)]
pub struct Builder<'a> {
    /// Which of the known builders.
    pub id: &'a str,
    /// What the compiler says of itself.
    pub rustc: &'a str,
    /// Everything on its command line that changes bytes.
    pub flags: &'a str,
}

/// One module's line.
///
/// # Errors
/// The module is not one of the contract.
pub fn line(name: &str, wasm: &[u8], builder: &Builder<'_>) -> Result<String, LoadError> {
    let loaded = ModuleHost::load(wasm, Limits::default())?;
    let manifest = Json::parse(loaded.manifest()).map_err(|_| LoadError::Manifest)?;
    let text = |name: &str| manifest.get(name).and_then(Json::text).ok_or(LoadError::Manifest);
    let object = Object::new()
        .hex("blake3", &hashed(wasm, Host::blake3))
        .text("builder", builder.id)
        .number("bytes", wasm.len() as u64)
        .text("file", &format!("{name}/{name}.wasm"))
        .text("flags", builder.flags)
        .text("id", &text("id")?)
        .text("rustc", builder.rustc)
        .hex("sha256", &hashed(wasm, Host::sha256))
        .text("version", &text("version")?);
    Ok(String::from_utf8_lossy(&object.finish()).into_owned())
}

fn hashed(bytes: &[u8], hash: fn(&Host, &[u8]) -> Result<[u8; 32], Stop>) -> [u8; 32] {
    let mut host = Host::new(Limits::default(), Vec::new(), Vec::new());
    host.enter(Mode::Query);
    // Only a call where it may not be made fails, and a query may.
    hash(&host, bytes).unwrap_or_default()
}
