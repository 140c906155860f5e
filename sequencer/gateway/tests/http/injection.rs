//! Hostile text is stored and read back byte-equal (S-010): on its way through surface, log and indexes nothing
//! interprets it. There is no SQL; the corpus also speaks to shells, templates, paths, headers and pages.

use crate::common::{self, TestServer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tally_api::api_key::Role;

const CORPUS: &[&str] = &[
    "'; DROP TABLE events; --",
    "' OR '1'='1",
    "Robert'); DROP TABLE students;--",
    "1; DELETE FROM events WHERE 1=1",
    "x' UNION SELECT api_key FROM credentials --",
    "\" OR \"\"=\"",
    "admin'/*",
    "\\' ; \\\" \\\\",
    "$(reboot) `id` | cat /etc/passwd && true",
    "${jndi:ldap://127.0.0.1/x} {{7*7}} <%= 1 %>",
    "<script>alert(1)</script><!-- ]]>",
    "../../../../etc/passwd",
    "%00%27%2e%2e%2f",
    "a\r\nx-injected: 1\r\n\r\nbody",
    "\u{1}\u{1b}[2J\u{7f}",
    "\u{202e}txt.exe \u{feff}\u{200b}",
    "e\u{301} is not \u{e9}",
    "\u{1f600}\u{10ffff}",
    "{\"$gt\":\"\"}",
    "NULL",
];

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_is_stored_and_read_back_byte_equal() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let tenant = &server.tenants[0];
    let stream = tenant.stream(1);
    let frames: Vec<_> = CORPUS
        .iter()
        .map(|text| {
            let payload = tally_protocol::jcs::canonicalize(json!({ "text": text }).to_string().as_bytes()).unwrap();
            let agent = tenant.agent(1);
            let event = agent.event(stream, server.event_id()).created_at(common::START);
            event.about(text, text).of_type(text).payload(&payload).sign()
        })
        .collect();
    let answer = server.submit(&key, &frames).await;
    let base = format!("/v1/streams/{}/{}/entities", stream.tenant, stream.store);
    for ((text, frame), result) in CORPUS.iter().zip(&frames).zip(answer.json["results"].as_array().unwrap()) {
        assert_eq!(result["status"], "accepted", "{text:?}: {result}");
        let record = server.get(&key, &format!("/v1/events/{}", result["receipt"]["index"])).await.json;
        let bytes = STANDARD.decode(record["frame"].as_str().unwrap()).unwrap();
        assert_eq!(&bytes[..], &frame.bytes()[..], "{text:?} came back changed");
        for member in ["entity_type", "entity_id", "event_type"] {
            assert_eq!(record["event"][member], *text, "{member}");
        }
        assert_eq!(record["event"]["payload"]["text"], *text);
        // The look-up by entity finds this event and no other.
        let name = in_a_path(text);
        let page = server.get(&key, &format!("{base}/{name}/{name}")).await.json;
        let found: Vec<_> = page["events"].as_array().unwrap().iter().map(|event| &event["index"]).collect();
        assert_eq!(found, [&record["index"]], "{text:?}");
    }
}

/// Every byte percent-encoded but letters and digits.
fn in_a_path(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(byte).collect()
}
