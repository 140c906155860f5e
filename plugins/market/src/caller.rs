//! Who asks: the member `caller` of a request, which a gateway adds where it has authenticated somebody.

use alloc::string::String;
use alloc::vec::Vec;

use tally_plugin::json::Json;

/// Whoever asks; nobody, where the request does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    principal: String,
    roles: Vec<String>,
}

impl Caller {
    /// Of a request, as `query` takes it.
    #[must_use]
    pub fn of(request: &[u8]) -> Self {
        let read = || {
            let caller = Json::parse(request).ok()?.get("caller")?;
            let roles = caller.get("roles")?.items().filter_map(|role| Some(role.text()?.into_owned())).collect();
            Some(Self { principal: caller.get("principal")?.text()?.into_owned(), roles })
        };
        read().unwrap_or_default()
    }

    /// The principal that asks; nothing if the request does not say.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        Some(self.principal.as_str()).filter(|principal| !principal.is_empty())
    }

    /// Whether this is the principal; nobody is nobody's.
    #[must_use]
    pub fn is(&self, principal: &str) -> bool {
        !principal.is_empty() && self.principal == principal
    }

    /// Whether the caller has a role.
    #[must_use]
    pub fn has(&self, role: &str) -> bool {
        self.roles.iter().any(|known| known == role)
    }
}
