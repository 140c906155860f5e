// Whether bytes are canonical JSON (RFC 8785) as payloads must be: written from docs/formats/frame.md, for a comparison
// with the host's routine.

const DEPTH_MAX = 64;
const SAFE = 2n ** 53n - 1n;

/** The canonical text of a value. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    // The default order of JavaScript is that of UTF-16 units, which RFC 8785 asks for.
    return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(',')}}`;
  }
  return JSON.stringify(value);
}

function allowed(value, depth) {
  if (typeof value === 'string') return value.isWellFormed() && !value.includes('\0');
  if (typeof value === 'number') return Number.isFinite(value);
  if (value === null || typeof value !== 'object') return true;
  if (depth >= DEPTH_MAX) return false;
  return Object.entries(value).every(([key, inner]) => allowed(key, depth) && allowed(inner, depth + 1));
}

/** Outside of strings: an integer that a double does not hold. */
function overflows(json) {
  const numbers = json.replace(/"(?:[^"\\]|\\.)*"/g, '""').match(/-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/g) ?? [];
  const integers = numbers.filter((number) => /^-?\d+$/.test(number));
  return integers.some((number) => BigInt(number) > SAFE || BigInt(number) < -SAFE);
}

/** Whether bytes are exactly the canonical form of one allowed value. */
export function isCanonical(bytes) {
  try {
    const json = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    const value = JSON.parse(json);
    return allowed(value, 0) && !overflows(json) && canonical(value) === json;
  } catch {
    return false;
  }
}
