//! A credential of a provider: wiped when dropped, never shown.
//!
//! Takes a text once; gives it to nobody but the connectors. An empty one, or one that no header may hold, is refused, so
//! that a missing setting is no credential.

use std::fmt;

use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

/// The longest credential, in bytes.
const SECRET_BYTES_MAX: usize = 1024;

/// An API key, a token, or the secret of a webhook.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// A text that is no credential: empty, longer than 1,024 bytes, or with other than visible ASCII characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret has 1 to {SECRET_BYTES_MAX} visible ASCII characters")]
pub struct SecretError;

impl Secret {
    /// Takes a credential. What the caller keeps of it is the caller's to wipe.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn new(text: Zeroizing<String>) -> Result<Self, SecretError> {
        let held =
            !text.is_empty() && text.len() <= SECRET_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        if held { Ok(Self(text)) } else { Err(SecretError) }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// How the text begins: what kind of key it is, and for which mode, is public.
    pub(crate) fn begins_with(&self, prefix: &str) -> bool {
        self.0.starts_with(prefix)
    }

    /// `Authorization: Bearer`. The HTTP client keeps its copy for one request and does not wipe it.
    pub(crate) fn bearer(&self) -> HeaderValue {
        let text = Zeroizing::new(format!("Bearer {}", *self.0));
        let mut value = HeaderValue::from_str(&text).expect("visible ASCII, by `new`");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
