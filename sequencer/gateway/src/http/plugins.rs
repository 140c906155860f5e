//! What runs in a stream, through the seam to whoever runs it: plugins, questions, state with its proof, logs, effects.
//!
//! Takes a stream that the caller reaches, asks the [`PluginPort`] off the async threads. Questions run guests' code, so
//! they have no more than half of the turns of reads: however slow plugins are, the log is read. How long one question
//! may take is the port's matter.

use std::sync::Arc;

use serde_json::Value;
use tally_api::error::ErrorCode;
use tally_api::plugin::{
    Effect, EffectPage, LogLine, LogPage, OCTETS, Plugin, PluginAnswer, PluginList, PluginRoute, QueryAnswer,
    StateAnswer,
};
use tally_core::Reader;
use tally_protocol::hash::ModuleHash;
use tally_protocol::id::{Index, PluginId, Stream, TreeSize};
use tally_protocol::outcome_log::states_root;

use super::call::{Call, READ_TURN};
use super::log::Log;
use super::{Reply, respond};
use crate::Gateway;
use crate::auth::{Caller, Rule};
use crate::credential::Permission;
use crate::error::ApiError;
use crate::plugins::{EffectInfo, PluginInfo, PluginPort, PluginPortError};

/// A question to a plugin: a page of arguments, not a file.
const QUERY_BYTES_MAX: usize = 64 << 10;
/// What a plugin may answer, as its contract says.
pub(crate) const ANSWER_BYTES_MAX: usize = 1 << 20;
/// A key of a plugin's state; more than any host allows.
const KEY_BYTES_MAX: usize = 1024;
/// How often a state is read to meet a checkpoint that is at hand: ranges are applied 10 ms apart.
const STATE_READS_MAX: usize = 8;

/// A port's answer in the API's words.
pub(crate) trait Asked<T> {
    /// `refused` is the code of what the port refuses.
    fn asked(self, refused: ErrorCode) -> Result<T, ApiError>;
}

impl<T> Asked<T> for Result<T, PluginPortError> {
    fn asked(self, refused: ErrorCode) -> Result<T, ApiError> {
        self.map_err(|error| match error {
            PluginPortError::NotFound(what) => ApiError::new(ErrorCode::PluginNotFound, what),
            PluginPortError::Refused(why) => ApiError::new(refused, why),
            PluginPortError::NotRunning(why) => ApiError::new(ErrorCode::PluginNotRunning, why),
            PluginPortError::Guest(code) => ApiError::new(ErrorCode::PluginFailed, "the plugin failed at the question")
                .with(serde_json::json!({ "outcome": code })),
            PluginPortError::Busy => ApiError::busy(),
            PluginPortError::Failed(why) => {
                tracing::error!(%why, "the plugin host failed");
                ApiError::new(ErrorCode::ServiceUnavailable, "the plugin host failed").after(1)
            }
        })
    }
}

impl Gateway {
    /// Asks whoever runs plugins, off the async threads, a bounded number at a time.
    pub(crate) async fn ask_plugins<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn PluginPort, &Reader) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let port = self.plugins.clone().ok_or_else(ApiError::no_plugins)?;
        let turn = tokio::time::timeout(READ_TURN, Arc::clone(&self.plugin_calls).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(ApiError::busy()) };
        self.read(move |reader| {
            let result = work(port.as_ref(), reader);
            // Kept by the work and not by the request: who hangs up does not end what the plugin does.
            drop(turn);
            result
        })
        .await
    }
}

/// The first plugin that fits.
pub(crate) fn find(plugins: &[PluginInfo], fits: impl Fn(&PluginInfo) -> bool) -> Option<&PluginInfo> {
    plugins.iter().find(|plugin| fits(plugin))
}

pub(crate) fn no_plugin() -> ApiError {
    ApiError::new(ErrorCode::PluginNotFound, "no such plugin in this stream")
}

impl Call {
    /// The plugin in the path.
    pub(crate) fn plugin(&self) -> Result<PluginId, ApiError> {
        let id = PluginId::new(self.param("plugin")?);
        id.map_err(|_| ApiError::field("plugin", "must be 1 to 64 of a-z, 0-9 and -"))
    }
}

pub(crate) fn shape(of: &PluginInfo) -> Plugin {
    Plugin {
        plugin: of.plugin.as_str().to_owned(),
        status: of.status.to_owned(),
        version: of.version.clone(),
        module: of.module,
        installed: of.installed,
        record: of.record.clone(),
        routes: of
            .routes
            .iter()
            .map(|route| PluginRoute {
                name: route.name.clone(),
                method: route.method.clone(),
                path: route.path.clone(),
                event: route.event.clone(),
            })
            .collect(),
    }
}

/// A stream whose plugins are asked for, and how much of them the caller sees.
///
/// A control stream's plugins are those of its registry. What stands in a tenant's is the tenant's own; from the
/// ledger's registry everybody installs, so its approved releases are for everybody, and the others for operators.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight {
    stream: Stream,
    approved_only: bool,
}

impl Sight {
    pub(crate) fn of(caller: &Caller, stream: Stream) -> Result<Self, ApiError> {
        let approved_only = stream == Stream::LEDGER && !caller.is_operator();
        if !approved_only {
            caller.must_reach(stream)?;
        }
        Ok(Self { stream, approved_only })
    }

    fn of_path(call: &Call) -> Result<Self, ApiError> {
        Self::of(&call.caller, Stream::new(call.param_id("tenant")?, call.param_id("store")?))
    }

    /// The plugins that are seen, and the size that this is as of.
    pub(crate) fn plugins(self, port: &dyn PluginPort) -> Result<(TreeSize, Vec<Plugin>), ApiError> {
        let (applied, plugins) = port.plugins(&self.stream).asked(ErrorCode::InvalidFieldValue)?;
        let plugins = plugins.iter().map(shape);
        let seen = if self.approved_only { plugins.filter_map(approved).collect() } else { plugins.collect() };
        Ok((applied, seen))
    }
}

/// The releases of a plugin in a registry.
fn releases(plugin: &Plugin) -> &[Value] {
    plugin.record.get("releases").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn module_of(release: &Value) -> Option<ModuleHash> {
    ModuleHash::from_hex(release.pointer("/release/module_hash")?.as_str()?).ok()
}

/// Whether a plugin's module is this one, or that of one of its releases.
pub(crate) fn names_module(plugin: &Plugin, module: ModuleHash) -> bool {
    plugin.module == module || releases(plugin).iter().any(|release| module_of(release) == Some(module))
}

/// A plugin of a registry as if only its approved releases were there; none if none is.
fn approved(plugin: Plugin) -> Option<Plugin> {
    const APPROVED: &str = "approved";
    let is_approved = |release: &&Value| release.get("status").and_then(Value::as_str) == Some(APPROVED);
    let releases: Vec<Value> = releases(&plugin).iter().filter(is_approved).cloned().collect();
    let newest = releases.last()?;
    Some(Plugin {
        status: APPROVED.to_owned(),
        version: newest.pointer("/release/version")?.as_str()?.to_owned(),
        module: module_of(newest)?,
        installed: Index::new(newest.get("submitted_index")?.as_u64()?),
        record: serde_json::json!({ "releases": releases }),
        ..plugin
    })
}

/// `GET /v1/streams/{tenant}/{store}/plugins`
pub(crate) async fn list(call: Call) -> Reply {
    let sight = Sight::of_path(&call)?;
    let list = call
        .gateway
        .ask_plugins(move |port, _| {
            let (applied, plugins) = sight.plugins(port)?;
            Ok(PluginList { applied, plugins })
        })
        .await?;
    respond::json(&list)
}

/// `GET /v1/streams/{tenant}/{store}/plugins/{plugin}`
pub(crate) async fn one(call: Call) -> Reply {
    let (sight, id) = (Sight::of_path(&call)?, call.plugin()?);
    let answer = call
        .gateway
        .ask_plugins(move |port, _| {
            let (applied, plugins) = sight.plugins(port)?;
            let plugin = plugins.into_iter().find(|plugin| plugin.plugin == id.as_str()).ok_or_else(no_plugin)?;
            Ok(PluginAnswer { applied, plugin })
        })
        .await?;
    respond::json(&answer)
}

/// `POST /v1/streams/{tenant}/{store}/plugins/{plugin}/query`: the body is the plugin's, byte for byte.
pub(crate) async fn query(mut call: Call) -> Reply {
    let (stream, id) = (call.stream_of_path()?, call.plugin()?);
    if call.gateway.market.as_ref().is_some_and(|market| market.serves(&stream, &id)) {
        // A question in the caller's own bytes could say that somebody else asks.
        call.caller.must_pass(&Rule::needs(&[Permission::CredentialsWrite]))?;
    }
    if !matches!(call.content_type().as_deref(), None | Some("application/json" | OCTETS)) {
        let message = "the route takes application/json or application/octet-stream";
        return Err(ApiError::new(ErrorCode::UnsupportedMediaType, message));
    }
    let (request, permit) = call.bytes_up_to(QUERY_BYTES_MAX).await?;
    let answer = call
        .gateway
        .ask_plugins(move |port, _| {
            let answer = port.query(&stream, &id, &request).asked(ErrorCode::InvalidRequestBody);
            drop(permit);
            let answer = answer?;
            Ok(QueryAnswer { applied: answer.applied, body: answer.body, logs: answer.logs })
        })
        .await?;
    respond::json(&answer)
}

/// Lower-case hexadecimal, two digits a byte.
fn key_of(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let fits = text.len().is_multiple_of(2) && (2..=2 * KEY_BYTES_MAX).contains(&text.len());
    let pairs = text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?));
    pairs.collect::<Option<_>>().filter(|_| fits)
}

/// Reads until state and checkpoint are of one size: between the two, more may be applied.
fn proven_state(
    port: &dyn PluginPort,
    reader: &Reader,
    stream: &Stream,
    plugin: &PluginId,
    key: &[u8],
) -> Result<StateAnswer, ApiError> {
    for _ in 0..STATE_READS_MAX {
        let before = Log::Outcomes.newest(reader)?;
        let read = port.state(stream, plugin, key).asked(ErrorCode::InvalidFieldValue)?;
        let after = Log::Outcomes.newest(reader)?;
        let signed = [before, after].into_iter().find(|signed| signed.checkpoint.size == read.applied);
        let Some(signed) = signed else { continue };
        let committed = states_root(&signed.checkpoint).map_err(|error| ApiError::internal(&error))?;
        if committed != Some(read.root) {
            return Err(ApiError::internal(&"the state has another root than the one that is signed"));
        }
        return Ok(StateAnswer {
            applied: read.applied,
            root: read.root,
            value: read.value.map(|value| value.to_vec()),
            proof: read.answer.encode(),
            checkpoint: signed.note.clone(),
        });
    }
    Err(ApiError::busy())
}

/// `GET /v1/streams/{tenant}/{store}/plugins/{plugin}/state/{key}`
pub(crate) async fn state(call: Call) -> Reply {
    let (stream, id) = (call.stream_of_path()?, call.plugin()?);
    let rule = "must be 1 to 1024 bytes in lower-case hexadecimal";
    let key = key_of(call.param("key")?).ok_or_else(|| ApiError::field("key", rule))?;
    let answer = call.gateway.ask_plugins(move |port, reader| proven_state(port, reader, &stream, &id, &key)).await?;
    respond::json(&answer)
}

/// `GET /v1/streams/{tenant}/{store}/plugins/{plugin}/logs`
pub(crate) async fn logs(call: Call) -> Reply {
    let (stream, id) = (call.stream_of_path()?, call.plugin()?);
    let (after, limit) = (call.query_number("after")?.map(Index::new), call.limit()?);
    let lines = call
        .gateway
        .ask_plugins(move |port, _| port.logs(&stream, &id, after, limit).asked(ErrorCode::InvalidFieldValue))
        .await?;
    let line = |line: crate::plugins::LogLineInfo| LogLine {
        index: line.index,
        level: line.level.to_owned(),
        text: line.text,
    };
    respond::json(&LogPage { lines: lines.into_iter().map(line).collect() })
}

/// The place of an effect as `after` names it: index and number.
fn place(text: &str) -> Option<(Index, u32)> {
    let (index, number) = text.split_once('-')?;
    let place = (Index::new(index.parse().ok()?), number.parse().ok()?);
    (place_text(place) == text).then_some(place)
}

fn place_text((index, number): (Index, u32)) -> String {
    format!("{index}-{number}")
}

/// The effects of events that the caller may see.
fn visible(effects: Vec<EffectInfo>, reader: &Reader, caller: &Caller) -> Result<Vec<Effect>, ApiError> {
    let mut last: Option<(Index, bool)> = None;
    let mut seen = Vec::with_capacity(effects.len());
    for EffectInfo { index, number, record } in effects {
        let sees = match last {
            Some((at, sees)) if at == index => sees,
            _ => caller.sees(reader.event(index)?.frame.stream()),
        };
        last = Some((index, sees));
        if sees {
            seen.push(Effect { index, number, record });
        }
    }
    Ok(seen)
}

/// `GET /v1/effects`
pub(crate) async fn effects(call: Call) -> Reply {
    let rule = "must be the index and number of an effect, as the page before said";
    let after =
        call.query("after").map(|text| place(text).ok_or_else(|| ApiError::field("after", rule))).transpose()?;
    let limit = call.limit()?;
    let caller = call.caller.clone();
    let page = call
        .gateway
        .ask_plugins(move |port, reader| {
            let effects = port.effects(after, limit).asked(ErrorCode::InvalidFieldValue)?;
            let last = effects.last().filter(|_| effects.len() >= limit);
            let next_after = last.map(|last| place_text((last.index, last.number)));
            Ok(EffectPage { effects: visible(effects, reader, &caller)?, next_after })
        })
        .await?;
    respond::json(&page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_text() {
        assert_eq!(key_of("00ff6b").as_deref(), Some(&b"\x00\xffk"[..]));
        assert_eq!(key_of(&"ab".repeat(1024)).map(|key| key.len()), Some(1024));
        for bad in ["", "0", "0F", "fF", "0x00", "g0", " 00", "00 ", "%30", "\u{e9}"] {
            assert_eq!(key_of(bad), None, "{bad}");
        }
        assert_eq!(key_of(&"ab".repeat(1025)), None);
    }

    #[test]
    fn a_place_has_one_text() {
        assert_eq!(place("17-0"), Some((Index::new(17), 0)));
        for bad in ["", "17", "17-", "-0", "017-0", "17-00", "+17-0", "17-+0", "17-4294967296", "17-0-0", "17.0"] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }
}
