//! The host's imports, the guest's allocator and the bytes that cross: the one place with bare pointers.
//!
//! Takes pointers that the host got from [`cabi_realloc`]; a block handed over this way is a vector of the guest from
//! then on. A module has one thread and one memory, which is what every `unsafe` here rests on.

#![expect(unsafe_code, reason = "the flat ABI is pointers; nothing else in this crate may use them")]

use alloc::alloc::{GlobalAlloc, Layout};
use alloc::vec::Vec;
use core::arch::wasm32;
use core::cell::Cell;
use core::mem::MaybeUninit;
use core::ptr;

use crate::arena::Arena;
use crate::rows::Rows;

const PAGE_BYTES: usize = 65_536;

/// `wit/v1/abi.md`, table of imports.
mod host {
    use super::Answer;
    use core::mem::MaybeUninit;

    #[link(wasm_import_module = "tally:plugin/host@1")]
    unsafe extern "C" {
        pub(super) fn next(ret: *mut MaybeUninit<Answer>);
        pub(super) fn done(accepted: u32, code: *const u8, code_len: usize);
        pub(super) fn kv_get(key: *const u8, key_len: usize, ret: *mut MaybeUninit<Answer>);
        pub(super) fn kv_get_many(keys: *const u8, keys_len: usize, ret: *mut MaybeUninit<Answer>);
        pub(super) fn kv_set(key: *const u8, key_len: usize, value: *const u8, value_len: usize);
        pub(super) fn kv_delete(key: *const u8, key_len: usize);
        pub(super) fn kv_range(
            start: *const u8,
            start_len: usize,
            end: *const u8,
            end_len: usize,
            limit: u32,
            reverse: u32,
            ret: *mut MaybeUninit<Answer>,
        );
        pub(super) fn emit(event_type: *const u8, type_len: usize, body: *const u8, body_len: usize);
        pub(super) fn effect(
            kind: *const u8,
            kind_len: usize,
            suffix: *const u8,
            suffix_len: usize,
            body: *const u8,
            body_len: usize,
        );
        pub(super) fn sha256(data: *const u8, len: usize, out: *mut [u8; 32]);
        pub(super) fn blake3(data: *const u8, len: usize, out: *mut [u8; 32]);
        pub(super) fn ed25519_verify(
            key: *const [u8; 32],
            message: *const u8,
            len: usize,
            signature: *const [u8; 64],
        ) -> u32;
        pub(super) fn id(label: *const u8, label_len: usize, out: *mut [u8; 32]);
        pub(super) fn log(level: u32, text: *const u8, len: usize);
    }
}

/// The result record of an import.
#[repr(C, align(8))]
struct Answer {
    present: u32,
    pointer: *mut u8,
    len: usize,
    spare: u32,
}

fn answer(call: impl FnOnce(*mut MaybeUninit<Answer>)) -> (u32, Vec<u8>) {
    let mut answer = MaybeUninit::<Answer>::zeroed();
    call(&raw mut answer);
    // SAFETY: all fields are numbers and were zeroed; the host wrote the first three.
    let answer = unsafe { answer.assume_init() };
    if answer.present == 0 {
        return (0, Vec::new());
    }
    // SAFETY: present bytes are a block from `cabi_realloc`, or none at all.
    (answer.present, unsafe { take(answer.pointer, answer.len) })
}

fn optional(call: impl FnOnce(*mut MaybeUninit<Answer>)) -> Option<Vec<u8>> {
    let (present, bytes) = answer(call);
    (present != 0).then_some(bytes)
}

/// The next event's record.
pub fn next() -> Option<Vec<u8>> {
    optional(|ret| unsafe { host::next(ret) })
}

/// The verdict.
pub fn done(accepted: bool, code: &str) {
    unsafe { host::done(u32::from(accepted), code.as_ptr(), code.len()) }
}

/// A value.
#[must_use]
pub fn kv_get(key: &[u8]) -> Option<Vec<u8>> {
    optional(|ret| unsafe { host::kv_get(key.as_ptr(), key.len(), ret) })
}

/// A list of values for a list of keys.
#[must_use]
pub fn kv_get_many(keys: &[u8]) -> Vec<u8> {
    answer(|ret| unsafe { host::kv_get_many(keys.as_ptr(), keys.len(), ret) }).1
}

/// Sets.
pub fn kv_set(key: &[u8], value: &[u8]) {
    unsafe { host::kv_set(key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
}

/// Deletes.
pub fn kv_delete(key: &[u8]) {
    unsafe { host::kv_delete(key.as_ptr(), key.len()) }
}

/// A page of rows.
#[must_use]
pub fn kv_range(start: &[u8], end: &[u8], limit: u32, reverse: bool) -> Rows {
    let (present, list) = answer(|ret| unsafe {
        host::kv_range(start.as_ptr(), start.len(), end.as_ptr(), end.len(), limit, u32::from(reverse), ret);
    });
    Rows::new(list, present == 2)
}

/// Emits.
pub fn emit(event_type: &str, body: &[u8]) {
    unsafe { host::emit(event_type.as_ptr(), event_type.len(), body.as_ptr(), body.len()) }
}

/// Asks for an effect.
pub fn effect(kind: &str, suffix: &str, body: &[u8]) {
    unsafe { host::effect(kind.as_ptr(), kind.len(), suffix.as_ptr(), suffix.len(), body.as_ptr(), body.len()) }
}

/// SHA-256.
#[must_use]
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    unsafe { host::sha256(data.as_ptr(), data.len(), &raw mut out) };
    out
}

/// BLAKE3.
#[must_use]
pub fn blake3(data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    unsafe { host::blake3(data.as_ptr(), data.len(), &raw mut out) };
    out
}

/// Ed25519.
#[must_use]
pub fn ed25519_verify(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    unsafe { host::ed25519_verify(public_key, message.as_ptr(), message.len(), signature) == 1 }
}

/// An id.
#[must_use]
pub fn id(label: &str) -> [u8; 32] {
    let mut out = [0; 32];
    unsafe { host::id(label.as_ptr(), label.len(), &raw mut out) };
    out
}

/// A line.
pub fn log(level: u32, text: &str) {
    unsafe { host::log(level, text.as_ptr(), text.len()) }
}

/// Ends the event: the host sees a trap.
pub fn stop() -> ! {
    wasm32::unreachable()
}

/// The block the host filled, as a vector.
///
/// # Safety
/// The block came from [`cabi_realloc`] with alignment 1 and this length, and nobody else owns it; or the length is 0.
#[must_use]
pub unsafe fn take(pointer: *mut u8, len: usize) -> Vec<u8> {
    if len == 0 {
        return Vec::new();
    }
    // SAFETY: the caller's promise.
    unsafe { Vec::from_raw_parts(pointer, len, len) }
}

/// Hands bytes to the host; they live until the instance ends.
///
/// # Safety
/// `ret` is eight writable bytes.
pub unsafe fn give(bytes: Vec<u8>, ret: *mut u32) {
    let bytes = bytes.leak();
    // SAFETY: the caller's promise; addresses and lengths of this target are 32 bits.
    unsafe {
        ret.write_unaligned(bytes.as_ptr() as u32);
        ret.add(1).write_unaligned(bytes.len() as u32);
    }
}

/// A block for the host to fill.
///
/// # Safety
/// As in the canonical ABI: `old` is null with `old_size` 0, or a block from here of that size and alignment.
pub unsafe fn cabi_realloc(old: *mut u8, old_size: usize, align: usize, new_size: usize) -> *mut u8 {
    let Ok(layout) = Layout::from_size_align(new_size, align) else { stop() };
    if new_size == 0 {
        return ptr::without_provenance_mut(align);
    }
    // SAFETY: the layout is not empty; the old block is the caller's promise.
    let block = unsafe {
        if old_size == 0 {
            alloc::alloc::alloc(layout)
        } else {
            let Ok(old_layout) = Layout::from_size_align(old_size, align) else { stop() };
            alloc::alloc::realloc(old, old_layout, new_size)
        }
    };
    if block.is_null() { stop() } else { block }
}

/// The guest's allocator: [`Arena`] over the memory behind the module's data.
#[derive(Debug)]
pub struct Allocator(Cell<Option<Arena>>);

// SAFETY: a module has one thread.
unsafe impl Sync for Allocator {}

impl Default for Allocator {
    fn default() -> Self {
        Self::new()
    }
}

impl Allocator {
    /// An allocator that has not looked at the memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Cell::new(None))
    }

    fn arena(&self) -> Arena {
        unsafe extern "C" {
            static __heap_base: u8;
        }
        self.0.get().unwrap_or_else(|| Arena::new((&raw const __heap_base).addr(), wasm32::memory_size(0) * PAGE_BYTES))
    }
}

/// Makes the memory reach to `stop`.
fn reach(arena: &mut Arena, stop: usize) -> bool {
    if stop <= arena.end() {
        return true;
    }
    let pages = (stop - arena.end()).div_ceil(PAGE_BYTES);
    let before = wasm32::memory_grow(0, pages);
    if before == usize::MAX {
        return false;
    }
    arena.grow_to((before + pages) * PAGE_BYTES);
    true
}

// SAFETY: live blocks never overlap (`Arena`, tested beside it) and lie inside the memory (`reach`).
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut arena = self.arena();
        let Some((start, stop)) = arena.place(layout.size(), layout.align()) else { return ptr::null_mut() };
        if !reach(&mut arena, stop) {
            return ptr::null_mut();
        }
        arena.take(stop);
        self.0.set(Some(arena));
        ptr::with_exposed_provenance_mut(start)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let mut arena = self.arena();
        arena.free(block.addr(), layout.size());
        self.0.set(Some(arena));
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let mut arena = self.arena();
        if arena.is_last(block.addr(), layout.size()) {
            let Some(stop) = block.addr().checked_add(new_size) else { return ptr::null_mut() };
            if !reach(&mut arena, stop) {
                return ptr::null_mut();
            }
            arena.resize_last(stop);
            self.0.set(Some(arena));
            return block;
        }
        if new_size <= layout.size() {
            return block;
        }
        // SAFETY: the caller's promises for the old block; the new one does not overlap it.
        unsafe {
            let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else { return ptr::null_mut() };
            let new = self.alloc(new_layout);
            if !new.is_null() {
                ptr::copy_nonoverlapping(block, new, layout.size());
                self.dealloc(block, layout);
            }
            new
        }
    }
}
