//! Memory under endless bodies, in a process of its own so that nobody else's memory is counted.
#![allow(clippy::unwrap_used, reason = "tests stop where they stand")]

#[path = "http/common.rs"]
mod common;
#[path = "http/schema.rs"]
mod schema;

use common::{Setup, read_to_close};
use tally_api::api_key::Role;
use tokio::io::AsyncWriteExt as _;

/// Resident memory of this process in bytes; the server runs inside it.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// S-004: an endless body costs the limit and no more, also from many clients at once.
#[tokio::test(flavor = "multi_thread")]
async fn endless_bodies_are_cut_off_and_memory_stays_bounded() {
    let mut setup = Setup::new();
    setup.config.limits.bodies_bytes_max = 32 << 20;
    let server = setup.start().await;
    let key = server.tenant_key(&[Role::Agent]);
    server.submit_ok(&key, &server.event("{}")).await;
    let before = resident();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let mut socket = server.connect().await;
        let key = key.clone();
        tasks.spawn(async move {
            let head = format!(
                "POST /v1/events HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\ntransfer-encoding: chunked\r\n\r\n"
            );
            socket.write_all(head.as_bytes()).await.unwrap();
            let chunk = [b"10000\r\n".as_slice(), &[b'['; 0x10000], b"\r\n"].concat();
            let mut sent = 0usize;
            while sent < 1 << 30 {
                if socket.write_all(&chunk).await.is_err() {
                    break;
                }
                sent += 0x10000;
            }
            (sent, read_to_close(&mut socket).await)
        });
    }
    let mut peak = 0;
    let mut statuses = Vec::new();
    while let Some(result) = tasks.join_next().await {
        peak = peak.max(resident());
        let (sent, text) = result.unwrap();
        assert!(sent < 64 << 20, "the server stopped taking it: {sent}");
        statuses.push(text.split(' ').nth(1).unwrap_or_default().to_owned());
    }
    // 413 for whom the body limit was reached, 429 for whom the common budget had no room.
    assert!(statuses.iter().all(|status| ["413", "429"].contains(&status.as_str())), "{statuses:?}");
    assert!(statuses.iter().any(|status| status == "413"), "{statuses:?}");
    assert!(peak - before.min(peak) < 128 << 20, "grew by {} bytes", peak - before);
    server.submit_ok(&key, &server.event("{}")).await;
    let metrics = server.get(&server.operator(), "/metrics").await.text();
    assert!(metrics.contains("\ntally_http_body_bytes_in_flight 0\n"), "all of it was given back");
}
