"""Outcomes, the hashes in them, derived ids, profiles, modules."""

from blake3 import blake3, pattern
from common import sha, text, u32, u64

LEAF = sha(b"\0", b"an entry")
TAG = b"TALLY_OUTCOME_V1"
MODULE, PROFILE = blake3(b"\0asm\1\0\0\0"), sha(b"a profile")
LIMITS = ["event_bytes", "key_bytes", "value_bytes", "writes", "write_bytes", "emits", "emit_bytes", "emit_depth",
          "effects", "effect_bytes", "label_bytes", "read_bytes", "host_calls", "state_bytes"]


def u16(n):
    return n.to_bytes(2, "big")


def writes(pairs):
    return sha(b"TALLY_WRITES_V1", *(text(key) + (b"\0" if value is None else b"\1" + text(value)) for key, value in pairs))


def emits(pairs):
    return sha(b"TALLY_EMITS_V1", *(text(kind) + text(body) for kind, body in pairs))


def effects(calls):
    return sha(b"TALLY_REQUESTS_V1", *(effect + text(kind) + text(body) for effect, kind, body in calls))


def derived(ledger, index, plugin, call, label):
    return sha(b"TALLY_ID_V1", ledger, u64(index), text(plugin), u32(call), text(label))


def effect(ledger, index, plugin, call, kind, suffix):
    return sha(b"TALLY_EFFECT_V1", ledger, u64(index), text(plugin), u32(call), text(kind), text(suffix))


def binding(plugin="catalog", module=MODULE, profile=PROFILE, fresh=0, code=b"\0", gas=1234, w=None, m=None, e=None):
    return b"".join([text(plugin), module, profile, bytes([fresh]), code, u64(gas), w or writes([]), m or emits([]),
                     e or effects([])])


def body(*bindings, tag=TAG, leaf=LEAF, count=None):
    return tag + leaf + u16(len(bindings) if count is None else count) + b"".join(bindings)


def outcomes():
    cases = []

    def case(name, data, decode="ok", **more):
        cases.append({"name": name, "event_leaf": LEAF.hex(), "outcome": data.hex(), "decode": decode, **more,
                      **({"leaf_hash": sha(b"\0", data).hex()} if decode == "ok" else {})})

    one = binding()
    assert len(body(one)) == 50 + 4 + 7 + 64 + 1 + 1 + 8 + 96
    case("no bindings", TAG)
    case("one binding", body(one))
    case("two bindings", body(one, binding("checkout")))
    case("the same two in the other order", body(binding("checkout"), one))
    case("plugin changed", body(binding("catalogs")))
    case("plugin of one character", body(binding("-")))
    case("plugin of 64 characters", body(binding("x" * 64)))
    case("module changed", body(binding(module=PROFILE)))
    case("profile changed", body(binding(profile=MODULE)))
    case("module and profile swapped", body(binding(module=PROFILE, profile=MODULE)))
    case("fresh", body(binding(fresh=1)))
    case("gas changed", body(binding(gas=1235)))
    case("no gas", body(binding(gas=0)))
    case("all gas", body(binding(gas=2**64 - 1)))
    case("writes changed", body(binding(w=writes([(b"k", b"v")]))))
    case("emits changed", body(binding(m=emits([(b"t", b"b")]))))
    case("effects changed", body(binding(e=effects([(bytes(32), b"k", b"b")]))))
    case("writes and emits swapped", body(binding(w=emits([]), m=writes([]))))
    for number, name in enumerate(("accepted", "rejected", "out_of_gas", "stack_exceeded", "memory_exceeded", "trapped",
                                   "limit", "bad_output", "dependency_rejected")):
        more = {1: text("stock"), 6: b"\1"}.get(number, b"")
        if number > 0:
            case(f"code {name}", body(binding(code=bytes([number]) + more)), code=name)
        else:
            case("code accepted, by another", body(binding("a", code=b"\0")), code=name)
    for number, name in enumerate(LIMITS, 1):
        if number > 1:
            case(f"limit {name}", body(binding(code=bytes([6, number]))), limit=name)
    case("reason of one character", body(binding(code=b"\1" + text("~"))))
    case("reason of 32 characters", body(binding(code=b"\1" + text("!" * 32))))
    case("128 bindings", body(*(binding(f"p{at}") for at in range(128))))
    # Refused.
    case("nothing", b"", "Truncated")
    case("a tag cut short", TAG[:-1], "Truncated")
    case("another tag", body(one, tag=b"TALLY_OUTCOME_V2"), "Tag")
    case("an entry", b"TALLY_ENTRY_V1" + bytes(200), "Tag")
    case("one byte after the tag", TAG + b"\0", "Truncated")
    case("another event's", body(one, leaf=bytes(32)), "EventLeaf")
    case("no bindings, spelled out", body(), "Count")
    case("no bindings, and one", body(one, count=0), "Count")
    case("129 bindings", body(*(binding(f"p{at}") for at in range(129))), "Count")
    case("a count at the end of its type", body(one, count=65535), "Count")
    case("one binding more than there are", body(one, count=2), "Truncated")
    case("one binding fewer than there are", body(one, binding("checkout"), count=1), "Surplus")
    case("one byte short", body(one)[:-1], "Truncated")
    case("one byte more", body(one) + b"\0", "Surplus")
    case("too long for any outcome", TAG + bytes(70_000), "Surplus")
    case("a plugin twice", body(one, binding(gas=5)), "PluginTwice")
    for name, plugin in (("empty", ""), ("of 65 characters", "x" * 65), ("with a capital", "Catalog"), ("with a dot", "a.b"),
                         ("with an underscore", "a_b"), ("with U+0000", "a\0"), ("not UTF-8", b"\xff"), ("with a colon", "a:b")):
        case(f"plugin {name}", body(binding(plugin)), "Plugin")
    case("plugin length at the end of its type", body(b"\xff" * 4 + one[4:]), "Plugin")
    for fresh in (2, 255):
        case(f"fresh {fresh}", body(binding(fresh=fresh)), "Fresh")
    for number in (9, 255):
        case(f"code {number}", body(binding(code=bytes([number]))), "Code")
    for number in (0, len(LIMITS) + 1, 255):
        case(f"limit {number}", body(binding(code=bytes([6, number]))), "Limit")
    for name, reason in (("empty", ""), ("of 33 characters", "x" * 33), ("with a blank", "out of stock"), ("with a line end", "a\n"),
                         ("with an escape", "a\x1b[2J"), ("not ASCII", "größe"), ("with U+007F", "a\x7f"), ("not UTF-8", b"\xff")):
        case(f"reason {name}", body(binding(code=b"\1" + text(reason))), "Reason")
    case("reason length at the end of its type", body(binding(code=b"\1" + b"\xff" * 4)), "Reason")
    # The gas and half of a hash are taken for a length.
    case("rejected without a reason", body(binding(code=b"\1", gas=2**63)), "Reason")
    return cases


def outcome():
    ledger = sha(b"\0", b"genesis")

    def write_cases():
        for name, pairs in (
            ("nothing", []), ("one", [(b"k", b"v")]), ("one deleted", [(b"k", None)]), ("one emptied", [(b"k", b"")]),
            ("two", [(b"a", b"1"), (b"b", b"2")]), ("a byte moved from value to key", [(b"kv", b"")]),
            ("a byte moved from key to value", [(b"", b"kv")]), ("values swapped", [(b"a", b"2"), (b"b", b"1")]),
            ("a prefix first", [(b"a", b""), (b"a\0", b""), (b"ab", b"")]), ("signed bytes", [(b"\x7f", b""), (b"\x80", None)]),
            ("what two writes look like", [(b"a", b"1" + text(b"b") + b"\1" + text(b"2"))]),
        ):
            yield {"name": name, "writes": [[k.hex(), None if v is None else v.hex()] for k, v in pairs], "hash": writes(pairs).hex()}
        for name, pairs in (("out of order", [(b"b", b"2"), (b"a", b"1")]), ("a key twice", [(b"a", b"1"), (b"a", b"1")]),
                            ("a prefix last", [(b"ab", b""), (b"a", b"")])):
            yield {"name": name, "writes": [[k.hex(), v.hex()] for k, v in pairs], "hash": "KeyOrder"}

    def emit_cases():
        for name, pairs in (
            ("nothing", []), ("one", [("order.paid", b"{}")]), ("an empty body", [("order.paid", b"")]), ("two", [("a", b"1"), ("b", b"2")]),
            ("two in the other order", [("b", b"2"), ("a", b"1")]), ("the same twice", [("a", b"1"), ("a", b"1")]),
            ("a byte moved from type to body", [("order.pai", b"d{}")]), ("what two look like", [("a", b"1" + text(b"b") + text(b"2"))]),
        ):
            yield {"name": name, "emits": [[kind, data.hex()] for kind, data in pairs], "hash": emits(pairs).hex()}

    def effect_cases():
        first, second = sha(b"1"), sha(b"2")
        for name, calls in (
            ("nothing", []), ("one", [(first, "payment", b"{}")]), ("another id", [(second, "payment", b"{}")]),
            ("another kind", [(first, "signer", b"{}")]), ("another body", [(first, "payment", b"[]")]),
            ("a byte moved from kind to body", [(first, "paymen", b"t{}")]), ("two", [(first, "a", b""), (second, "a", b"")]),
            ("two in the other order", [(second, "a", b""), (first, "a", b"")]),
        ):
            yield {"name": name, "effects": [[i.hex(), kind, data.hex()] for i, kind, data in calls], "hash": effects(calls).hex()}

    def id_cases():
        good = {"ledger": ledger, "index": 42, "plugin": "licensing", "call": 0, "label": b"licence"}
        for name, change in (
            ("id", {}), ("another ledger", {"ledger": bytes(32)}), ("another index", {"index": 43}), ("another plugin", {"plugin": "licensin"}),
            ("another call", {"call": 1}), ("another label", {"label": b"license"}), ("no label", {"label": b""}),
            ("a label of any bytes", {"label": b"\xff\0:"}), ("index and call swapped", {"index": 0, "call": 42}),
            ("a letter moved from plugin to label", {"plugin": "licensi", "label": b"nglicence"}),
            ("the ends of the types", {"index": 2**64 - 1, "call": 2**32 - 1}),
        ):
            c = {**good, **change}
            yield {"name": name, **c, "ledger": c["ledger"].hex(), "label": c["label"].hex(), "index": str(c["index"]), "id": derived(**c).hex()}

    def effect_id_cases():
        good = {"ledger": ledger, "index": 42, "plugin": "checkout", "call": 0, "kind": "payment", "suffix": b"capture"}
        for name, change in (
            ("id", {}), ("another ledger", {"ledger": bytes(32)}), ("another index", {"index": 43}), ("another plugin", {"plugin": "checkin"}),
            ("another call", {"call": 1}), ("another kind", {"kind": "signer"}), ("another suffix", {"suffix": b"refund"}),
            ("no suffix", {"suffix": b""}), ("a letter moved from kind to suffix", {"kind": "paymen", "suffix": b"tcapture"}),
            ("kind and suffix swapped", {"kind": "capture", "suffix": b"payment"}),
        ):
            c = {**good, **change}
            yield {"name": name, **c, "ledger": c["ledger"].hex(), "suffix": c["suffix"].hex(), "index": str(c["index"]), "id": effect(**c).hex()}

    def profile_cases():
        good = {"versions": [1, 1, 1, 1], "limits": [["gas", 2_000_000], ["memory_bytes", 16 << 20]]}
        for name, change in (
            ("profile", {}), ("another ABI", {"versions": [2, 1, 1, 1]}), ("another validator", {"versions": [1, 2, 1, 1]}),
            ("another gas table", {"versions": [1, 1, 2, 1]}), ("another instrumentation", {"versions": [1, 1, 1, 2]}),
            ("another limit", {"limits": [["gas", 2_000_001], ["memory_bytes", 16 << 20]]}), ("a limit fewer", {"limits": [["gas", 2_000_000]]}),
            ("no limits", {"limits": []}), ("another name", {"limits": [["gas", 2_000_000], ["memory_byte", 16 << 20]]}),
            ("the end of the type", {"limits": [["gas", 2**64 - 1]]}),
            ("names out of order", {"limits": [["memory_bytes", 1], ["gas", 1]]}), ("a name twice", {"limits": [["gas", 1], ["gas", 1]]}),
            ("a name with a capital", {"limits": [["Gas", 1]]}), ("a name with a colon", {"limits": [["gas:x", 1]]}),
            ("an empty name", {"limits": [["", 1]]}), ("a name of 65 characters", {"limits": [["x" * 65, 1]]}),
            ("65 limits", {"limits": [[f"x{at:02}", 1] for at in range(65)]}),
        ):
            c = {**good, **change}
            names = [limit[0] for limit in c["limits"]]
            sound = all(0 < len(n) <= 64 and all(x in "abcdefghijklmnopqrstuvwxyz0123456789_" for x in n) for n in names)
            verdict = "ProfileLimits" if not sound or len(names) > 64 else "KeyOrder" if names != sorted(set(names)) else "ok"
            made = sha(b"TALLY_PROFILE_V1", *map(u32, c["versions"]), *(text(n) + u64(v) for n, v in c["limits"]))
            yield {"name": name, "versions": c["versions"], "limits": [[n, str(v)] for n, v in c["limits"]],
                   "id": made.hex() if verdict == "ok" else verdict}

    return {
        "outcomes": outcomes(), "writes": list(write_cases()), "emits": list(emit_cases()), "effects": list(effect_cases()),
        "derived_ids": list(id_cases()), "effect_ids": list(effect_id_cases()), "profiles": list(profile_cases()),
        "modules": [{"length": n, "hash": blake3(pattern(n)).hex()} for n in (0, 1, 64, 1024, 1025, 4096, 30_000)],
    }
