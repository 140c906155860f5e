#!/usr/bin/env node
// An agent that shares no code with Tally: Ed25519 by @noble/ed25519, SHA-256 by Node, everything else written from
// docs/formats/. It makes a key, has the operator register it and give it an API key, then submits events it signed
// itself over all three doors (VES JSON, native JSON, binary frames), sends one with a forged signature among good ones,
// retries one, and verifies what the node signed: VES receipts and the receipts' checkpoints.
//
//   node agent.mjs --url URL --operator-key-file FILE --ledger-id HEX --tenant UUID --store UUID --count N --out FILE
//
// Writes the node's answers to --out (a JSON array) and one JSON object of what it did to standard output.
// Any claim that does not hold ends it with status 1 and one line on standard error.

import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import * as ed from '@noble/ed25519';

const ZERO = Buffer.alloc(32);
const FRAMES = 'application/vnd.tally.frames';
const EVENTS_PER_REQUEST = 100;

const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts.map((part) => Buffer.from(part)))).digest();
const uuid = (text) => Buffer.from(text.replaceAll('-', ''), 'hex');
const u32 = (value) => { const out = Buffer.alloc(4); out.writeUInt32BE(value); return out; };
const u64 = (value) => { const out = Buffer.alloc(8); out.writeBigUInt64BE(BigInt(value)); return out; };
const str = (text) => { const bytes = Buffer.from(text, 'utf8'); return Buffer.concat([u32(bytes.length), bytes]); };
const hex = (bytes) => Buffer.from(bytes).toString('hex');

function need(holds, what) {
  if (!holds) throw new Error(what);
}

/** RFC 8785: JSON.stringify has ECMAScript's numbers and escapes already; what is left is the order of names. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(',')}}`;
}

/** docs/formats/frame.md: the signing preimage. */
function preimage(event) {
  return Buffer.concat([
    Buffer.from('VES_EVENTSIG_V1'), u32(1), uuid(event.tenant_id), uuid(event.store_id), uuid(event.event_id),
    uuid(event.source_agent_id), u32(event.agent_key_id), str(event.entity_type), str(event.entity_id),
    str(event.event_type), str(event.created_at), u32(event.payload_kind),
    Buffer.from(event.payload_plain_hash.slice(2), 'hex'), Buffer.from(event.payload_cipher_hash.slice(2), 'hex'),
  ]);
}

/** The same event as a binary frame. */
function frame(event) {
  const payload = str(canonical(event.payload));
  const body = Buffer.concat([preimage(event), payload, Buffer.from(event.agent_signature.slice(2), 'hex')]);
  return Buffer.concat([u32(body.length), body]);
}

class Agent {
  constructor(tenant, store) {
    this.secret = randomBytes(32);
    this.id = randomUUID();
    this.stream = { tenant_id: tenant, store_id: store };
    this.made = 0;
  }

  /** A signed event; payloads take turns with what RFC 8785 is about. */
  async event() {
    const at = this.made++;
    const payloads = [
      { order: `o-${at}`, cents: 1999 + at, note: 'plain' },
      { '\u20ac': 'Euro', '\r': 'CR', '1': 'One', '\u00f6': 'ö', '\ud83d\ude00': 'emoji', a: [1, { c: null, b: true }] },
      { numbers: [333333333.33333329, 1e21, 1e-7, -0, 4.5, 2e-3, 9007199254740991, -9007199254740991, 1e-27] },
      ['\u0001\u001f"\\/', '\u2028\u2029', '', 'é', 'e\u0301'],
      at,
      `text ${at}`,
      {},
      null,
    ];
    const payload = payloads[at % payloads.length];
    const event = {
      ves_version: 1, event_id: randomUUID(), ...this.stream, source_agent_id: this.id, agent_key_id: 1,
      entity_type: 'order', entity_id: `o-${at % 7} größe 😀`, event_type: 'order.placed',
      created_at: new Date().toISOString(), payload_kind: 0, payload,
      payload_plain_hash: `0x${hex(sha256('VES_PAYLOAD_PLAIN_V1', canonical(payload)))}`,
      payload_cipher_hash: `0x${hex(ZERO)}`,
    };
    const signature = await ed.signAsync(sha256(preimage(event)), this.secret);
    return { ...event, agent_signature: `0x${hex(signature)}` };
  }

  async events(count) {
    const events = [];
    while (events.length < count) events.push(await this.event());
    return events;
  }
}

class Node {
  constructor(url, apiKey) {
    this.url = url.replace(/\/$/, '');
    this.headers = { authorization: `Bearer ${apiKey}` };
  }

  async send(method, path, type, body) {
    const headers = type ? { ...this.headers, 'content-type': type } : this.headers;
    const answer = await fetch(this.url + path, { method, headers, body });
    const text = await answer.text();
    need(answer.ok, `${method} ${path} answered ${answer.status}: ${text}`);
    return JSON.parse(text);
  }

  get(path) {
    return this.send('GET', path);
  }

  post(path, value) {
    return this.send('POST', path, 'application/json', JSON.stringify(value));
  }
}

/** docs/formats/entry.md: the keys of the genesis entry, once it is the trusted ledger's. */
function readGenesis(entry, ledgerId) {
  need(hex(sha256('\0', entry)) === ledgerId, 'the node serves another ledger');
  let at = 15;
  const text = () => {
    const start = at + 4;
    at = start + entry.readUInt32BE(start - 4);
    return entry.subarray(start, at).toString('utf8');
  };
  const origin = text();
  text();
  at += 8 + 16;
  return { origin, checkpointKey: entry.subarray(at, at + 32), receiptKey: entry.subarray(at + 32, at + 64) };
}

/** Both of noble's rules: RFC 8032's strict one and ZIP-215. */
async function verified(signature, message, key) {
  return (await ed.verifyAsync(signature, message, key, { zip215: false })) && ed.verifyAsync(signature, message, key);
}

/** docs/formats/receipt.md. */
async function checkVesReceipt(receipt, event, genesis) {
  const hash = sha256('VES_RECEIPT_V1', uuid(event.tenant_id), uuid(event.store_id), uuid(event.event_id),
    u64(receipt.sequenceNumber), sha256(preimage(event)));
  need(receipt.eventId === event.event_id, 'a VES receipt of another event');
  need(receipt.receiptHash === hex(hash), 'a VES receipt with another hash');
  need(await verified(Buffer.from(receipt.sequencerSignature, 'hex'), hash, genesis.receiptKey), 'a VES receipt with a wrong signature');
}

/** docs/formats/checkpoint-and-note.md: size and root of a note that the key signed. */
async function openNote(note, origin, key) {
  const end = note.lastIndexOf('\n\n') + 1;
  const text = Buffer.from(note.slice(0, end), 'utf8');
  const id = sha256(origin, '\n\x01', key).subarray(0, 4);
  const blobs = note.slice(end + 1).trimEnd().split('\n')
    .map((line) => line.split(' '))
    .filter(([dash, name]) => dash === '\u2014' && name === origin)
    .map(([, , blob]) => Buffer.from(blob, 'base64'))
    .filter((blob) => blob.subarray(0, 4).equals(id));
  need(blobs.length === 1, 'a checkpoint without the key\'s signature');
  need(await verified(blobs[0].subarray(4), text, key), 'a checkpoint with a wrong signature');
  const [first, size, root] = note.split('\n');
  need(first === origin, 'a checkpoint of another origin');
  return { size: Number(size), root: Buffer.from(root, 'base64') };
}

/** RFC 9162 section 2.1.3.2. */
function rootOf(leaf, index, size, path) {
  let [fn, sn, node] = [index, size - 1, leaf];
  for (const sibling of path) {
    need(sn !== 0, 'a path that is too long');
    if (fn % 2 === 1 || fn === sn) {
      node = sha256('\x01', sibling, node);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [fn / 2, Math.floor(sn / 2)];
    } else {
      node = sha256('\x01', node, sibling);
    }
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  need(sn === 0, 'a path that is too short');
  return node;
}

/** A proven receipt against the event the agent still has: the leaf is rebuilt, not believed. */
async function checkProvenReceipt(receipt, checkpoints, event, publicKey, genesis) {
  const micros = BigInt(Date.parse(`${receipt.sequenced_at.slice(0, 19)}Z`)) * 1000n + BigInt(receipt.sequenced_at.slice(20, 26));
  const entry = Buffer.concat([
    Buffer.from('TALLY_ENTRY_V1\x01'), uuid(event.tenant_id), uuid(event.store_id), u64(receipt.sequence),
    sha256(preimage(event)), Buffer.from(event.agent_signature.slice(2), 'hex'), publicKey, u64(micros),
  ]);
  const leaf = sha256('\0', entry);
  need(receipt.leaf_hash === hex(leaf), 'a receipt with another leaf');
  const checkpoint = await openNote(checkpoints[receipt.checkpoint], genesis.origin, genesis.receiptKey);
  const path = receipt.path.map((node) => Buffer.from(node, 'hex'));
  need(rootOf(leaf, receipt.index, checkpoint.size, path).equals(checkpoint.root), 'a receipt whose path leads elsewhere');
}

async function submitVes(node, agent, count, genesis, answers) {
  for (let left = count; left > 0; left -= EVENTS_PER_REQUEST) {
    const events = await agent.events(Math.min(left, EVENTS_PER_REQUEST));
    const answer = await node.post('/api/v1/ves/events/ingest', { agentId: agent.id, events });
    need(answer.eventsAccepted === events.length, `VES ingest refused events: ${JSON.stringify(answer.rejections)}`);
    for (const [at, receipt] of answer.receipts.entries()) await checkVesReceipt(receipt, events[at], genesis);
    answers.push(answer);
  }
}

async function checkProven(answer, events, publicKey, genesis) {
  need(answer.results.length === events.length, 'another number of results than of events');
  for (const [at, result] of answer.results.entries()) {
    need(result.status === 'accepted', `an event was refused: ${JSON.stringify(result)}`);
    await checkProvenReceipt(result.receipt, answer.checkpoints, events[at], publicKey, genesis);
  }
}

/** A forged signature among good ones is refused alone; an exact retry gets the same place. */
async function submitForged(node, agent, genesis, answers) {
  const events = await agent.events(3);
  const [good, forged] = events;
  const bytes = Buffer.from(forged.agent_signature.slice(2), 'hex');
  bytes[40] ^= 1;
  events[1] = { ...forged, agent_signature: `0x${hex(bytes)}` };
  const answer = await node.post('/api/v1/ves/events/ingest', { agentId: agent.id, events });
  need(answer.eventsAccepted === 2 && answer.eventsRejected === 1, 'a forged signature was not refused alone');
  need(answer.rejections[0].reason === 'invalid_signature', `a forged signature was refused as ${answer.rejections[0].reason}`);
  need(answer.rejections[0].event_id === forged.event_id, 'another event was refused than the forged one');
  await checkVesReceipt(answer.receipts[0], good, genesis);
  await checkVesReceipt(answer.receipts[1], events[2], genesis);
  const again = await node.post('/api/v1/ves/events/ingest', { agentId: agent.id, events: [good] });
  need(again.eventsAccepted === 0, 'a retry was taken for a new event');
  need(JSON.stringify(again.receipts) === JSON.stringify([answer.receipts[0]]), 'a retry got another receipt');
  answers.push(answer, again);
}

async function main() {
  const option = { type: 'string' };
  const { values } = parseArgs({ options: {
    url: option, 'operator-key-file': option, 'ledger-id': option, tenant: option, store: option, count: option, out: option,
  } });
  const operator = new Node(values.url, readFileSync(values['operator-key-file'], 'utf8').trim());
  const ledger = await operator.get('/v1/ledger');
  const genesis = readGenesis(Buffer.from(ledger.genesis_entry, 'base64'), values['ledger-id']);

  const agent = new Agent(values.tenant, values.store);
  const publicKey = Buffer.from(await ed.getPublicKeyAsync(agent.secret));
  await operator.post('/api/v1/agents/keys', { tenantId: values.tenant, agentId: agent.id, publicKey: hex(publicKey) });
  const { api_key: apiKey } = await operator.post('/v1/api-keys', {
    tenant_id: values.tenant, agent_id: agent.id, roles: ['agent'], label: 'foreign agent',
  });
  const node = new Node(values.url, apiKey);

  const answers = [];
  const count = Number(values.count);
  await submitVes(node, agent, count, genesis, answers);
  const native = await agent.events(8);
  answers.push(await node.post('/v1/events', { events: native }));
  await checkProven(answers.at(-1), native, publicKey, genesis);
  const binary = await agent.events(8);
  answers.push(await node.send('POST', '/v1/events', FRAMES, Buffer.concat(binary.map(frame))));
  await checkProven(answers.at(-1), binary, publicKey, genesis);
  await submitForged(node, agent, genesis, answers);

  writeFileSync(values.out, JSON.stringify(answers));
  const ves = answers.flatMap((answer) => answer.receipts ?? []).length;
  const last = answers.flatMap((answer) => (answer.results ?? []).map((result) => result.receipt.index)).at(-1);
  console.log(JSON.stringify({
    agent_id: agent.id, accepted: count + native.length + binary.length + 2, ves_receipts: ves,
    proven_receipts: native.length + binary.length, last_proven_index: last,
  }));
}

main().catch((error) => {
  console.error(`broken: ${error.message}`);
  process.exit(1);
});
