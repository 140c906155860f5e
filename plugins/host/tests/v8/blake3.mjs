// BLAKE3, plain hash of 32 bytes, from its specification: Node has none.

const IV = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
const ORDER = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
const [CHUNK_START, CHUNK_END, PARENT, ROOT] = [1, 2, 4, 8];
const rotate = (word, by) => ((word >>> by) | (word << (32 - by))) >>> 0;

function mix(s, a, b, c, d, x, y) {
  s[a] = (s[a] + s[b] + x) >>> 0; s[d] = rotate(s[d] ^ s[a], 16);
  s[c] = (s[c] + s[d]) >>> 0; s[b] = rotate(s[b] ^ s[c], 12);
  s[a] = (s[a] + s[b] + y) >>> 0; s[d] = rotate(s[d] ^ s[a], 8);
  s[c] = (s[c] + s[d]) >>> 0; s[b] = rotate(s[b] ^ s[c], 7);
}

function compress(chaining, block, counter, length, flags) {
  const s = [...chaining, ...IV.slice(0, 4), counter >>> 0, Math.floor(counter / 2 ** 32) >>> 0, length, flags];
  let m = block;
  for (let round = 0; round < 7; round++) {
    mix(s, 0, 4, 8, 12, m[0], m[1]); mix(s, 1, 5, 9, 13, m[2], m[3]);
    mix(s, 2, 6, 10, 14, m[4], m[5]); mix(s, 3, 7, 11, 15, m[6], m[7]);
    mix(s, 0, 5, 10, 15, m[8], m[9]); mix(s, 1, 6, 11, 12, m[10], m[11]);
    mix(s, 2, 7, 8, 13, m[12], m[13]); mix(s, 3, 4, 9, 14, m[14], m[15]);
    m = ORDER.map((at) => m[at]);
  }
  return s.slice(0, 8).map((word, at) => (word ^ s[at + 8]) >>> 0);
}

function words(bytes) {
  const block = Buffer.alloc(64);
  bytes.copy(block);
  return Array.from({ length: 16 }, (_, at) => block.readUInt32LE(4 * at));
}

function chunk(bytes, counter, root) {
  let chaining = IV;
  const blocks = Math.max(1, Math.ceil(bytes.length / 64));
  for (let at = 0; at < blocks; at++) {
    const block = bytes.subarray(64 * at, 64 * at + 64);
    const last = at === blocks - 1;
    const flags = (at === 0 ? CHUNK_START : 0) | (last ? CHUNK_END | (root ? ROOT : 0) : 0);
    chaining = compress(chaining, words(block), counter, block.length, flags);
  }
  return chaining;
}

function tree(bytes, counter, root) {
  const chunks = Math.max(1, Math.ceil(bytes.length / 1024));
  if (chunks === 1) return chunk(bytes, counter, root);
  // The left side is the largest power of two of chunks that leaves one for the right.
  const left = 2 ** Math.floor(Math.log2(chunks - 1));
  const sides = [tree(bytes.subarray(0, left * 1024), counter, false), tree(bytes.subarray(left * 1024), counter + left, false)];
  return compress(IV, sides.flat(), 0, 64, PARENT | (root ? ROOT : 0));
}

/** The hash of bytes. */
export function blake3(bytes) {
  const out = Buffer.alloc(32);
  tree(Buffer.from(bytes), 0, true).forEach((word, at) => out.writeUInt32LE(word, 4 * at));
  return out;
}
