// A third engine, in another language: instrumented modules on V8, under a host of its own.
//
//   node run.mjs SEGMENTS.json        prints one JSON line per segment: what each event came to
//
// The host functions are written a second time here, from docs/formats/outcome.md and sdk/plugin/wit/v1 alone, so that
// gas, codes, writes, emits, effects and ids agree by rule and not by shared code. Plain Node, no packages.
// Guests run in a thread with a large stack: what V8's own stack ends before the counted one is an error, never a code.

import { readFileSync } from 'node:fs';
import { createHash, createPublicKey, verify } from 'node:crypto';
import { Worker, isMainThread, workerData } from 'node:worker_threads';
import { blake3 } from './blake3.mjs';
import { isCanonical } from './jcs.mjs';

const STACK_MB = 200;
const PRICE = {
  next: [200, 4], done: [50, 4], get: [1000, 4], set: [1000, 16], del: [1000, 16], range: [4000, 4], row: [500, 4],
  emit: [2000, 32], effect: [4000, 32], sha256: [200, 32], blake3: [200, 32], ed25519: [100000, 64], id: [500, 32],
  log: [100, 8],
};
const GAS_MEMORY_EXCEEDED = -(2n ** 63n);
const hex = (bytes) => Buffer.from(bytes).toString('hex');
const unhex = (text) => Buffer.from(text, 'hex');
const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts.map((part) => Buffer.from(part)))).digest();
const u32 = (value) => { const out = Buffer.alloc(4); out.writeUInt32BE(value); return out; };
const u64 = (value) => { const out = Buffer.alloc(8); out.writeBigUInt64BE(BigInt(value)); return out; };
const text = (value) => { const bytes = Buffer.from(value); return Buffer.concat([u32(bytes.length), bytes]); };

/** Why a guest was stopped: the code that its event ends with. */
class Stop extends Error {
  constructor(code) { super(code); this.code = code; }
}
const trap = () => new Stop('trapped');
const bad = () => new Stop('bad_output');
const limit = (kind) => new Stop(`limit(${kind})`);

/** The event record, little-endian. */
function record(event) {
  const texts = [event.type, event.entity_type, event.entity_id].map((value) => Buffer.from(value));
  const body = unhex(event.body);
  const head = Buffer.alloc(132);
  head.writeBigUInt64LE(BigInt(event.index), 0);
  head.writeBigUInt64LE(BigInt(event.sequence), 8);
  head.writeBigUInt64LE(BigInt(event.sequenced_at), 16);
  unhex(event.tenant).copy(head, 24);
  unhex(event.store).copy(head, 40);
  unhex(event.event_id).copy(head, 56);
  unhex(event.agent).copy(head, 72);
  unhex(event.payload_hash).copy(head, 88);
  texts.forEach((value, at) => head.writeUInt16LE(value.length, 120 + 2 * at));
  head.writeUInt16LE(event.depth > 0 ? 1 : 0, 126);
  head.writeUInt32LE(body.length, 128);
  return Buffer.concat([head, ...texts, body]);
}

/** One segment: a module, what it may do, events, and the state before them. */
class Segment {
  constructor(given) {
    Object.assign(this, given);
    this.module = new WebAssembly.Module(unhex(given.wasm));
    this.kept = new Map(given.state);
    this.waiting = [...given.events];
    this.steps = [];
  }

  run() {
    while (this.waiting.length > 0) this.instance();
    return this.steps;
  }

  /** A new instance, until it ends by itself or is stopped. */
  instance() {
    this.room = this.limits.events_per_instance;
    this.fresh = true;
    this.ended = false;
    this.allocating = false;
    this.open = null;
    let code = null;
    try {
      const wasm = new WebAssembly.Instance(this.module, { 'tally:plugin/host@1': this.imports() });
      this.exports = wasm.exports;
      this.refill();
      this.exports.tally_stack.value = this.limits.stack_units;
      this.exports.run();
      if (!this.ended) code = 'bad_output';
    } catch (error) {
      code = this.why(error);
    }
    if (code !== null) {
      if (this.open === null && !this.ended) this.openNext();
      if (this.open !== null) this.settle(code, 0);
    }
  }

  why(error) {
    if (error instanceof Stop) return error.code;
    // V8's own stack ended, which is no trap of the guest.
    if (error instanceof RangeError) throw error;
    if (!(error instanceof WebAssembly.RuntimeError)) throw error;
    if (this.gas() === GAS_MEMORY_EXCEEDED) return 'memory_exceeded';
    if (this.gas() < 0n) return 'out_of_gas';
    if (this.exports.tally_stack.value < 0) return 'stack_exceeded';
    return 'trapped';
  }

  // Events.

  openNext() {
    for (;;) {
      if (this.room === 0 || this.waiting.length === 0) return null;
      const event = this.waiting.shift();
      this.room -= 1;
      const [ids, effectCalls] = event.calls_before;
      const open = { index: event.index, depth: event.depth, ids, effectCalls, writes: new Map(), writeBytes: 0,
        emits: [], effects: [], verdict: null, fresh: false };
      if (event.body.length / 2 > this.limits.body_bytes) {
        this.open = open;
        this.settle('limit(event_bytes)', 0);
        continue;
      }
      open.fresh = this.fresh;
      this.fresh = false;
      this.open = open;
      return record(event);
    }
  }

  settle(code, used) {
    const { index, fresh, writes, emits, effects, ids, effectCalls } = this.open;
    const failed = !(code === 'accepted' || code.startsWith('rejected('));
    const keeps = code === 'accepted';
    if (keeps) writes.forEach((value, key) => (value === null ? this.kept.delete(key) : this.kept.set(key, value)));
    this.steps.push({
      calls: [ids, effectCalls], code, effects: keeps ? effects : [], emits: keeps ? emits : [], fresh,
      gas: failed ? this.limits.gas : used, index,
      writes: keeps ? [...writes].sort(([one], [other]) => (one < other ? -1 : 1)) : [],
    });
    this.open = null;
  }

  // Gas and memory.

  gas() { return this.exports.tally_gas.value; }
  refill() {
    this.calls = 0;
    this.exports.tally_gas.value = BigInt(this.limits.gas);
  }


  take(amount) {
    const left = this.gas() - BigInt(amount);
    this.exports.tally_gas.value = left < 0n ? -1n : left;
    if (left < 0n) throw new Stop('out_of_gas');
  }

  bytesPrice([, sixteenths], bytes) { return Math.ceil((bytes * sixteenths) / 16); }
  charge(price, bytes) { this.take(price[0] + this.bytesPrice(price, bytes)); }

  read(ptr, len) {
    const [start, count] = [ptr >>> 0, len >>> 0];
    if (start + count > this.exports.memory.buffer.byteLength) throw trap();
    return Buffer.from(new Uint8Array(this.exports.memory.buffer, start, count));
  }

  write(ptr, bytes) {
    const start = ptr >>> 0;
    if (start + bytes.length > this.exports.memory.buffer.byteLength) throw trap();
    new Uint8Array(this.exports.memory.buffer, start, bytes.length).set(bytes);
  }

  answer(ret, present, [ptr, len]) {
    const out = Buffer.alloc(12);
    [present, ptr, len].forEach((value, at) => out.writeInt32LE(value | 0, 4 * at));
    this.write(ret, out);
  }

  place(bytes) {
    if (bytes.length === 0) return [1, 0];
    this.allocating = true;
    const ptr = this.exports.cabi_realloc(0, 0, 1, bytes.length);
    this.allocating = false;
    this.read(ptr, bytes.length);
    this.write(ptr, bytes);
    return [ptr, bytes.length];
  }

  // Rules.

  permit(allowed) {
    if (this.allocating || !allowed) throw trap();
    this.calls += 1;
    if (this.calls > this.limits.host_calls) throw limit('host_calls');
  }

  undecided() { return this.open !== null && this.open.verdict === null; }

  key(bytes) {
    if (bytes.length === 0 || bytes.length > this.limits.key_bytes) throw limit('key_bytes');
    if (!this.prefixes.some((prefix) => bytes.subarray(0, prefix.length).equals(Buffer.from(prefix)))) throw trap();
    return hex(bytes);
  }

  value(key) {
    const written = this.open?.writes.get(key);
    const value = written === undefined ? this.kept.get(key) : written;
    return value === undefined || value === null ? null : unhex(value);
  }

  put(key, value) {
    const { writes } = this.open;
    if (!writes.has(key) && writes.size >= this.limits.writes) throw limit('writes');
    this.open.writeBytes += key.length / 2 + (value === null ? 0 : value.length);
    if (this.open.writeBytes > this.limits.write_bytes) throw limit('write_bytes');
    const room = (held) => (held === null ? 0 : key.length / 2 + held.length);
    const grown = room(value) - room(this.value(key));
    writes.set(key, value === null ? null : hex(value));
    if (grown > 0 && this.stateBytes() > this.limits.state_bytes) throw limit('state_bytes');
  }

  /** Keys and values as a guest sees them now. */
  stateBytes() {
    return this.rows('', null).reduce((sum, key) => sum + key.length / 2 + this.value(key).length, 0);
  }

  utf8(bytes) {
    try { return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes); } catch { throw bad(); }
  }

  json(bytes) {
    if (!isCanonical(bytes)) throw bad();
    return hex(bytes);
  }

  /** Every key from `from` on and below `to`, as a guest sees them now. */
  rows(from, to) {
    const keys = new Set([...this.kept.keys(), ...(this.open?.writes.keys() ?? [])]);
    const inside = (key) => key >= from && (to === null || key < to) && this.value(key) !== null;
    return [...keys].filter(inside).sort();
  }

  digest(price, hash, ptr, len, out) {
    this.permit(true);
    this.read(ptr, len);
    this.read(out, 32);
    this.charge(price, len >>> 0);
    this.write(out, hash(this.read(ptr, len)));
  }

  imports() {
    return {
      next: (ret) => {
        // Not counted.
        if (this.allocating) throw trap();
        this.read(ret, 12);
        const left = this.gas();
        if (this.ended) throw bad();
        if (this.open !== null) {
          if (this.open.verdict === null) throw bad();
          this.settle(this.open.verdict, this.limits.gas - Number(left < 0n ? 0n : left));
        }
        const bytes = this.openNext();
        this.ended = bytes === null;
        this.refill();
        if (bytes === null) return this.answer(ret, 0, [0, 0]);
        this.charge(PRICE.next, bytes.length);
        this.answer(ret, 1, this.place(bytes));
      },
      done: (accepted, ptr, len) => {
        this.permit(true);
        const bytes = this.read(ptr, len);
        let verdict = null;
        if (accepted === 1 && bytes.length === 0) verdict = 'accepted';
        if (accepted === 0 && /^[a-z0-9_.-]{1,32}$/.test(bytes.toString('latin1'))) verdict = `rejected(${bytes})`;
        this.charge(PRICE.done, len >>> 0);
        if (verdict === null || !this.undecided()) throw bad();
        this.open.verdict = verdict;
      },
      kv_get: (ptr, len, ret) => {
        this.permit(true);
        this.read(ret, 12);
        this.read(ptr, len);
        this.charge(PRICE.get, len >>> 0);
        const value = this.value(this.key(this.read(ptr, len)));
        if (value === null) return this.answer(ret, 0, [0, 0]);
        this.take(this.bytesPrice(PRICE.get, value.length));
        this.answer(ret, 1, this.place(value));
      },
      kv_get_many: (ptr, len, ret) => {
        this.permit(true);
        this.read(ret, 12);
        this.read(ptr, len);
        this.take(this.bytesPrice(PRICE.get, len >>> 0));
        let rest = this.read(ptr, len);
        const out = [];
        let bytes = 0;
        while (rest.length > 0) {
          if (rest.length < 4 || rest.length - 4 < rest.readUInt32LE(0)) throw bad();
          const key = rest.subarray(4, 4 + rest.readUInt32LE(0));
          rest = rest.subarray(4 + key.length);
          this.take(PRICE.get[0]);
          const value = this.value(this.key(key));
          const head = Buffer.alloc(4);
          head.writeUInt32LE(value === null ? 0xffffffff : value.length);
          if (value !== null) this.take(this.bytesPrice(PRICE.get, value.length));
          out.push(head, value ?? Buffer.alloc(0));
          bytes += 4 + (value?.length ?? 0);
          if (bytes > this.limits.range_bytes) throw limit('read_bytes');
        }
        this.answer(ret, 1, this.place(Buffer.concat(out)));
      },
      kv_set: (ptr, len, value, valueLen) => {
        this.permit(this.undecided());
        this.read(ptr, len);
        this.read(value, valueLen);
        if (valueLen >>> 0 > this.limits.value_bytes) throw limit('value_bytes');
        this.charge(PRICE.set, (len >>> 0) + (valueLen >>> 0));
        this.put(this.key(this.read(ptr, len)), this.read(value, valueLen));
      },
      kv_delete: (ptr, len) => {
        this.permit(this.undecided());
        this.read(ptr, len);
        this.charge(PRICE.del, len >>> 0);
        this.put(this.key(this.read(ptr, len)), null);
      },
      kv_range: (start, startLen, end, endLen, count, reverse, ret) => {
        this.permit(true);
        this.read(ret, 12);
        this.read(start, startLen);
        this.read(end, endLen);
        if (count >>> 0 > this.limits.range_rows) throw limit('read_bytes');
        if (Math.max(startLen >>> 0, endLen >>> 0) > this.limits.key_bytes + 1) throw limit('key_bytes');
        if (reverse !== 0 && reverse !== 1) throw bad();
        this.charge(PRICE.range, (startLen >>> 0) + (endLen >>> 0));
        const keys = this.rows(hex(this.read(start, startLen)), endLen === 0 ? null : hex(this.read(end, endLen)));
        if (reverse === 1) keys.reverse();
        const out = [];
        let [bytes, given, full] = [0, 0, false];
        for (const key of keys.slice(0, count >>> 0)) {
          const row = [unhex(key), this.value(key)];
          const length = row[0].length + row[1].length;
          this.charge(PRICE.row, length);
          bytes += length;
          if (given > 0 && bytes > this.limits.range_bytes) { full = true; break; }
          for (const item of row) {
            const head = Buffer.alloc(4);
            head.writeUInt32LE(item.length);
            out.push(head, item);
          }
          given += 1;
        }
        this.answer(ret, full ? 2 : 1, this.place(Buffer.concat(out)));
      },
      emit: (ptr, len, body, bodyLen) => {
        this.permit(this.undecided() && this.emits);
        this.read(ptr, len);
        this.read(body, bodyLen);
        const typeLen = len >>> 0;
        if (typeLen < 1 || typeLen > 256 || bodyLen >>> 0 > 65536) throw limit('emit_bytes');
        this.charge(PRICE.emit, typeLen + (bodyLen >>> 0));
        const type = this.utf8(this.read(ptr, len));
        const json = this.json(this.read(body, bodyLen));
        if (this.open.depth >= this.limits.emit_depth) throw limit('emit_depth');
        if (this.open.emits.length >= this.limits.emits) throw limit('emits');
        this.open.emits.push([type, json]);
      },
      effect: (kind, kindLen, suffix, suffixLen, body, bodyLen) => {
        this.permit(this.undecided());
        this.read(kind, kindLen);
        this.read(suffix, suffixLen);
        this.read(body, bodyLen);
        const words = [kindLen >>> 0, suffixLen >>> 0];
        if (kindLen === 0 || Math.max(...words) > 64 || bodyLen >>> 0 > 65536) throw limit('effect_bytes');
        this.charge(PRICE.effect, words[0] + words[1] + (bodyLen >>> 0));
        const kindText = this.utf8(this.read(kind, kindLen));
        const suffixText = this.utf8(this.read(suffix, suffixLen));
        const json = this.json(this.read(body, bodyLen));
        if (!this.effects.includes(kindText)) throw trap();
        if (this.open.effects.length >= this.limits.effects) throw limit('effects');
        const call = this.open.effectCalls++;
        const place = [unhex(this.ledger), u64(this.open.index), text(this.plugin), u32(call)];
        const id = sha256('TALLY_EFFECT_V1', ...place, text(kindText), text(suffixText));
        this.open.effects.push([hex(id), call, kindText, suffixText, json]);
      },
      sha256: (ptr, len, out) => this.digest(PRICE.sha256, sha256, ptr, len, out),
      blake3: (ptr, len, out) => this.digest(PRICE.blake3, blake3, ptr, len, out),
      ed25519_verify: (key, ptr, len, signature) => {
        this.permit(true);
        this.read(ptr, len);
        const spki = Buffer.concat([unhex('302a300506032b6570032100'), this.read(key, 32)]);
        const given = this.read(signature, 64);
        this.charge(PRICE.ed25519, len >>> 0);
        const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });
        return verify(null, this.read(ptr, len), publicKey, given) ? 1 : 0;
      },
      id: (ptr, len, out) => {
        this.permit(this.undecided());
        this.read(ptr, len);
        this.read(out, 32);
        if (len >>> 0 > 64) throw limit('label_bytes');
        this.charge(PRICE.id, len >>> 0);
        const label = this.read(ptr, len);
        this.utf8(label);
        const place = [unhex(this.ledger), u64(this.open.index), text(this.plugin), u32(this.open.ids++)];
        this.write(out, sha256('TALLY_ID_V1', ...place, u32(label.length), label));
      },
      log: (level, ptr, len) => {
        this.permit(true);
        this.read(ptr, len);
        if (level < 0 || level > 3) throw bad();
        this.charge(PRICE.log, Math.min(len >>> 0, this.limits.log_bytes));
      },
    };
  }
}

if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url), {
    workerData: process.argv[2], resourceLimits: { stackSizeMb: STACK_MB },
  });
  worker.on('error', (error) => { console.error(error); process.exitCode = 1; });
} else {
  for (const given of JSON.parse(readFileSync(workerData, 'utf8'))) {
    console.log(JSON.stringify({ name: given.name, steps: new Segment(given).run() }));
  }
}
