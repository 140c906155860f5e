//! An effect's answer as an event of its connector (docs/formats/market.md, "Effects and answers").
//!
//! Takes a request and what came of it; gives the event's body, its id and its frame. The id follows from the effect, so
//! that a second submission is the same event; who looks for it asks the log for that id. An id that somebody else took
//! first is passed over for the next one, and everybody who looks passes over it too.

use bytes::Bytes;
use serde_json::json;
use tally_connectors::{Answer, Request, Status};
use tally_protocol::frame::{EventFields, Frame, FrameError};
use tally_protocol::hash::{self, EffectId};
use tally_protocol::id::{AgentId, EventId, KeyId};
use tally_protocol::jcs;
use tally_protocol::key::SigningKey;
use tally_protocol::time::LogTime;

/// The event's type.
pub(crate) const EVENT_TYPE: &str = "effect.answered";
/// Its entity type; the entity id is the effect's.
pub(crate) const ENTITY_TYPE: &str = "effect";

/// A plugin reads the body as one event; a provider's facts are far shorter.
const BODY_BYTES_MAX: usize = 256 << 10;

/// How many ids others may take before an operator must look: each costs its sender an event in the log.
pub(crate) const IDS_MAX: u32 = 64;

/// The id of an effect's answer, where others took `number` ids before.
pub(crate) fn event_id(effect: &EffectId, number: u32) -> EventId {
    hash::answer_event_id(effect, number)
}

/// The event's body: canonical JSON. A refusal tells no facts that would say what was refused, so it names what was asked.
///
/// # Errors
/// The result has no canonical form, or is too long; in words.
pub(crate) fn body(request: &Request, answer: &Answer) -> Result<Bytes, String> {
    let status = match answer.status {
        Status::Done => "done",
        Status::Failed => "failed",
    };
    let mut result = answer.result.clone();
    if let (Status::Failed, Some(members)) = (answer.status, result.as_object_mut()) {
        members.insert("request_sha256".to_owned(), hash::object(&request.body).to_string().into());
    }
    let body = json!({
        "effect": request.id.to_hex(),
        "kind": request.kind,
        "plugin": request.plugin.as_str(),
        "result": result,
        "status": status,
        "suffix": request.suffix,
    });
    let body =
        jcs::canonicalize(body.to_string().as_bytes()).map_err(|_| "the answer's result is no canonical JSON")?;
    if body.len() > BODY_BYTES_MAX {
        return Err(format!("the answer's body is longer than {BODY_BYTES_MAX} bytes"));
    }
    Ok(body.into())
}

/// The answer of an operator who gave up.
pub(crate) fn given_up() -> Answer {
    Answer { status: Status::Failed, result: json!({ "code": "operator" }) }
}

/// Whether an event is this agent's answer to the effect.
pub(crate) fn is_answer(frame: &Frame, agent: AgentId, effect: &EffectId) -> bool {
    frame.agent_id() == agent
        && frame.event_type() == EVENT_TYPE
        && frame.entity_type() == ENTITY_TYPE
        && frame.entity_id() == effect.to_hex()
}

/// The event, signed. The same arguments give the same bytes.
///
/// # Errors
/// A bound of frames is broken.
pub(crate) fn frame(
    request: &Request,
    (body, created): (&[u8], LogTime),
    number: u32,
    (agent, key_id, key): (AgentId, KeyId, &SigningKey),
) -> Result<Frame, FrameError> {
    let entity_id = request.id.to_hex();
    let fields = EventFields::plain(
        request.stream,
        event_id(&request.id, number),
        (agent, key_id),
        (ENTITY_TYPE, &entity_id),
        EVENT_TYPE,
        &created.to_rfc3339(),
        body,
    );
    Frame::build(&fields, body, |hash| key.sign(hash.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

    use tally_protocol::id::{Index, PluginId, Stream};

    use super::*;

    fn request() -> Request {
        Request {
            id: EffectId::from_bytes([7; 32]),
            index: Index::new(9),
            stream: Stream::from_bytes(&[5; 32]),
            plugin: PluginId::new("checkout").unwrap(),
            kind: "payment".to_owned(),
            suffix: "order/7".to_owned(),
            body: Bytes::from_static(b"{}"),
        }
    }

    #[test]
    fn the_body_is_canonical_and_has_the_members_of_the_page() {
        let answer = Answer { status: Status::Done, result: json!({ "b": 1, "a": [true] }) };
        let body = body(&request(), &answer).unwrap();
        let expected = format!(
            r#"{{"effect":"{}","kind":"payment","plugin":"checkout","result":{{"a":[true],"b":1}},"status":"done","suffix":"order/7"}}"#,
            "07".repeat(32)
        );
        assert_eq!(body, expected);
        let failed = super::body(&request(), &given_up()).unwrap();
        let failed: serde_json::Value = serde_json::from_slice(&failed).unwrap();
        // The request's body is two braces.
        let named = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(failed["result"], json!({ "code": "operator", "request_sha256": named }));
        assert_eq!(failed["status"], "failed");
    }

    #[test]
    fn what_has_no_canonical_form_or_no_end_is_no_answer() {
        for result in [json!(9_007_199_254_740_993_u64), json!("x".repeat(BODY_BYTES_MAX))] {
            assert!(body(&request(), &Answer { status: Status::Done, result }).is_err());
        }
    }

    #[test]
    fn the_same_answer_is_the_same_event_and_nobody_elses_is_it() {
        let (agent, key) = (AgentId::from_bytes([1; 16]), SigningKey::from_seed([1; 32]));
        let made = |number, agent| {
            let at = (&b"{}"[..], LogTime::from_micros(1_735_689_600_000_000));
            frame(&request(), at, number, (agent, KeyId::new(1), &key)).unwrap()
        };
        assert_eq!(made(0, agent).bytes(), made(0, agent).bytes());
        assert_ne!(made(0, agent).event_id(), made(1, agent).event_id());
        assert!(is_answer(&made(0, agent), agent, &request().id));
        assert!(!is_answer(&made(0, AgentId::from_bytes([2; 16])), agent, &request().id));
        assert!(!is_answer(&made(0, agent), agent, &EffectId::from_bytes([8; 32])));
    }
}
