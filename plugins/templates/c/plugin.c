/* A plugin that knows how many of each item there are. Change it: what it does is in `plugin_apply`. */
#include "tally.h"

#define ID_BYTES_MAX 200 /* a key holds 256 bytes, an entity's id up to 512 */

static tally_bytes plugin_describe(void) {
  return tally_text("{\"abi\":1,\"capabilities\":[],\"events\":[\"item.added\",\"item.removed\"],\"id\":\"@NAME@\","
                    "\"limits\":{},\"prefixes\":[\"n/\"],\"routes\":[{\"kind\":\"query\",\"method\":\"GET\","
                    "\"name\":\"count\",\"path\":\"/items/{id}/count\"}],\"state_version\":1,\"version\":\"0.1.0\"}");
}

/* All keys begin with a prefix of the manifest. */
static tally_bytes key_of(tally_bytes id) { return tally_join(tally_text("n/"), tally_part(id)); }

static uint64_t count_of(tally_bytes key) {
  tally_bytes value;
  return tally_get(key, &value) ? tally_number(value) : 0;
}

static const char *plugin_apply(const tally_event *event) {
  if (event->entity_id.length == 0 || event->entity_id.length > ID_BYTES_MAX) return "bad-id";
  tally_bytes key = key_of(event->entity_id);
  uint64_t count = count_of(key);
  if (tally_same(event->type, tally_text("item.added"))) {
    count++;
  } else {
    if (count == 0) return "none-left";
    count--;
  }
  if (count == 0)
    tally_delete(key);
  else
    tally_set(key, tally_decimal(count));
  return 0;
}

static const char *plugin_init(tally_bytes config) {
  (void)config;
  return 0;
}

static tally_bytes plugin_query(tally_bytes request) {
  tally_bytes id;
  if (!tally_parameter(request, "id", &id) || id.length == 0 || id.length > ID_BYTES_MAX)
    return tally_text("{\"body\":{\"error\":\"no_id\"},\"status\":400}");
  tally_bytes count = tally_decimal(count_of(key_of(id)));
  return tally_join(tally_join(tally_text("{\"body\":{\"count\":"), count), tally_text("},\"status\":200}"));
}
