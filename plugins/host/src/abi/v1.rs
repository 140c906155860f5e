//! The host functions of `tally:plugin@1`, for any engine.
//!
//! Takes what a guest passes, believes none of it: every pointer is held against the memory as it is at the call, every
//! length is paid for before it is read, every answer goes through the guest's own allocator and is held against the memory
//! again. A pointer that leaves the memory, or a call where it may not be made, traps.

use std::sync::Arc;

use bytes::Bytes;
use tally_protocol::hash;
use tally_protocol::jcs;
use tally_protocol::key::{PublicKey, Signature, verify};
use tally_protocol::outcome::{LimitKind, OutcomeCode, Reason, effect_id};

use crate::gas::{self, CallPrice};
use crate::instrument::GAS_MEMORY_EXCEEDED;
use crate::manifest::Capability;
use crate::session::{self, Effect, Emit, Mode, Session, Stop, Verdict, record_bytes};

/// Longest type of an emit.
const TYPE_BYTES_MAX: u64 = 256;
/// Longest body of an emit or effect.
const BODY_BYTES_MAX: u64 = 65_536;
/// Longest kind of an effect, suffix and label.
const WORD_BYTES_MAX: u64 = 64;

/// What an engine offers of one instance.
pub trait Guest {
    /// Its memory as it is now, and its dealings.
    fn split(&mut self) -> (&mut [u8], &mut Session);

    /// Its dealings.
    fn session(&mut self) -> &mut Session {
        self.split().1
    }

    /// What remains of its gas.
    fn gas(&mut self) -> i64;

    /// Sets its gas.
    fn set_gas(&mut self, gas: i64);

    /// Sets its gas, and the engine's own wall behind it.
    ///
    /// # Errors
    /// The engine failed.
    fn refill(&mut self, gas: i64) -> Result<(), Stop>;

    /// Sets what remains of its stack. Once, on entry: frames are still open when the next event begins.
    fn set_stack(&mut self, units: i32);

    /// Calls its allocator: `cabi_realloc(0, 0, align, bytes)`.
    ///
    /// # Errors
    /// The guest was stopped.
    fn allocate(&mut self, align: i32, bytes: i32) -> Result<i32, Stop>;

    /// Calls an export; 0 where it gives nothing.
    ///
    /// # Errors
    /// The guest was stopped.
    fn call(&mut self, export: &'static str, args: &[i32]) -> Result<i32, Stop>;
}

/// What the host wants of an instance.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'a> {
    /// Its events handled.
    Run,
    /// The configuration taken.
    Init(&'a [u8]),
    /// State of an older version taken over.
    Migrate(u32, &'a [u8]),
    /// A request answered.
    Query(&'a [u8]),
    /// Itself described.
    Describe,
}

/// What an instance gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The number of `init` or `migrate`; 0 of `run`.
    Number(i32),
    /// The bytes of `query` or `describe`.
    Bytes(Vec<u8>),
}

type Done = Result<(), Stop>;

/// What a trap was, by what the injected code left in the counters.
#[must_use]
pub const fn trapped(gas: i64, stack: i32) -> OutcomeCode {
    if gas == GAS_MEMORY_EXCEEDED {
        OutcomeCode::MemoryExceeded
    } else if gas < 0 {
        OutcomeCode::OutOfGas
    } else if stack < 0 {
        OutcomeCode::StackExceeded
    } else {
        OutcomeCode::Trapped
    }
}

/// Enters an instance.
///
/// # Errors
/// The guest was stopped.
pub fn enter<G: Guest>(guest: &mut G, entry: Entry<'_>) -> Result<Answer, Stop> {
    refill(guest, 0)?;
    let stack = i32::try_from(guest.session().grant.limits.stack_units).unwrap_or(i32::MAX);
    guest.set_stack(stack);
    match entry {
        Entry::Run => guest.call("run", &[]).map(Answer::Number),
        Entry::Init(config) => {
            let (ptr, len) = place(guest, config)?;
            lifecycle(guest, "init", &[ptr, len])
        }
        Entry::Migrate(from, config) => {
            let (ptr, len) = place(guest, config)?;
            lifecycle(guest, "migrate", &[from.cast_signed(), ptr, len])
        }
        Entry::Query(request) => {
            let (ptr, len) = place(guest, request)?;
            let ret = allocate(guest, 4, 8)?;
            guest.call("query", &[ptr, len, ret])?;
            response(guest, ret).map(Answer::Bytes)
        }
        Entry::Describe => {
            let ret = allocate(guest, 4, 8)?;
            guest.call("describe", &[ret])?;
            response(guest, ret).map(Answer::Bytes)
        }
    }
}

fn lifecycle<G: Guest>(guest: &mut G, export: &'static str, args: &[i32]) -> Result<Answer, Stop> {
    let number = guest.call(export, args)?;
    let left = guest.gas();
    guest.session().gas_left = left;
    Ok(Answer::Number(number))
}

fn response<G: Guest>(guest: &mut G, ret: i32) -> Result<Vec<u8>, Stop> {
    let (ptr, len) = {
        let record = read(guest, ret, 8)?;
        let word = |at: usize| record.get(at..at + 4).and_then(|word| word.try_into().ok()).map(i32::from_le_bytes);
        word(0).zip(word(4)).ok_or(Stop::TRAPPED)?
    };
    let bytes = length(len);
    if bytes > guest.session().grant.limits.response_bytes {
        return Err(Stop::BAD_OUTPUT);
    }
    read(guest, ptr, len)?;
    charge(guest, gas::RESPONSE, bytes)?;
    Ok(read(guest, ptr, len)?.to_vec())
}

/// `next`
///
/// # Errors
/// The guest was stopped.
pub fn next<G: Guest>(guest: &mut G, ret: i32) -> Done {
    // Not counted: whoever asks twice without a verdict is stopped.
    if guest.session().allocating || guest.session().mode != Mode::Run {
        return Err(Stop::TRAPPED);
    }
    read(guest, ret, 12)?;
    let left = guest.gas();
    let session = guest.session();
    if session.ended {
        return Err(Stop::BAD_OUTPUT);
    }
    session.settle(left)?;
    let event = session.open_next();
    session.ended = event.is_none();
    let Some(event) = event else {
        refill(guest, 0)?;
        return write_record(guest, ret, [0, 0, 0]);
    };
    let bytes = record_bytes(&event);
    refill(guest, gas::NEXT.of(bytes as u64))?;
    // Never empty, so it has a block of its own.
    let len = i32::try_from(bytes).map_err(|_| Stop::BAD_OUTPUT)?;
    let ptr = allocate(guest, 1, len)?;
    let start = as_usize(length(ptr));
    let place = guest.split().0.get_mut(start..start + bytes).ok_or(Stop::TRAPPED)?;
    session::write_record(&event, place);
    write_record(guest, ret, [1, ptr, len])
}

/// `done`
///
/// # Errors
/// The guest was stopped.
pub fn done<G: Guest>(guest: &mut G, accepted: i32, code: i32, len: i32) -> Done {
    permit(guest, |session| matches!(session.mode, Mode::Run | Mode::Lifecycle))?;
    // There it only names a refusal.
    let lifecycle = guest.session().mode == Mode::Lifecycle;
    let bytes = read(guest, code, len)?;
    let verdict = match accepted {
        1 if bytes.is_empty() && !lifecycle => Some(Verdict::Accepted),
        0 => reason(bytes).map(Verdict::Rejected),
        _ => None,
    };
    charge(guest, gas::DONE, length(len))?;
    match (&mut guest.session().open, verdict) {
        (Some(open), Some(verdict)) if open.verdict.is_none() => {
            open.verdict = Some(verdict);
            Ok(())
        }
        _ => Err(Stop::BAD_OUTPUT),
    }
}

/// `kv_get`
///
/// # Errors
/// The guest was stopped.
pub fn kv_get<G: Guest>(guest: &mut G, key: i32, key_len: i32, ret: i32) -> Done {
    permit(guest, reads)?;
    read(guest, ret, 12)?;
    read(guest, key, key_len)?;
    charge(guest, gas::KV_GET, length(key_len))?;
    let (memory, session) = guest.split();
    let key = checked_key(session, slice(memory, key, key_len)?)?;
    let value = session.overlay.read(key)?;
    let Some(value) = value else {
        return write_record(guest, ret, [0, 0, 0]);
    };
    charge_bytes(guest, gas::KV_GET, value.len() as u64)?;
    let (ptr, len) = place(guest, &value)?;
    write_record(guest, ret, [1, ptr, len])
}

/// `kv_get_many`
///
/// # Errors
/// The guest was stopped.
pub fn kv_get_many<G: Guest>(guest: &mut G, keys: i32, keys_len: i32, ret: i32) -> Done {
    permit(guest, reads)?;
    read(guest, ret, 12)?;
    read(guest, keys, keys_len)?;
    charge_bytes(guest, gas::KV_GET, length(keys_len))?;
    let keys = read(guest, keys, keys_len)?.to_vec();
    let mut rest = keys.as_slice();
    let mut out = Vec::new();
    while !rest.is_empty() {
        let key = take_item(&mut rest).ok_or(Stop::BAD_OUTPUT)?;
        charge(guest, gas::KV_GET, 0)?;
        let session = guest.session();
        let value = session.overlay.read(checked_key(session, key)?)?;
        let max = session.grant.limits.range_bytes;
        if let Some(value) = value {
            charge_bytes(guest, gas::KV_GET, value.len() as u64)?;
            put_item(&mut out, &value);
        } else {
            out.extend_from_slice(&u32::MAX.to_le_bytes());
        }
        if out.len() as u64 > max {
            return Err(Stop::limit(LimitKind::ReadBytes));
        }
    }
    let (ptr, len) = place(guest, &out)?;
    write_record(guest, ret, [1, ptr, len])
}

/// `kv_set`
///
/// # Errors
/// The guest was stopped.
pub fn kv_set<G: Guest>(guest: &mut G, key: i32, key_len: i32, value: i32, value_len: i32) -> Done {
    permit(guest, writes)?;
    read(guest, key, key_len)?;
    read(guest, value, value_len)?;
    if length(value_len) > guest.session().grant.limits.value_bytes {
        return Err(Stop::limit(LimitKind::ValueBytes));
    }
    charge(guest, gas::KV_SET, length(key_len) + length(value_len))?;
    let (memory, session) = guest.split();
    let (key, value) = copied(checked_key(session, slice(memory, key, key_len)?)?, slice(memory, value, value_len)?);
    write(session, key, Some(value))
}

/// `kv_delete`
///
/// # Errors
/// The guest was stopped.
pub fn kv_delete<G: Guest>(guest: &mut G, key: i32, key_len: i32) -> Done {
    permit(guest, writes)?;
    read(guest, key, key_len)?;
    charge(guest, gas::KV_DELETE, length(key_len))?;
    let (memory, session) = guest.split();
    let key = Bytes::copy_from_slice(checked_key(session, slice(memory, key, key_len)?)?);
    write(session, key, None)
}

/// `kv_range`
///
/// # Errors
/// The guest was stopped.
pub fn kv_range<G: Guest>(guest: &mut G, bounds: [i32; 4], limit: i32, reverse: i32, ret: i32) -> Done {
    permit(guest, reads)?;
    let [start, start_len, end, end_len] = bounds;
    read(guest, ret, 12)?;
    read(guest, start, start_len)?;
    read(guest, end, end_len)?;
    let limits = guest.session().grant.limits;
    let limit = length(limit);
    if limit > limits.range_rows {
        return Err(Stop::limit(LimitKind::ReadBytes));
    }
    // One more than a key has: what stands right behind the longest one.
    if length(start_len).max(length(end_len)) > limits.key_bytes + 1 {
        return Err(Stop::limit(LimitKind::KeyBytes));
    }
    if !matches!(reverse, 0 | 1) {
        return Err(Stop::BAD_OUTPUT);
    }
    charge(guest, gas::KV_RANGE, length(start_len) + length(end_len))?;
    let (memory, _) = guest.split();
    let start = Bytes::copy_from_slice(slice(memory, start, start_len)?);
    let end = Bytes::copy_from_slice(slice(memory, end, end_len)?);
    let end = (!end.is_empty()).then_some(end);
    // Rows are read a few at a time, each paid for before the next ones are read.
    let (mut from, mut to) = (start, end);
    let (mut out, mut given, mut bytes, mut full) = (Vec::new(), 0, 0, false);
    'pages: while given < limit {
        let wanted = (limit - given).min(32);
        let rows = guest.session().overlay.range(&from, to.as_deref(), as_usize(wanted), reverse == 1)?;
        let last = (rows.len() as u64) < wanted;
        for (key, value) in rows {
            charge(guest, gas::KV_ROW, (key.len() + value.len()) as u64)?;
            bytes += (key.len() + value.len()) as u64;
            if given > 0 && bytes > limits.range_bytes {
                full = true;
                break 'pages;
            }
            put_item(&mut out, &key);
            put_item(&mut out, &value);
            given += 1;
            if reverse == 1 {
                to = Some(key);
            } else {
                from = Bytes::from([&key[..], &[0]].concat());
            }
        }
        if last {
            break;
        }
    }
    let (ptr, len) = place(guest, &out)?;
    write_record(guest, ret, [if full { 2 } else { 1 }, ptr, len])
}

/// `emit`
///
/// # Errors
/// The guest was stopped.
pub fn emit<G: Guest>(guest: &mut G, ty: i32, ty_len: i32, body: i32, body_len: i32) -> Done {
    permit(guest, |session| works_on_an_event(session) && session.grant.capabilities.contains(&Capability::Emit))?;
    read(guest, ty, ty_len)?;
    read(guest, body, body_len)?;
    if !(1..=TYPE_BYTES_MAX).contains(&length(ty_len)) || length(body_len) > BODY_BYTES_MAX {
        return Err(Stop::limit(LimitKind::EmitBytes));
    }
    charge(guest, gas::EMIT, length(ty_len) + length(body_len))?;
    let (memory, session) = guest.split();
    let event_type = utf8(slice(memory, ty, ty_len)?)?;
    let body = json(slice(memory, body, body_len)?)?;
    let limits = session.grant.limits;
    let open = session.open.as_mut().ok_or(Stop::TRAPPED)?;
    if u64::from(open.depth) >= limits.emit_depth {
        return Err(Stop::limit(LimitKind::EmitDepth));
    }
    if open.emits.len() as u64 >= limits.emits {
        return Err(Stop::limit(LimitKind::Emits));
    }
    open.emits.push(Emit { event_type, body });
    Ok(())
}

/// `effect`
///
/// # Errors
/// The guest was stopped.
pub fn effect<G: Guest>(guest: &mut G, [kind, kind_len, suffix, suffix_len, body, body_len]: [i32; 6]) -> Done {
    permit(guest, works_on_an_event)?;
    read(guest, kind, kind_len)?;
    read(guest, suffix, suffix_len)?;
    read(guest, body, body_len)?;
    let words = length(kind_len).max(length(suffix_len));
    if kind_len == 0 || words > WORD_BYTES_MAX || length(body_len) > BODY_BYTES_MAX {
        return Err(Stop::limit(LimitKind::EffectBytes));
    }
    charge(guest, gas::EFFECT, length(kind_len) + length(suffix_len) + length(body_len))?;
    let (memory, session) = guest.split();
    let kind = utf8(slice(memory, kind, kind_len)?)?;
    let suffix = utf8(slice(memory, suffix, suffix_len)?)?;
    let body = json(slice(memory, body, body_len)?)?;
    if !session.grant.capabilities.contains(&Capability::Effect(kind.clone())) {
        return Err(Stop::TRAPPED);
    }
    let (grant, max) = (Arc::clone(&session.grant), session.grant.limits.effects);
    let open = session.open.as_mut().ok_or(Stop::TRAPPED)?;
    if open.effects.len() as u64 >= max {
        return Err(Stop::limit(LimitKind::Effects));
    }
    let call = open.effect_calls;
    open.effect_calls = open.effect_calls.saturating_add(1);
    let id = effect_id(&grant.ledger, open.index, &grant.plugin, call, &kind, suffix.as_bytes());
    open.effects.push(Effect { id, call, kind, suffix, body });
    Ok(())
}

/// `sha256`
///
/// # Errors
/// The guest was stopped.
pub fn digest_sha256<G: Guest>(guest: &mut G, ptr: i32, len: i32, out: i32) -> Done {
    digest(guest, [ptr, len, out], gas::SHA256, hash::for_guest_sha256)
}

/// `blake3`
///
/// # Errors
/// The guest was stopped.
pub fn digest_b3<G: Guest>(guest: &mut G, ptr: i32, len: i32, out: i32) -> Done {
    digest(guest, [ptr, len, out], gas::BLAKE3, hash::for_guest_blake3)
}

fn digest<G: Guest>(guest: &mut G, [ptr, len, out]: [i32; 3], price: CallPrice, hash: fn(&[u8]) -> [u8; 32]) -> Done {
    permit(guest, |session| session.mode != Mode::Describe)?;
    read(guest, ptr, len)?;
    read(guest, out, 32)?;
    charge(guest, price, length(len))?;
    let digest = hash(read(guest, ptr, len)?);
    write_at(guest, out, &digest)
}

/// `ed25519_verify`
///
/// # Errors
/// The guest was stopped.
pub fn ed25519_verify<G: Guest>(guest: &mut G, key: i32, message: i32, len: i32, signature: i32) -> Result<i32, Stop> {
    permit(guest, |session| session.mode != Mode::Describe)?;
    read(guest, message, len)?;
    let key = PublicKey::from_bytes(array(read(guest, key, 32)?)?);
    let signature = Signature::from_bytes(array(read(guest, signature, 64)?)?);
    charge(guest, gas::ED25519, length(len))?;
    Ok(i32::from(verify(&key, read(guest, message, len)?, &signature)))
}

/// `id`
///
/// # Errors
/// The guest was stopped.
pub fn id<G: Guest>(guest: &mut G, label: i32, len: i32, out: i32) -> Done {
    permit(guest, works_on_an_event)?;
    read(guest, label, len)?;
    read(guest, out, 32)?;
    if length(len) > WORD_BYTES_MAX {
        return Err(Stop::limit(LimitKind::LabelBytes));
    }
    charge(guest, gas::ID, length(len))?;
    let (memory, session) = guest.split();
    let label = slice(memory, label, len)?;
    utf8(label)?;
    let id = session.derive_id(label).ok_or(Stop::TRAPPED)?;
    write_at(guest, out, &id)
}

/// `log`
///
/// # Errors
/// The guest was stopped.
pub fn log<G: Guest>(guest: &mut G, level: i32, ptr: i32, len: i32) -> Done {
    permit(guest, |_| true)?;
    read(guest, ptr, len)?;
    let level = u8::try_from(level).ok().filter(|level| *level <= 3).ok_or(Stop::BAD_OUTPUT)?;
    let kept = length(len).min(guest.session().grant.limits.log_bytes);
    charge(guest, gas::LOG, kept)?;
    let (memory, session) = guest.split();
    session.log(level, slice(memory, ptr, len)?);
    Ok(())
}

// Where a function may be called.

fn permit<G: Guest>(guest: &mut G, allowed: impl Fn(&Session) -> bool) -> Done {
    let session = guest.session();
    if session.allocating || !allowed(session) {
        return Err(Stop::TRAPPED);
    }
    session.host_calls += 1;
    if session.host_calls > session.grant.limits.host_calls { Err(Stop::limit(LimitKind::HostCalls)) } else { Ok(()) }
}

fn reads(session: &Session) -> bool {
    session.mode != Mode::Describe
}

fn writes(session: &Session) -> bool {
    let undecided = session.open.as_ref().is_some_and(|open| open.verdict.is_none());
    matches!(session.mode, Mode::Run | Mode::Lifecycle) && undecided
}

fn works_on_an_event(session: &Session) -> bool {
    session.mode == Mode::Run && writes(session)
}

// Gas.

/// The whole gas, less the price of what comes with it.
fn refill<G: Guest>(guest: &mut G, price: u64) -> Done {
    let session = guest.session();
    session.host_calls = 0;
    let signed = |gas: u64| i64::try_from(gas).unwrap_or(i64::MAX);
    let left = signed(session.gas_limit()).saturating_sub(signed(price));
    guest.refill(left.max(-1))?;
    if left < 0 { Err(Stop::Code(OutcomeCode::OutOfGas)) } else { Ok(()) }
}

fn charge<G: Guest>(guest: &mut G, price: CallPrice, bytes: u64) -> Done {
    take(guest, price.of(bytes))
}

fn charge_bytes<G: Guest>(guest: &mut G, price: CallPrice, bytes: u64) -> Done {
    take(guest, price.of(bytes) - price.of(0))
}

fn take<G: Guest>(guest: &mut G, amount: u64) -> Done {
    let left = guest.gas().saturating_sub(i64::try_from(amount).unwrap_or(i64::MAX));
    guest.set_gas(left.max(-1));
    if left < 0 { Err(Stop::Code(OutcomeCode::OutOfGas)) } else { Ok(()) }
}

// Memory.

/// A guest's number as the unsigned it stands for.
fn length(number: i32) -> u64 {
    number.cast_unsigned().into()
}

fn as_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn slice(memory: &[u8], ptr: i32, len: i32) -> Result<&[u8], Stop> {
    let start = length(ptr);
    memory.get(as_usize(start)..as_usize(start + length(len))).ok_or(Stop::TRAPPED)
}

fn read<G: Guest>(guest: &mut G, ptr: i32, len: i32) -> Result<&[u8], Stop> {
    slice(guest.split().0, ptr, len)
}

fn write_at<G: Guest>(guest: &mut G, ptr: i32, bytes: &[u8]) -> Done {
    let start = as_usize(length(ptr));
    let room = guest.split().0.get_mut(start..start.saturating_add(bytes.len())).ok_or(Stop::TRAPPED)?;
    room.copy_from_slice(bytes);
    Ok(())
}

/// A result record: present, pointer, length.
fn write_record<G: Guest>(guest: &mut G, ret: i32, [present, ptr, len]: [i32; 3]) -> Done {
    let mut record = [0; 12];
    for (field, value) in record.chunks_exact_mut(4).zip([present, ptr, len]) {
        field.copy_from_slice(&value.to_le_bytes());
    }
    write_at(guest, ret, &record)
}

/// Bytes into a block of the guest's allocator.
fn place<G: Guest>(guest: &mut G, bytes: &[u8]) -> Result<(i32, i32), Stop> {
    if bytes.is_empty() {
        return Ok((1, 0));
    }
    let len = i32::try_from(bytes.len()).map_err(|_| Stop::BAD_OUTPUT)?;
    let ptr = allocate(guest, 1, len)?;
    write_at(guest, ptr, bytes)?;
    Ok((ptr, len))
}

/// A block of the guest's allocator, whole inside its memory.
fn allocate<G: Guest>(guest: &mut G, align: i32, bytes: i32) -> Result<i32, Stop> {
    guest.session().allocating = true;
    let ptr = guest.allocate(align, bytes)?;
    guest.session().allocating = false;
    if !length(ptr).is_multiple_of(length(align)) {
        return Err(Stop::TRAPPED);
    }
    read(guest, ptr, bytes)?;
    Ok(ptr)
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Stop> {
    bytes.try_into().map_err(|_| Stop::TRAPPED)
}

fn take_item<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, after) = rest.split_first_chunk::<4>()?;
    let (item, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    *rest = after;
    Some(item)
}

fn put_item(out: &mut Vec<u8>, item: &[u8]) {
    out.extend_from_slice(&u32::try_from(item.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(item);
}

// Content.

fn checked_key<'k>(session: &Session, key: &'k [u8]) -> Result<&'k [u8], Stop> {
    if key.is_empty() || key.len() as u64 > session.grant.limits.key_bytes {
        return Err(Stop::limit(LimitKind::KeyBytes));
    }
    // Another plugin's space, as it were: no limit, but a call that may not be made.
    if session.grant.holds(key) { Ok(key) } else { Err(Stop::TRAPPED) }
}

/// Longest value that shares its key's allocation. The key may outlive it, so it is short.
const JOINED_BYTES_MAX: usize = 256;

/// A row as it is kept; a short one in one piece, because most are written, cloned and dropped together.
fn copied(key: &[u8], value: &[u8]) -> (Bytes, Bytes) {
    if value.len() > JOINED_BYTES_MAX {
        return (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    }
    let mut value = Bytes::from([key, value].concat());
    let key = value.split_to(key.len());
    (key, value)
}

fn write(session: &mut Session, key: Bytes, value: Option<Bytes>) -> Done {
    let bytes = (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64;
    let grown = session.overlay.write(key, value)?;
    // A write beyond a limit ends the event, which undoes it.
    let limits = &session.grant.limits;
    if session.overlay.touched() as u64 > limits.writes {
        return Err(Stop::limit(LimitKind::Writes));
    }
    let open = session.open.as_mut().ok_or(Stop::TRAPPED)?;
    open.write_bytes += bytes;
    if open.write_bytes > limits.write_bytes {
        return Err(Stop::limit(LimitKind::WriteBytes));
    }
    if grown > 0 && session.overlay.bytes()? > limits.state_bytes {
        return Err(Stop::limit(LimitKind::StateBytes));
    }
    Ok(())
}

/// A code in the contract's letters, which are fewer than an outcome can hold.
fn reason(bytes: &[u8]) -> Option<Reason> {
    let letters = |c: &u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
    Reason::new(bytes).ok().filter(|_| bytes.iter().all(letters))
}

fn utf8(bytes: &[u8]) -> Result<String, Stop> {
    core::str::from_utf8(bytes).map(ToOwned::to_owned).map_err(|_| Stop::BAD_OUTPUT)
}

fn json(bytes: &[u8]) -> Result<Bytes, Stop> {
    jcs::is_canonical(bytes).map_err(|_| Stop::BAD_OUTPUT)?;
    Ok(Bytes::copy_from_slice(bytes))
}
