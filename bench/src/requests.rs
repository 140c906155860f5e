//! HTTP requests made of signed events: binary frames, JSON envelopes, or envelopes for the VES surface.
//!
//! Takes bodies of frames, gives requests ready to be written to a socket, so that the generator's CPU while the
//! clock runs is a write and a read. One in [`SAMPLE_EVERY`] keeps its frames, to check the answer afterwards.

use tally_protocol::frame::Frame;
use tally_protocol::hash::hex;

use crate::Failure;
use crate::events::{Body, Maker, SAMPLE_EVERY};
use crate::http::request;

/// How events travel over HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Concatenated binary frames to `/v1/events`.
    Frames,
    /// JSON envelopes to `/v1/events`.
    Json,
    /// JSON envelopes to the VES surface, which signs a receipt per event.
    Ves,
}

impl Form {
    /// A short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frames => "native, binary frames",
            Self::Json => "native, JSON",
            Self::Ves => "VES, JSON",
        }
    }

    /// What stands once per accepted event in an answer.
    #[must_use]
    pub const fn accepted_mark(self) -> &'static [u8] {
        match self {
            Self::Frames | Self::Json => b"\"status\":\"accepted\"",
            Self::Ves => b"\"receiptHash\"",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Frames | Self::Json => "/v1/events",
            Self::Ves => "/api/v1/ves/events/ingest",
        }
    }
}

/// One request.
pub struct Request {
    /// What goes over the wire, head included.
    pub bytes: Vec<u8>,
    /// Events inside.
    pub count: usize,
    /// Events inside that must be refused.
    pub bad: usize,
    /// The events themselves, if this request is one of the sample.
    pub sample: Option<Vec<Frame>>,
}

/// That many events as requests.
///
/// # Errors
/// If an event cannot be built.
pub fn make(maker: &Maker, form: Form, api_key: &str, events: usize) -> Result<Vec<Request>, Failure> {
    of_bodies(form, api_key, maker.make(events)?)
}

/// Bodies as requests.
///
/// # Errors
/// If a body does not hold frames.
pub fn of_bodies(form: Form, api_key: &str, bodies: Vec<Body>) -> Result<Vec<Request>, Failure> {
    bodies.into_iter().enumerate().map(|(which, body)| of_body(form, api_key, which, &body)).collect()
}

fn of_body(form: Form, api_key: &str, which: usize, body: &Body) -> Result<Request, Failure> {
    let sampled = which.is_multiple_of(SAMPLE_EVERY);
    let frames = if sampled || form != Form::Frames { body.decode()? } else { Vec::new() };
    let bytes = match form {
        Form::Frames => request("POST", form.path(), api_key, "application/vnd.tally.frames", &body.frames),
        Form::Json => {
            let json = format!("{{\"events\":[{}]}}", envelopes(&frames));
            request("POST", form.path(), api_key, "application/json", json.as_bytes())
        }
        Form::Ves => {
            let agent = frames.first().map(Frame::agent_id).ok_or("a request without events")?;
            let json = format!("{{\"agentId\":\"{agent}\",\"events\":[{}]}}", envelopes(&frames));
            request("POST", form.path(), api_key, "application/json", json.as_bytes())
        }
    };
    Ok(Request { bytes, count: body.count, bad: body.bad, sample: sampled.then_some(frames) })
}

fn envelopes(frames: &[Frame]) -> String {
    frames.iter().map(envelope).collect::<Vec<_>>().join(",")
}

fn envelope(frame: &Frame) -> String {
    format!(
        "{{\"ves_version\":1,\"event_id\":\"{}\",\"tenant_id\":\"{}\",\"store_id\":\"{}\",\"source_agent_id\":\"{}\",\
         \"agent_key_id\":{},\"entity_type\":\"{}\",\"entity_id\":\"{}\",\"event_type\":\"{}\",\"created_at\":\"{}\",\
         \"payload_kind\":0,\"payload\":{},\"payload_plain_hash\":\"0x{}\",\"payload_cipher_hash\":\"0x{}\",\
         \"agent_signature\":\"0x{}\"}}",
        frame.event_id(),
        frame.tenant_id(),
        frame.store_id(),
        frame.agent_id(),
        frame.key_id(),
        frame.entity_type(),
        frame.entity_id(),
        frame.event_type(),
        frame.created_at(),
        String::from_utf8_lossy(frame.payload()),
        frame.payload_plain_hash().to_hex(),
        frame.payload_cipher_hash().to_hex(),
        hex(frame.signature().as_bytes()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Shape;
    use tally_protocol::id::TenantId;

    #[test]
    fn every_form_carries_the_events_and_the_sample_keeps_them() {
        for form in [Form::Frames, Form::Json, Form::Ves] {
            let shape = Shape { one_agent_a_body: form == Form::Ves, ..Shape::default() };
            let maker = Maker::new(shape, TenantId::from_bytes([2; 16]), 7);
            let requests = make(&maker, form, "key", 101).unwrap();
            assert_eq!(requests.len(), 2);
            assert!(requests[0].sample.as_ref().is_some_and(|frames| frames.len() == 100));
            assert!(requests[1].sample.is_none());
            let head_end = requests[0].bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
            if form != Form::Frames {
                let body: serde_json::Value = serde_json::from_slice(&requests[0].bytes[head_end..]).unwrap();
                assert_eq!(body["events"].as_array().map(Vec::len), Some(100));
            }
        }
    }
}
