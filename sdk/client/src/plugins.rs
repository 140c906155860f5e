//! Plugins: modules by their hash, what runs in a stream, questions, proven state, commands with receipt and outcome.
//!
//! Modules, receipts, outcomes and state are checked before they are handed out. Lists, answers to questions, logs and
//! effects are the server's word; what proves them is replaying the log.

use std::sync::Arc;

use bytes::Bytes;
use tally_api::plugin::{
    CommandAnswer, EffectActed, EffectPage, LogPage, ModuleStored, OCTETS, PluginAnswer, PluginList, QueryAnswer,
    ReleaseReport, StateAnswer, WASM,
};
use tally_api::submit::FRAMES;
use tally_protocol::frame::Frame;
use tally_protocol::hash::{self, ModuleHash};
use tally_protocol::id::{Index, PluginId, Stream};
use tally_protocol::plugin_event::encode_release;
use tally_protocol::release::Release;
use tally_verify::{StateAt, verify_state_absent, verify_state_value};

use crate::client::Client;
use crate::error::ClientError;
use crate::outcomes::ProvenOutcome;
use crate::read::stream_path;
use crate::submit::ProvenReceipt;
use crate::transport::{Request, segment};
use crate::watch::SeenCheckpoint;

/// What a plugin holds under a key; checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenState {
    /// The value; `None` if it is proven that there is none.
    pub value: Option<Vec<u8>>,
    /// The proof, as the server gave it.
    pub proof: Vec<u8>,
    /// The signed checkpoint of the log of outcomes that commits the state.
    pub checkpoint: Arc<SeenCheckpoint>,
}

/// What became of a command; checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenCommand {
    /// Whether the event was in the log already.
    pub duplicate: bool,
    /// That it is in the log.
    pub receipt: ProvenReceipt,
    /// What the plugins decided; `None` if it was not applied in time: ask [`Client::outcome`] later.
    pub outcome: Option<ProvenOutcome>,
}

/// How a plugin declares a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
}

fn plugin_path(stream: Stream, plugin: &PluginId) -> String {
    format!("{}/plugins/{plugin}", stream_path(stream))
}

/// A declared path: each segment and parameter is any text.
fn declared_path(stream: Stream, plugin: &PluginId, path: &[&str], query: &[(&str, &str)]) -> String {
    let mut out = format!("/plugins/{}/{}/{plugin}", stream.tenant, stream.store);
    for part in path {
        out.push('/');
        out.push_str(&segment(part));
    }
    for (at, (name, value)) in query.iter().enumerate() {
        out.push(if at == 0 { '?' } else { '&' });
        out.push_str(&format!("{}={}", segment(name), segment(value)));
    }
    out
}

impl Client {
    /// Puts a plugin's module on the node; an event that names it makes it run. Repeated freely.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn put_module(&self, wasm: Bytes) -> Result<ModuleHash, ClientError> {
        const PATH: &str = "/v1/modules";
        let expected = hash::module(&wasm);
        let stored: ModuleStored = self.shared.http.json(&Request::post(PATH, WASM, wasm)).await?;
        if stored.module == expected {
            return Ok(expected);
        }
        Err(ClientError::malformed(PATH, "the server stored another module"))
    }

    /// What the node's host has to say about a release whose module it has; needed before it takes an approval. Repeated
    /// freely.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn report(&self, release: &Release) -> Result<ReleaseReport, ClientError> {
        const PATH: &str = "/v1/reports";
        self.shared.http.json(&Request::post(PATH, "application/json", encode_release(release).into())).await
    }

    /// A module's bytes, checked against its hash. Who is no operator names a stream of its own that runs it.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn module(&self, module: ModuleHash, stream: Option<Stream>) -> Result<Bytes, ClientError> {
        let claim = stream.map_or_else(String::new, |of| format!("?tenant={}&store={}", of.tenant, of.store));
        let path = format!("/v1/modules/{module}{claim}");
        let wasm = self.shared.http.bytes(&Request::get(&path)).await?;
        if hash::module(&wasm) == module {
            return Ok(wasm);
        }
        Err(ClientError::malformed(&path, "these are the bytes of another module"))
    }

    /// The plugins of a stream, in install order. The server's word.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn plugins(&self, stream: Stream) -> Result<PluginList, ClientError> {
        self.shared.http.json(&Request::get(format!("{}/plugins", stream_path(stream)))).await
    }

    /// One plugin of a stream. The server's word.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn plugin(&self, stream: Stream, plugin: &PluginId) -> Result<PluginAnswer, ClientError> {
        self.shared.http.json(&Request::get(plugin_path(stream, plugin))).await
    }

    /// Asks a plugin in bytes of its own. The server's word.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn query_plugin(
        &self,
        stream: Stream,
        plugin: &PluginId,
        request: Bytes,
    ) -> Result<QueryAnswer, ClientError> {
        let path = format!("{}/query", plugin_path(stream, plugin));
        self.shared.http.json(&Request::post(path, OCTETS, request)).await
    }

    /// Asks a plugin by a route that it declares as a query; gives the JSON of its answer. The server's word. What the
    /// plugin refuses is a [`ClientError::Refused`] with the plugin's status and, in its details, the plugin's words.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn ask_plugin(
        &self,
        stream: Stream,
        plugin: &PluginId,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Bytes, ClientError> {
        self.shared.http.bytes(&Request::get(declared_path(stream, plugin, path, query))).await
    }

    /// What a plugin holds under a key, or that it holds nothing there: proven, at the newest signed outcomes.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn plugin_state(
        &self,
        stream: Stream,
        plugin: &PluginId,
        key: &[u8],
    ) -> Result<ProvenState, ClientError> {
        let path = format!("{}/state/{}", plugin_path(stream, plugin), hash::hex(key));
        let answer: StateAnswer = self.shared.http.json(&Request::get(&path)).await?;
        let checkpoint = self.take_outcomes_checkpoint(&answer.checkpoint).await?;
        let root = checkpoint.states_root();
        let root = root.ok_or_else(|| ClientError::malformed(&path, "the checkpoint commits no state"))?;
        let proof = tally_verify::StateAnswer::decode(&answer.proof);
        let proof = proof.map_err(|error| ClientError::malformed(&path, error))?;
        let at = StateAt { stream, plugin, key };
        match &answer.value {
            Some(value) => verify_state_value(&root, &at, value, &proof)?,
            None => verify_state_absent(&root, &at, &proof)?,
        }
        Ok(ProvenState { value: answer.value, proof: answer.proof, checkpoint })
    }

    /// The newest lines that a plugin logged behind an event, oldest first. The server's word.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn plugin_logs(
        &self,
        stream: Stream,
        plugin: &PluginId,
        after: Option<Index>,
        limit: usize,
    ) -> Result<LogPage, ClientError> {
        let after = after.map_or_else(String::new, |after| format!("&after={after}"));
        let path = format!("{}/logs?limit={limit}{after}", plugin_path(stream, plugin));
        self.shared.http.json(&Request::get(path)).await
    }

    /// Effects that plugins asked for, in order of the log; `after` is the `next_after` of the page before. The
    /// server's word.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn effects(&self, after: Option<&str>, limit: usize) -> Result<EffectPage, ClientError> {
        let after = after.map_or_else(String::new, |after| format!("&after={}", segment(after)));
        self.shared.http.json(&Request::get(format!("/v1/effects?limit={limit}{after}"))).await
    }

    /// Has a dead letter tried again: what came of it is looked up first. Not repeated unless it is certain that nothing
    /// was done.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn retry_effect(&self, index: Index, number: u32) -> Result<EffectActed, ClientError> {
        self.act_on_effect(index, number, "retry").await
    }

    /// Gives a dead letter up: its answer is `failed`. Not repeated unless it is certain that nothing was done.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn fail_effect(&self, index: Index, number: u32) -> Result<EffectActed, ClientError> {
        self.act_on_effect(index, number, "fail").await
    }

    async fn act_on_effect(&self, index: Index, number: u32, action: &str) -> Result<EffectActed, ClientError> {
        let path = format!("/v1/effects/{index}/{number}/{action}");
        self.shared.http.json(&Request::post_nothing(path).once()).await
    }

    /// Submits an event by a route that a plugin of its stream declares as a command, and awaits the outcome. Repeated
    /// freely: it is one event, whatever way and however often it comes.
    ///
    /// # Errors
    /// See [`ClientError::class`]. Whether the event is in the log is then unknown: send it again.
    pub async fn command(
        &self,
        frame: &Frame,
        plugin: &PluginId,
        verb: Verb,
        path: &[&str],
    ) -> Result<ProvenCommand, ClientError> {
        let path = declared_path(frame.stream(), plugin, path, &[]);
        let request = Request::send(verb, &path, FRAMES, frame.bytes().clone());
        let answer: CommandAnswer = self.shared.http.json(&request).await?;
        let ledger = self.ledger().await?;
        let mut checkpoints = Vec::new();
        for note in &answer.checkpoints {
            checkpoints.push(self.take_checkpoint(note).await?);
        }
        let receipt = self.prove(&ledger, frame, answer.receipt, &checkpoints).await?;
        let outcome = match answer.outcome {
            Some(outcome) => Some(self.prove_outcome(outcome, receipt.placed.index, receipt.leaf_hash, &path).await?),
            None => None,
        };
        Ok(ProvenCommand { duplicate: answer.duplicate, receipt, outcome })
    }

    /// The node's OpenAPI document with the routes that the plugins of a stream declare.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn stream_openapi(&self, stream: Stream) -> Result<serde_json::Value, ClientError> {
        self.shared.http.json(&Request::get(format!("{}/openapi.json", stream_path(stream)))).await
    }
}

#[cfg(test)]
mod tests {
    use tally_protocol::id::{StoreId, TenantId};

    use super::*;

    #[test]
    fn a_declared_path_holds_any_text() {
        let stream = Stream::new(TenantId::from_bytes([1; 16]), StoreId::from_bytes([2; 16]));
        let plugin = PluginId::new("shop").unwrap();
        let path = declared_path(stream, &plugin, &["items", "a/b ..", ".."], &[("x", "1&y=2"), ("z", "")]);
        let below = path.split_once("/shop").unwrap().1;
        assert_eq!(below, "/items/a%2Fb%20../%2E%2E?x=1%26y%3D2&z=");
    }
}
