#!/usr/bin/env node
// The verdicts of @noble/ed25519 on the golden signature vectors, by its two rules.
//
//   node verdicts.mjs sdk/protocol/tests/vectors/signatures.json
//
// Prints one JSON array with {"zip215": bool, "strict": bool} per vector.

import { readFileSync } from 'node:fs';
import * as ed from '@noble/ed25519';

const bytes = (hex) => Buffer.from(hex, 'hex');

async function verdict({ signature, message, public_key: key }, zip215) {
  try {
    return await ed.verifyAsync(bytes(signature), bytes(message), bytes(key), { zip215 });
  } catch {
    return false; // Not a point, not a signature.
  }
}

const verdicts = [];
for (const vector of JSON.parse(readFileSync(process.argv[2], 'utf8'))) {
  verdicts.push({ zip215: await verdict(vector, true), strict: await verdict(vector, false) });
}
console.log(JSON.stringify(verdicts));
