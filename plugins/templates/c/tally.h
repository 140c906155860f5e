/* The flat ABI of plugins, version 1, for C: imports, exports, and what a plugin needs between them.
 *
 * A plugin implements the six functions at the end of this file and nothing else: no start, no floats, no statics that
 * last from one event to the next (an instance may be replaced between any two events).
 * Memory from `tally_take` lives until the next event; the host's bytes come from there too. */
#ifndef TALLY_H
#define TALLY_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  const uint8_t *at;
  uint32_t length;
} tally_bytes;

/* An event; texts are UTF-8, the body is canonical JSON. */
typedef struct {
  uint64_t index, sequence, sequenced_at; /* log time in microseconds: the only time there is */
  const uint8_t *tenant, *store, *event_id, *agent; /* 16 bytes each */
  const uint8_t *payload_hash;                      /* 32 bytes */
  int derived;                                      /* emitted by another plugin: nobody signed it */
  tally_bytes type, entity_type, entity_id, body;
} tally_event;

#define TALLY_IMPORT(name) __attribute__((import_module("tally:plugin/host@1"), import_name(name)))
#define TALLY_EXPORT(name) __attribute__((export_name(name), used))

TALLY_IMPORT("next") void tally_host_next(void *ret);
TALLY_IMPORT("done") void tally_host_done(uint32_t accepted, const void *code, uint32_t length);
TALLY_IMPORT("kv_get") void tally_host_kv_get(const void *key, uint32_t length, void *ret);
TALLY_IMPORT("kv_set") void tally_host_kv_set(const void *key, uint32_t key_length, const void *value, uint32_t length);
TALLY_IMPORT("kv_delete") void tally_host_kv_delete(const void *key, uint32_t length);
TALLY_IMPORT("kv_range")
void tally_host_kv_range(const void *start, uint32_t start_length, const void *end, uint32_t end_length,
                         uint32_t limit, uint32_t reverse, void *ret);
TALLY_IMPORT("emit") void tally_host_emit(const void *type, uint32_t type_length, const void *body, uint32_t length);
TALLY_IMPORT("effect")
void tally_host_effect(const void *kind, uint32_t kind_length, const void *suffix, uint32_t suffix_length,
                       const void *body, uint32_t length);
TALLY_IMPORT("sha256") void tally_host_sha256(const void *data, uint32_t length, void *out);
TALLY_IMPORT("id") void tally_host_id(const void *label, uint32_t length, void *out);
TALLY_IMPORT("log") void tally_host_log(uint32_t level, const void *text, uint32_t length);

/* Ends the event: nothing of it stays, and the host goes on with the next one in a fresh instance. */
static inline void tally_stop(void) { __builtin_trap(); }

/* --- memory: one block, taken from the front, given back as a whole before each event --- */

#define TALLY_BLOCK_BYTES (512u * 1024u)
static uint8_t tally_block[TALLY_BLOCK_BYTES] __attribute__((aligned(16)));
static uint32_t tally_taken;

static void *tally_take(uint32_t align, uint32_t bytes) {
  if (align == 0 || (align & (align - 1)) != 0 || align > 16) tally_stop();
  uint32_t from = (tally_taken + align - 1) & ~(align - 1);
  if (bytes > TALLY_BLOCK_BYTES || from > TALLY_BLOCK_BYTES - bytes) tally_stop();
  tally_taken = from + bytes;
  return tally_block + from;
}

TALLY_EXPORT("cabi_realloc")
void *tally_cabi_realloc(void *old, uint32_t old_size, uint32_t align, uint32_t new_size) {
  uint8_t *block = tally_take(align, new_size);
  for (uint32_t i = 0; i < old_size && i < new_size; i++) block[i] = ((uint8_t *)old)[i];
  return block;
}

/* --- bytes --- */

static inline tally_bytes tally_text(const char *text) {
  uint32_t length = 0;
  while (text[length] != 0) length++;
  return (tally_bytes){(const uint8_t *)text, length};
}

static inline int tally_same(tally_bytes one, tally_bytes other) {
  if (one.length != other.length) return 0;
  for (uint32_t i = 0; i < one.length; i++)
    if (one.at[i] != other.at[i]) return 0;
  return 1;
}

/* One text behind the other, for keys and answers. */
static inline tally_bytes tally_join(tally_bytes one, tally_bytes other) {
  uint8_t *joined = tally_take(1, one.length + other.length);
  for (uint32_t i = 0; i < one.length; i++) joined[i] = one.at[i];
  for (uint32_t i = 0; i < other.length; i++) joined[one.length + i] = other.at[i];
  return (tally_bytes){joined, one.length + other.length};
}

/* A text as a part of a key: a zero byte becomes 00 ff, and 00 01 ends it, so that keys of several parts keep their order and
 * two of them never collide. The same bytes as `Key::text` of the Rust crate. */
static inline tally_bytes tally_part(tally_bytes text) {
  uint8_t *part = tally_take(1, 2 * text.length + 2);
  uint32_t length = 0;
  for (uint32_t i = 0; i < text.length; i++) {
    part[length++] = text.at[i];
    if (text.at[i] == 0) part[length++] = 0xff;
  }
  part[length++] = 0;
  part[length++] = 1;
  return (tally_bytes){part, length};
}

static inline tally_bytes tally_decimal(uint64_t number) {
  uint8_t *digits = tally_take(1, 20);
  uint32_t at = 20;
  do {
    digits[--at] = (uint8_t)('0' + number % 10);
    number /= 10;
  } while (number != 0);
  return (tally_bytes){digits + at, 20 - at};
}

static inline uint64_t tally_number(tally_bytes decimal) {
  uint64_t number = 0;
  for (uint32_t i = 0; i < decimal.length; i++) number = number * 10 + (uint64_t)(decimal.at[i] - '0');
  return number;
}

/* --- state --- */

typedef struct {
  uint32_t present, at, length, spare;
} __attribute__((aligned(8))) tally_answer;

static inline int tally_get(tally_bytes key, tally_bytes *value) {
  tally_answer answer = {0, 0, 0, 0};
  tally_host_kv_get(key.at, key.length, &answer);
  if (!answer.present) return 0;
  *value = (tally_bytes){(const uint8_t *)(uintptr_t)answer.at, answer.length};
  return 1;
}

static inline void tally_set(tally_bytes key, tally_bytes value) {
  tally_host_kv_set(key.at, key.length, value.at, value.length);
}

static inline void tally_delete(tally_bytes key) { tally_host_kv_delete(key.at, key.length); }

/* --- a text parameter of a query, without escapes in it: {"args":{"NAME":"…"},…} --- */

static inline int tally_parameter(tally_bytes request, const char *name, tally_bytes *value) {
  tally_bytes wanted = tally_join(tally_join(tally_text("\""), tally_text(name)), tally_text("\":\""));
  for (uint32_t from = 0; from + wanted.length <= request.length; from++) {
    if (!tally_same((tally_bytes){request.at + from, wanted.length}, wanted)) continue;
    uint32_t start = from + wanted.length, end = start;
    while (end < request.length && request.at[end] != '"') {
      if (request.at[end] == '\\') return 0;
      end++;
    }
    *value = (tally_bytes){request.at + start, end - start};
    return end < request.length;
  }
  return 0;
}

/* --- what a plugin implements --- */

/* The manifest: canonical JSON. */
static tally_bytes plugin_describe(void);
/* Gives no code to accept an event, else why not: 1 to 32 of a-z 0-9 _ - . */
static const char *plugin_apply(const tally_event *event);
/* Answers {"body":…,"status":…}, canonical JSON. */
static tally_bytes plugin_query(tally_bytes request);
/* The configuration, canonical JSON: no code if it is fine. */
static const char *plugin_init(tally_bytes config);

/* --- the loop --- */

static inline uint32_t tally_u16(const uint8_t *at) { return at[0] | (uint32_t)at[1] << 8; }
static inline uint32_t tally_u32(const uint8_t *at) { return tally_u16(at) | tally_u16(at + 2) << 16; }
static inline uint64_t tally_u64(const uint8_t *at) { return tally_u32(at) | (uint64_t)tally_u32(at + 4) << 32; }

static void tally_read(const uint8_t *record, tally_event *event) {
  event->index = tally_u64(record);
  event->sequence = tally_u64(record + 8);
  event->sequenced_at = tally_u64(record + 16);
  event->tenant = record + 24;
  event->store = record + 40;
  event->event_id = record + 56;
  event->agent = record + 72;
  event->payload_hash = record + 88;
  event->derived = (int)(tally_u16(record + 126) & 1);
  const uint8_t *at = record + 132;
  event->type = (tally_bytes){at, tally_u16(record + 120)};
  at += event->type.length;
  event->entity_type = (tally_bytes){at, tally_u16(record + 122)};
  at += event->entity_type.length;
  event->entity_id = (tally_bytes){at, tally_u16(record + 124)};
  at += event->entity_id.length;
  event->body = (tally_bytes){at, tally_u32(record + 128)};
}

static void tally_give(tally_bytes bytes, uint32_t *ret) {
  ret[0] = (uint32_t)(uintptr_t)bytes.at;
  ret[1] = bytes.length;
}

TALLY_EXPORT("run") void tally_run(void) {
  for (;;) {
    tally_taken = 0;
    tally_answer answer = {0, 0, 0, 0};
    tally_host_next(&answer);
    if (!answer.present) return;
    tally_event event;
    tally_read((const uint8_t *)(uintptr_t)answer.at, &event);
    const char *why = plugin_apply(&event);
    tally_bytes code = why ? tally_text(why) : (tally_bytes){tally_block, 0};
    tally_host_done(why == 0, code.at, code.length);
  }
}

TALLY_EXPORT("describe") void tally_describe(uint32_t *ret) { tally_give(plugin_describe(), ret); }

TALLY_EXPORT("query") void tally_query(const uint8_t *request, uint32_t length, uint32_t *ret) {
  tally_give(plugin_query((tally_bytes){request, length}), ret);
}

TALLY_EXPORT("init") uint32_t tally_init(const uint8_t *config, uint32_t length) {
  const char *why = plugin_init((tally_bytes){config, length});
  if (why == 0) return 0;
  tally_bytes code = tally_text(why);
  tally_host_done(0, code.at, code.length);
  return 1;
}

/* Write your own when you raise `state_version`; until then there is nothing to migrate from. */
#ifndef TALLY_OWN_MIGRATE
TALLY_EXPORT("migrate") uint32_t tally_migrate(uint32_t from, const uint8_t *config, uint32_t length) {
  (void)from, (void)config, (void)length;
  tally_bytes code = tally_text("no_migration");
  tally_host_done(0, code.at, code.length);
  return 1;
}
#endif

#endif
