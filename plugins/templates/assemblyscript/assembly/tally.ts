// The flat ABI of plugins, version 1, for AssemblyScript: imports, memory, and what a plugin needs between them.
//
// Nothing here uses the runtime: no classes, no arrays, no strings but literals, no floats. Bytes are a pair of address and
// length; what `take` gives lives until the next event. Keep nothing in globals from one event to the next: an instance may
// be replaced between any two events.

// @ts-ignore: decorator
@external("tally:plugin/host@1", "next") export declare function hostNext(ret: usize): void;
// @ts-ignore: decorator
@external("tally:plugin/host@1", "done") export declare function hostDone(accepted: u32, code: usize, length: u32): void;
// @ts-ignore: decorator
@external("tally:plugin/host@1", "kv_get") export declare function hostGet(key: usize, length: u32, ret: usize): void;
// @ts-ignore: decorator
@external("tally:plugin/host@1", "kv_set") export declare function hostSet(key: usize, keyLength: u32, value: usize, length: u32): void;
// @ts-ignore: decorator
@external("tally:plugin/host@1", "kv_delete") export declare function hostDelete(key: usize, length: u32): void;
// @ts-ignore: decorator
@external("tally:plugin/host@1", "emit") export declare function hostEmit(type: usize, typeLength: u32, body: usize, length: u32): void;
// @ts-ignore: decorator
@external("tally:plugin/host@1", "log") export declare function hostLog(level: u32, text: usize, length: u32): void;

// --- memory: one block behind the module's data, taken from the front, given back as a whole before each event ---

const BLOCK_BYTES: u32 = 512 * 1024;
const BLOCK: usize = memory.data(512 * 1024, 16);
/** The result record of an import. */
const ANSWER: usize = memory.data(16, 8);
let taken: u32 = 0;

export function take(align: u32, bytes: u32): usize {
  if (align == 0 || (align & (align - 1)) != 0 || align > 16) unreachable();
  const from = (taken + align - 1) & ~(align - 1);
  if (bytes > BLOCK_BYTES || from > BLOCK_BYTES - bytes) unreachable();
  taken = from + bytes;
  return BLOCK + from;
}

/** Everything that was taken is given back. */
export function giveBack(): void {
  taken = 0;
}

// --- bytes under construction: `begin`, `put…`, then `start()` and `length()` ---

let building: usize = 0;

/** Begins new bytes; those before stay where they are. */
export function begin(): usize {
  building = take(1, 0);
  return building;
}

export function put(byte: u8): void {
  store<u8>(take(1, 1), byte);
}

export function putBytes(from: usize, length: u32): void {
  memory.copy(take(1, length), from, length);
}

/** A literal of ASCII. */
export function putText(text: string): void {
  for (let i = 0, n = text.length; i < n; i++) put(<u8>load<u16>(changetype<usize>(text) + (i << 1)));
}

/** A text as a part of a key: a zero byte becomes 00 ff, and 00 01 ends it, so that keys of several parts keep their order
 * and two of them never collide. The same bytes as `Key::text` of the Rust crate. */
export function putPart(from: usize, length: u32): void {
  for (let i: u32 = 0; i < length; i++) {
    const byte = load<u8>(from + i);
    put(byte);
    if (byte == 0) put(0xff);
  }
  put(0);
  put(1);
}

export function putNumber(number: u64): void {
  if (number >= 10) putNumber(number / 10);
  put(<u8>(48 + (number % 10)));
}

/** How long the bytes are that began here. */
export function lengthFrom(start: usize): u32 {
  return <u32>(BLOCK + taken - start);
}

/** Whether bytes are this literal of ASCII. */
export function isText(at: usize, length: u32, text: string): bool {
  if (length != <u32>text.length) return false;
  for (let i: u32 = 0; i < length; i++) {
    if (<u16>load<u8>(at + i) != load<u16>(changetype<usize>(text) + (i << 1))) return false;
  }
  return true;
}

export function readNumber(at: usize, length: u32): u64 {
  let number: u64 = 0;
  for (let i: u32 = 0; i < length; i++) number = number * 10 + <u64>(load<u8>(at + i) - 48);
  return number;
}

// --- the event record ---

let record: usize = 0;

export function sequence(): u64 { return load<u64>(record, 8); }
export function sequencedAt(): u64 { return load<u64>(record, 16); }
export function typeLength(): u32 { return <u32>load<u16>(record, 120); }
export function type(): usize { return record + 132; }
export function entityTypeLength(): u32 { return <u32>load<u16>(record, 122); }
export function entityType(): usize { return type() + typeLength(); }
export function entityIdLength(): u32 { return <u32>load<u16>(record, 124); }
export function entityId(): usize { return entityType() + entityTypeLength(); }
export function bodyLength(): u32 { return load<u32>(record, 128); }
export function body(): usize { return entityId() + entityIdLength(); }
/** Emitted by another plugin: nobody signed it. */
export function isDerived(): bool { return (load<u16>(record, 126) & 1) != 0; }

/** The next event, if there is one. */
export function next(): bool {
  giveBack();
  hostNext(ANSWER);
  if (load<u32>(ANSWER) == 0) return false;
  record = <usize>load<u32>(ANSWER, 4);
  return true;
}

// --- state ---

let valueLength: u32 = 0;

/** The value of a key, or 0; its length is `foundLength()`. */
export function get(key: usize, length: u32): usize {
  hostGet(key, length, ANSWER);
  valueLength = load<u32>(ANSWER, 8);
  return load<u32>(ANSWER) == 0 ? 0 : <usize>load<u32>(ANSWER, 4);
}

export function foundLength(): u32 { return valueLength; }

/** Refuses with a code of 1 to 32 letters a-z 0-9 _ - . */
export function refuse(code: string): void {
  const start = begin();
  putText(code);
  hostDone(0, start, lengthFrom(start));
}

export function accept(): void {
  hostDone(1, ANSWER, 0);
}

/** What `describe` and `query` answer: the bytes that began here. */
export function give(start: usize, ret: usize): void {
  store<u32>(ret, <u32>start);
  store<u32>(ret, lengthFrom(start), 4);
}

// --- a text parameter of a query, without escapes in it: {"args":{"NAME":"…"},…} ---

let parameterLength: u32 = 0;

/** Where the parameter is, or 0; its length is `foundParameterLength()`. */
export function parameter(request: usize, length: u32, name: string): usize {
  const start = begin();
  put(34);
  putText(name);
  putText("\":\"");
  const wanted = lengthFrom(start);
  for (let from: u32 = 0; from + wanted <= length; from++) {
    if (memory.compare(request + from, start, wanted) != 0) continue;
    const first = from + wanted;
    let end = first;
    while (end < length && load<u8>(request + end) != 34) {
      if (load<u8>(request + end) == 92) return 0;
      end++;
    }
    parameterLength = end - first;
    return end < length ? request + first : 0;
  }
  return 0;
}

export function foundParameterLength(): u32 { return parameterLength; }
