//! The test host's imports: the same names, answered by the host of this thread. A stop leaves the guest by unwinding.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::rows::Rows;
use crate::test_host::{Host, Stop, Stopped};

std::thread_local! {
    static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// Reaches this thread's host.
pub(crate) fn with<T>(use_it: impl FnOnce(&mut Option<Host>) -> T) -> T {
    HOST.with_borrow_mut(use_it)
}

fn host<T>(call: impl FnOnce(&mut Host) -> Result<T, Stop>) -> T {
    let end = with(|host| host.as_mut().map(call));
    match end {
        Some(Ok(value)) => value,
        Some(Err(stop)) => std::panic::resume_unwind(Box::new(Stopped(stop))),
        None => panic!("there is no host on this thread: call the plugin through a TestHost"),
    }
}

/// The next event's record.
#[must_use]
pub fn next() -> Option<Vec<u8>> {
    host(Host::next_record)
}

/// The verdict.
pub fn done(accepted: bool, code: &str) {
    host(|host| host.done(accepted, code.as_bytes()));
}

/// A value.
#[must_use]
pub fn kv_get(key: &[u8]) -> Option<Vec<u8>> {
    host(|host| host.kv_get(key))
}

/// A list of values for a list of keys.
#[must_use]
pub fn kv_get_many(keys: &[u8]) -> Vec<u8> {
    host(|host| host.kv_get_many(keys))
}

/// Sets.
pub fn kv_set(key: &[u8], value: &[u8]) {
    host(|host| host.kv_put(key, Some(value)));
}

/// Deletes.
pub fn kv_delete(key: &[u8]) {
    host(|host| host.kv_put(key, None));
}

/// A page of rows.
#[must_use]
pub fn kv_range(start: &[u8], end: &[u8], limit: u32, reverse: bool) -> Rows {
    let (list, full) = host(|host| host.kv_range(start, end, limit, reverse));
    Rows::new(list, full)
}

/// Emits.
pub fn emit(event_type: &str, body: &[u8]) {
    host(|host| host.emit(event_type.as_bytes(), body));
}

/// Asks for an effect.
pub fn effect(kind: &str, suffix: &str, body: &[u8]) {
    host(|host| host.effect(kind.as_bytes(), suffix.as_bytes(), body));
}

/// SHA-256.
#[must_use]
pub fn sha256(data: &[u8]) -> [u8; 32] {
    host(|host| host.sha256(data))
}

/// BLAKE3.
#[must_use]
pub fn blake3(data: &[u8]) -> [u8; 32] {
    host(|host| host.blake3(data))
}

/// Ed25519.
#[must_use]
pub fn ed25519_verify(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    host(|host| host.ed25519_verify(public_key, message, signature))
}

/// An id.
#[must_use]
pub fn id(label: &str) -> [u8; 32] {
    host(|host| host.id(label.as_bytes()))
}

/// A line.
pub fn log(level: u32, text: &str) {
    host(|host| {
        host.log(level, text.as_bytes());
        Ok(())
    });
}
