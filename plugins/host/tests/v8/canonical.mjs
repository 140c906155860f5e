// node canonical.mjs FILE: a JSON array of texts in hex; prints, a line each, the canonical form in hex, and whether the
// text is canonical itself. A text that has no canonical form is `-`.

import { readFileSync } from 'node:fs';
import { canonical, isCanonical } from './jcs.mjs';

for (const text of JSON.parse(readFileSync(process.argv[2], 'utf8'))) {
  const bytes = Buffer.from(text, 'hex');
  let form = '-';
  try {
    const json = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    form = Buffer.from(canonical(JSON.parse(json))).toString('hex');
  } catch { /* no JSON */ }
  console.log(form, isCanonical(bytes));
}
