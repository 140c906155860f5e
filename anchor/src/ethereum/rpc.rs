//! JSON-RPC 2.0 over HTTP with one provider.
//!
//! Takes a method and parameters, gives the result or what exactly went wrong. Time and size of an answer are bounded. The URL
//! may carry a token, so no error shows it.

use std::sync::{Arc, Once};
use std::time::Duration;

use rustls_platform_verifier::BuilderVerifierExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::Provider;
use crate::error::{AnchorError, Refusal};
use crate::files::from_hex;

use super::abi;

/// An answer is at most this long: a day of events is below it, a provider that never ends is cut off.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What came instead of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RpcError {
    /// No answer, or none that is JSON-RPC.
    Transport(String),
    /// The node's error.
    Node { code: i64, message: String, data: Option<Vec<u8>> },
}

/// One provider.
#[derive(Debug, Clone)]
pub(super) struct Rpc {
    name: Arc<str>,
    url: Arc<str>,
    client: reqwest::Client,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Value,
    error: Option<NodeError>,
}

#[derive(Deserialize)]
struct NodeError {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Value,
}

impl Rpc {
    pub(super) fn new(provider: &Provider, timeout: Duration) -> Result<Self, AnchorError> {
        let tls = tls()?;
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .tls_backend_preconfigured(tls)
            .build()
            .map_err(|error| AnchorError::Config(format!("provider {}: {}", provider.name, error.without_url())))?;
        Ok(Self { name: provider.name.as_str().into(), url: provider.url.as_str().into(), client })
    }

    pub(super) async fn call(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        let failed = |error: reqwest::Error| RpcError::Transport(format!("{}: {}", self.name, error.without_url()));
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut response = self.client.post(&*self.url).json(&request).send().await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(RpcError::Transport(format!("{}: the answer does not end", self.name)));
            }
            body.extend_from_slice(&chunk);
        }
        let status = response.status();
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| RpcError::Transport(format!("{}: status {status} without JSON-RPC", self.name)))?;
        match answer.error {
            None => Ok(answer.result),
            Some(error) => {
                Err(RpcError::Node { code: error.code, message: error.message, data: revert_data(&error.data) })
            }
        }
    }
}

/// Revert data stands in `data`, or one level deeper.
fn revert_data(data: &Value) -> Option<Vec<u8>> {
    data.as_str().or_else(|| data.get("data")?.as_str()).and_then(from_hex)
}

fn tls() -> Result<rustls::ClientConfig, AnchorError> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // A process that has installed its own provider keeps it.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
    });
    let wrong = |error: rustls::Error| AnchorError::Config(format!("TLS: {error}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(wrong)?.with_platform_verifier().map_err(wrong)?.with_no_client_auth())
}

/// What a node means by its error: by code, by revert data, and by the phrases of the nodes in use.
pub(super) fn classify(code: i64, message: &str, data: Option<&[u8]>) -> Option<Refusal> {
    let text = message.to_ascii_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    if says(&["already known", "already imported", "known transaction", "already exists", "alreadyknown"]) {
        return None;
    }
    let refusal = if let Some(data) = data.filter(|data| data.len() >= 4) {
        Refusal::Reverted(abi::read_revert(data))
    } else if says(&["nonce too low", "nonce is too low", "old nonce", "invalid nonce"]) {
        Refusal::NonceTooLow
    } else if says(&["replacement transaction underpriced", "gas price too low to replace", "could not replace"]) {
        Refusal::Underpriced
    } else if says(&["insufficient funds", "insufficient balance"]) {
        Refusal::InsufficientFunds
    } else if says(&["underpriced", "less than block base fee", "max fee per gas less", "fee too low", "feecap"]) {
        Refusal::FeeTooLow
    } else if code == 3 || says(&["execution reverted"]) {
        Refusal::Reverted(abi::read_revert(&[]))
    } else {
        Refusal::Other(code, message.chars().take(200).collect())
    };
    Some(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Revert;

    #[test]
    fn the_phrases_of_geth_erigon_nethermind_and_anvil_are_told_apart() {
        let of = |message: &str| classify(-32000, message, None);
        for known in ["already known", "AlreadyKnown", "transaction already imported", "known transaction: 0xab"] {
            assert_eq!(of(known), None, "{known} is success");
        }
        assert_eq!(of("nonce too low: next nonce 5, tx nonce 3"), Some(Refusal::NonceTooLow));
        assert_eq!(of("replacement transaction underpriced"), Some(Refusal::Underpriced));
        assert_eq!(of("transaction underpriced: tip needed 1"), Some(Refusal::FeeTooLow));
        assert_eq!(of("max fee per gas less than block base fee"), Some(Refusal::FeeTooLow));
        assert_eq!(of("Insufficient funds for gas * price + value"), Some(Refusal::InsufficientFunds));
        assert_eq!(of("something else"), Some(Refusal::Other(-32000, "something else".to_owned())));
    }

    #[test]
    fn a_revert_is_told_by_its_data_and_not_by_its_text() {
        let selector = &abi::keccak(b"SizeNotGrowing(uint64,uint64)").0[..4];
        let refusal = classify(3, "execution reverted: custom error", Some(selector));
        assert_eq!(refusal, Some(Refusal::Reverted(Revert::SizeNotGrowing)));
        let nested = json!({ "data": crate::files::to_hex(selector) });
        assert_eq!(revert_data(&nested).as_deref(), Some(selector));
    }
}
