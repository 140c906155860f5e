// A plugin that knows how many of each item there are. Change it: what it does is in `apply`.
import * as tally from "./tally";

const ID_BYTES_MAX: u32 = 200; // a key holds 256 bytes, an entity's id up to 512

export function describe(ret: usize): void {
  const start = tally.begin();
  tally.putText('{"abi":1,"capabilities":[],"events":["item.added","item.removed"],"id":"@NAME@","limits":{},"prefixes":["n/"],"routes":[{"kind":"query","method":"GET","name":"count","path":"/items/{id}/count"}],"state_version":1,"version":"0.1.0"}');
  tally.give(start, ret);
}

/** All keys begin with a prefix of the manifest. */
function keyOf(id: usize, length: u32): usize {
  const key = tally.begin();
  tally.putText("n/");
  tally.putPart(id, length);
  return key;
}

function countOf(key: usize, length: u32): u64 {
  const value = tally.get(key, length);
  return value == 0 ? 0 : tally.readNumber(value, tally.foundLength());
}

function apply(): void {
  const length = tally.entityIdLength();
  if (length == 0 || length > ID_BYTES_MAX) return tally.refuse("bad-id");
  const key = keyOf(tally.entityId(), length);
  const keyLength = tally.lengthFrom(key);
  let count = countOf(key, keyLength);
  if (tally.isText(tally.type(), tally.typeLength(), "item.added")) {
    count++;
  } else {
    if (count == 0) return tally.refuse("none-left");
    count--;
  }
  if (count == 0) {
    tally.hostDelete(key, keyLength);
  } else {
    const value = tally.begin();
    tally.putNumber(count);
    tally.hostSet(key, keyLength, value, tally.lengthFrom(value));
  }
  tally.accept();
}

export function run(): void {
  while (tally.next()) apply();
}

export function init(config: usize, length: u32): u32 {
  return 0;
}

/** Write your own when you raise `state_version`; until then there is nothing to migrate from. */
export function migrate(from: u32, config: usize, length: u32): u32 {
  tally.refuse("no_migration");
  return 1;
}

export function query(request: usize, length: u32, ret: usize): void {
  const id = tally.parameter(request, length, "id");
  const idLength = tally.foundParameterLength();
  if (id == 0 || idLength == 0 || idLength > ID_BYTES_MAX) {
    const answer = tally.begin();
    tally.putText('{"body":{"error":"no_id"},"status":400}');
    return tally.give(answer, ret);
  }
  const key = keyOf(id, idLength);
  const count = countOf(key, tally.lengthFrom(key));
  const answer = tally.begin();
  tally.putText('{"body":{"count":');
  tally.putNumber(count);
  tally.putText('},"status":200}');
  tally.give(answer, ret);
}

export function cabi_realloc(old: usize, oldSize: u32, align: u32, newSize: u32): usize {
  const block = tally.take(align, newSize);
  memory.copy(block, old, min(oldSize, newSize));
  return block;
}
