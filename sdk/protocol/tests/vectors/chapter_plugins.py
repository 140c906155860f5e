"""Releases, the signatures over them, and the payloads of plugin events."""

import hashlib
import hmac
import json

import ed25519
from blake3 import blake3
from common import sha, text, u32, u64, uuid
from jcs import canonical

LEDGER, TENANT, STORE = sha(b"\0", b"genesis"), "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
NIL = "00000000-0000-0000-0000-000000000000"
PUBLISHER, REVIEWER = "2222aaaa-2222-4222-8222-22222222bbbb", "3333aaaa-3333-4333-8333-33333333bbbb"
SEEDS = {PUBLISHER: bytes([11]) * 32, REVIEWER: bytes([12]) * 32}
TIME, LATER = "2025-01-01T00:00:00.000000Z", "2025-01-01T01:00:00.000000Z"
MICROS = {TIME: 1_735_689_600_000_000, LATER: 1_735_693_200_000_000}
PER = ["install", "month", "event", "million_gas"]
DECISIONS = ["approved", "rejected", "revoked"]
MANIFEST = {"abi": 1, "capabilities": ["emit:order.paid", "kv"], "events": ["order.created"], "id": "checkout",
            "limits": {"gas": 2_000_000, "memory_bytes": 16 << 20}, "prefixes": ["o/"], "routes": [], "state_version": 1,
            "version": "1.2.3"}
RELEASE = {
    "plugin_id": "checkout", "version": "1.2.3", "module_hash": blake3(b"\0asm\1\0\0\0").hex(),
    "manifest_hash": sha(b"TALLY_MANIFEST_V1", canonical(MANIFEST)).hex(), "abi": 1, "state_version": 1,
    "permissions": ["emit:order.paid", "kv"], "limits": {"gas": 2_000_000, "memory_bytes": 16 << 20},
    "price": {"amount": 1999, "currency": "EUR", "per": "month"},
    "schemas": {"order.created": sha(b"TALLY_SCHEMA_V1", b"{}").hex()},
}


def release_hash(r):
    by_bytes = lambda members: sorted(members.items(), key=lambda member: member[0].encode())
    return sha(
        b"TALLY_RELEASE_V1", text(r["plugin_id"]), *(u32(int(part)) for part in r["version"].split(".")),
        bytes.fromhex(r["module_hash"]), bytes.fromhex(r["manifest_hash"]), u32(r["abi"]), u32(r["state_version"]),
        u32(len(r["permissions"])), *map(text, r["permissions"]),
        u32(len(r["limits"])), *(text(name) + u64(value) for name, value in by_bytes(r["limits"])),
        u64(r["price"]["amount"]), text(r["price"]["currency"]), bytes([PER.index(r["price"]["per"])]),
        u32(len(r["schemas"])), *(text(name) + bytes.fromhex(value) for name, value in by_bytes(r["schemas"])),
    )


def attestation(release, agent, key_id, at):
    return sha(b"TALLY_ATTEST_V1", release, uuid(agent), u32(key_id), u64(MICROS[at]))


def review_hash(p):
    return sha(
        b"TALLY_REVIEW_V1", bytes.fromhex(p["previous"]), bytes.fromhex(p["release_hash"]),
        bytes([DECISIONS.index(p["decision"]), p["override"]]), bytes.fromhex(p["report_hash"]), u32(p["blocking"]),
        text(p["reason"]), uuid(p["reviewer_id"]), u32(p["reviewer_key_id"]), u64(MICROS[p["signed_at"]]),
    )


def life_start(ledger, tenant, store, plugin):
    return sha(b"TALLY_LIFE_V1", b"\0", ledger, uuid(tenant), uuid(store), plugin.encode())


def life_next(head, kind, payload):
    return sha(b"TALLY_LIFE_V1", b"\1", head, text(kind), payload)


def submitted(release=RELEASE):
    head, hashed = life_start(LEDGER, TENANT, NIL, release["plugin_id"]), release_hash(release)
    return {"release": release, "release_hash": hashed.hex(), "publisher_id": PUBLISHER, "publisher_key_id": 1, "signed_at": TIME,
            "signature": ed25519.sign(SEEDS[PUBLISHER], attestation(hashed, PUBLISHER, 1, TIME)).hex(), "previous": head.hex()}


def reviewed(**change):
    event = submitted()
    head = life_next(bytes.fromhex(event["previous"]), "tally.plugin.submitted", canonical(event))
    payload = {"plugin_id": "checkout", "version": "1.2.3", "release_hash": event["release_hash"], "decision": "approved",
               "override": False, "report_hash": sha(b"a report").hex(), "blocking": 0, "reason": "read, built, compared",
               "reviewer_id": REVIEWER, "reviewer_key_id": 1, "signed_at": LATER, "previous": head.hex(), **change}
    return {**payload, "signature": ed25519.sign(SEEDS[REVIEWER], review_hash(payload)).hex()}


def changed_releases():
    """Every field of a release changed alone, and every way to move a boundary."""
    r = RELEASE
    yield "release", r
    for name, change in (
        ("plugin", {"plugin_id": "checkou"}), ("major", {"version": "2.2.3"}), ("minor", {"version": "1.3.3"}), ("patch", {"version": "1.2.4"}),
        ("version digits moved", {"version": "12.2.3"}), ("module", {"module_hash": r["manifest_hash"]}),
        ("manifest", {"manifest_hash": r["module_hash"]}), ("module and manifest swapped", {"module_hash": r["manifest_hash"], "manifest_hash": r["module_hash"]}),
        ("abi", {"abi": 2}), ("state version", {"state_version": 2}), ("a permission fewer", {"permissions": ["kv"]}),
        ("a permission more", {"permissions": ["effect:payment", "emit:order.paid", "kv"]}), ("no permissions", {"permissions": []}),
        ("a limit", {"limits": {**r["limits"], "gas": 2_000_001}}), ("a limit fewer", {"limits": {"gas": 2_000_000}}),
        ("a limit's name", {"limits": {"gas": 2_000_000, "memory_byte": 16 << 20}}), ("no limits", {"limits": {}}),
        ("limits swapped", {"limits": {"gas": 16 << 20, "memory_bytes": 2_000_000}}),
        ("amount", {"price": {**r["price"], "amount": 1998}}), ("free", {"price": {**r["price"], "amount": 0}}),
        ("currency", {"price": {**r["price"], "currency": "USD"}}), ("unit", {"price": {**r["price"], "per": "event"}}),
        ("a schema", {"schemas": {"order.created": r["module_hash"]}}), ("a schema's type", {"schemas": {"order.create": r["schemas"]["order.created"]}}),
        ("no schemas", {"schemas": {}}), ("a schema more", {"schemas": {**r["schemas"], "order.paid": r["module_hash"]}}),
        # Colons, commas and line ends are text like any other.
        ("two permissions as one with a colon", {"permissions": ["emit:order.paid:kv"]}),
        ("two permissions as one with a comma", {"permissions": ["emit:order.paid,kv"]}),
        ("a colon as a boundary", {"permissions": ["emit", "kv", "order.paid"]}),
        ("a permission split", {"permissions": ["emit:order.pai", "kv"]}),
        ("a schema's type with a colon", {"schemas": {"order.created:" + r["schemas"]["order.created"]: r["schemas"]["order.created"]}}),
        ("a schema's type past the surrogates", {"schemas": {"\uffff": r["module_hash"], "\U0001f600": r["module_hash"]}}),
    ):
        yield name, {**r, **change}


def events():
    cases = []
    previous, profile = sha(b"previous").hex(), sha(b"profile").hex()
    binding = {"store_id": STORE, "plugin_id": "checkout", "registry": "tenant", "version": "1.2.3", "release_hash": release_hash(RELEASE).hex(),
               "module_hash": RELEASE["module_hash"], "profile_id": profile, "state_version": 1, "granted": ["kv"],
               "limits": {"gas": 1_000_000, "memory_bytes": 16 << 20}, "config": {"tax": {"de": 19}}, "rollback": False, "previous": previous}
    ending = {"store_id": STORE, "plugin_id": "checkout", "reason": "too slow", "previous": previous}
    payloads = {
        "tally.plugin.submitted": submitted(), "tally.plugin.reviewed": reviewed(), "tally.plugin.installed": binding,
        "tally.plugin.configured": {"store_id": STORE, "plugin_id": "checkout", "config": {}, "resume": False, "previous": previous},
        "tally.plugin.upgraded": binding, "tally.plugin.quarantined": ending, "tally.plugin.removed": ending,
    }

    def case(name, kind, payload, decode="ok"):
        data = payload if isinstance(payload, bytes) else canonical(payload)
        cases.append({"name": name, "event_type": kind, "payload": data.decode(), "decode": decode})

    hashes = ["", "00", "AB" * 32, "ab" * 33, "0x" + "ab" * 31, 1, None]
    ids = [PUBLISHER.upper(), PUBLISHER.replace("-", ""), "", 7, None, NIL]
    plugins = ["", "Checkout", "check out", "check:out", "x" * 65, "größe", 1, None, ["checkout"]]
    versions = ["", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.3-rc1", "+1.2.3", "1.2.4294967296", "1..3", " 1.2.3", "1.2.3:", 1, None]
    counts, flags = [0, -1, 1.5, 2**32, "1", None], [0, 1, "true", None]
    sets = ["kv", {}, None, ["kv", "emit"], ["kv", "kv"], [""], ["a b"], ["größe"], [1], ["x" * 129], ["a\n"], [None]]
    limits = [[], None, {"gas": -1}, {"gas": 1.5}, {"gas": "1"}, {"Gas": 1}, {"gas:x": 1}, {"": 1}, {"x" * 65: 1}, {"gas": None}]
    bad = {
        "release_hash": hashes, "module_hash": hashes, "manifest_hash": hashes, "profile_id": hashes, "report_hash": hashes, "previous": hashes,
        "publisher_id": ids, "reviewer_id": ids, "store_id": ids, "plugin_id": plugins, "version": versions, "publisher_key_id": counts,
        "reviewer_key_id": counts, "abi": counts, "state_version": counts, "blocking": counts[1:],
        "signed_at": ["2025-01-01T00:00:00Z", "", None, 1, "2025-02-30T00:00:00.000000Z"], "signature": ["", "00", "AB" * 64, "ab" * 63, None, 1],
        "override": flags, "resume": flags, "rollback": flags, "decision": ["", "pending", "Approved", "approved ", 0, None],
        "registry": ["", "Ledger", "store", None], "reason": ["", "x" * 513, None, 1, ["x"]], "permissions": sets, "granted": sets, "limits": limits,
        "config": [[], None, "", 1, True],
        "price": [None, [], {}, {"amount": 1, "currency": "EUR"}, {"amount": 1.5, "currency": "EUR", "per": "event"},
                  {"amount": -1, "currency": "EUR", "per": "event"}, {"amount": 1, "currency": "eur", "per": "event"},
                  {"amount": 1, "currency": "EURO", "per": "event"}, {"amount": 1, "currency": "E1R", "per": "event"},
                  {"amount": 1, "currency": "EUR", "per": "day"}, {"amount": "1", "currency": "EUR", "per": "event"}],
        "schemas": [[], None, {"order.created": 1}, {"order.created": "ab"}, {"": profile}, {"x" * 257: profile}],
        "release": [[], None, "x", 1],
    }
    # Read as a member, and refused as a release.
    in_release = {"permissions", "limits", "schemas", "price", "abi", "state_version"}

    def judged(field, value, nested):
        """A member of the wrong shape is a field; one of the right shape that breaks a rule of releases is a release."""
        if not nested:
            return "Field"
        if field == "price" and isinstance(value, dict) and set(value) == {"amount", "currency", "per"}:
            return "Release" if value["currency"] in ("eur", "E1R") else "Field"
        if field == "permissions" and value in ([""], ["a b"], ["größe"], ["x" * 129], ["a\n"]):
            return "Release"
        if field == "limits" and isinstance(value, dict) and all(type(v) is int and v >= 0 for v in value.values()):
            return "Release"
        if field == "schemas" and isinstance(value, dict) and all(v == profile for v in value.values()):
            return "Release"
        if field in ("abi", "state_version") and value == 0 and value is not None:
            return "Release"
        return "Field"

    for kind, payload in payloads.items():
        short = kind.removeprefix("tally.")
        case(short, kind, payload)
        for field in payload:
            case(f"{short} without {field}", kind, {k: v for k, v in payload.items() if k != field}, "Field")
            for value in bad[field]:
                # An empty object is a whole price to nobody, and a configuration to everybody.
                case(f"{short}, {field} = {json.dumps(value)[:40]}", kind, {**payload, field: value}, "Field")
        case(f"{short}, a field more", kind, {**payload, "note": "x"}, "UnknownField")
        case(f"{short}, a blank", kind, canonical(payload).replace(b":", b": ", 1), "Json")
        case(f"{short}, a field twice", kind, canonical(payload)[:-1] + b"," + canonical(payload)[1:], "Json")
        case(f"{short}, not an object", kind, [payload], "Field")
        case(f"{short}, nothing", kind, b"", "Json")
        for other, shape in payloads.items():
            if shape.keys() != payload.keys():
                case(f"{short} called {other}", other, payload, "UnknownField" if shape.keys() < payload.keys() else "Field")
    event = payloads["tally.plugin.submitted"]
    nested = lambda release: {**event, "release": release}
    for field in RELEASE:
        case(f"release without {field}", "tally.plugin.submitted", nested({k: v for k, v in RELEASE.items() if k != field}), "Field")
        for value in bad[field]:
            case(f"release, {field} = {json.dumps(value)[:40]}", "tally.plugin.submitted", nested({**RELEASE, field: value}),
                 judged(field, value, field in in_release))
    case("release, a field more", "tally.plugin.submitted", nested({**RELEASE, "note": "x"}), "UnknownField")
    case("price, a field more", "tally.plugin.submitted", nested({**RELEASE, "price": {**RELEASE["price"], "note": "x"}}), "UnknownField")
    for name, release in changed_releases():
        case(f"submitted: {name}", "tally.plugin.submitted", nested(release))
    many = lambda n: [f"p{at:02}" for at in range(n)]
    case("64 permissions", "tally.plugin.submitted", nested({**RELEASE, "permissions": many(64)}))
    case("65 permissions", "tally.plugin.submitted", nested({**RELEASE, "permissions": many(65)}), "Release")
    case("65 limits", "tally.plugin.submitted", nested({**RELEASE, "limits": {name: 1 for name in many(65)}}), "Release")
    case("257 schemas", "tally.plugin.submitted", nested({**RELEASE, "schemas": {f"t{at:03}": profile for at in range(257)}}), "Release")
    case("65 granted", "tally.plugin.installed", {**binding, "granted": many(65)}, "Field")
    for per in PER:
        case(f"price per {per}", "tally.plugin.submitted", nested({**RELEASE, "price": {**RELEASE["price"], "per": per}}))
    for decision in DECISIONS:
        case(f"decision {decision}", "tally.plugin.reviewed", reviewed(decision=decision))
    deep = {}
    for _ in range(62):
        deep = {"a": deep}
    case("configuration as deep as a payload may be", "tally.plugin.installed", {**binding, "config": deep})
    case("configuration one level deeper", "tally.plugin.installed", {**binding, "config": {"a": deep}}, "Json")
    room = 65536 - len(canonical({"a": ""}))
    case("configuration of 64 KiB", "tally.plugin.configured", {**payloads["tally.plugin.configured"], "config": {"a": "x" * room}})
    case("configuration of one byte more", "tally.plugin.configured", {**payloads["tally.plugin.configured"], "config": {"a": "x" * (room + 1)}}, "Field")
    for kind in ("", "tally.plugin.", "tally.plugin.deleted", "plugin.installed", "tally.plugin.Installed", "tally.tenant.created"):
        case(f"type {kind!r}", kind, binding, "UnknownType")
    return cases


def plugins():
    key = {agent: ed25519.public_key(seed).hex() for agent, seed in SEEDS.items()}
    base = reviewed()
    report = sha(b"another report").hex()

    def review_cases():
        for name, change in (
            ("review", {}), ("previous", {"previous": report}), ("release", {"release_hash": report}), ("decision", {"decision": "rejected"}),
            ("override", {"override": True}), ("report", {"report_hash": report}), ("blocking", {"blocking": 1}), ("reason", {"reason": "read"}),
            ("key id", {"reviewer_key_id": 2}), ("reviewer", {"reviewer_id": PUBLISHER}), ("time", {"signed_at": TIME}),
        ):
            p = {**base, **change}
            yield {"name": name, "payload": canonical(p).decode(), "hash": review_hash(p).hex(), "public_key": key[REVIEWER], "holds": name == "review"}

    def attestations():
        good = {"release": release_hash(RELEASE), "agent": PUBLISHER, "key_id": 1, "at": TIME}
        signature = ed25519.sign(SEEDS[PUBLISHER], attestation(*good.values())).hex()
        for name, change in (("attestation", {}), ("release", {"release": bytes(32)}), ("agent", {"agent": REVIEWER}), ("key id", {"key_id": 2}),
                             ("time", {"at": LATER})):
            c = {**good, **change}
            yield {"name": name, "release": c["release"].hex(), "agent_id": c["agent"], "key_id": c["key_id"], "signed_at": c["at"],
                   "hash": attestation(*c.values()).hex(), "public_key": key[PUBLISHER], "signature": signature, "holds": name == "attestation",
                   "mac": hmac.new(b"a shared secret", attestation(*c.values()), hashlib.sha256).hexdigest()}

    def manifests():
        text_of = lambda m: canonical(m).decode()
        yield {"name": "manifest", "manifest": text_of(MANIFEST), "verdict": "ok"}
        yield {"name": "one byte changed", "manifest": text_of({**MANIFEST, "prefixes": ["p/"]}), "verdict": "ManifestHash"}
        yield {"name": "a blank", "manifest": text_of(MANIFEST).replace(":", ": ", 1), "verdict": "ManifestHash"}
        yield {"name": "nothing", "manifest": "", "verdict": "ManifestHash"}
        # Hashed rightly, and saying something else than the release.
        for name, change in (("id", {"id": "checkin"}), ("version", {"version": "1.2.4"}), ("abi", {"abi": 2}), ("state_version", {"state_version": 2}),
                             ("a capability more", {"capabilities": ["effect:payment", "emit:order.paid", "kv"]}), ("a capability fewer", {"capabilities": ["kv"]}),
                             ("capabilities in another order", {"capabilities": ["kv", "emit:order.paid"]}), ("capabilities no list", {"capabilities": "kv"}),
                             ("a limit", {"limits": {"gas": 2_000_001, "memory_bytes": 16 << 20}}), ("a limit fewer", {"limits": {"gas": 2_000_000}})):
            yield {"name": name, "manifest": text_of({**MANIFEST, **change}), "verdict": "Manifest", "rehashed": True}
        for field in ("id", "version", "abi", "state_version", "capabilities", "limits"):
            yield {"name": f"without {field}", "manifest": text_of({k: v for k, v in MANIFEST.items() if k != field}), "verdict": "Manifest", "rehashed": True}
        yield {"name": "not canonical", "manifest": text_of(MANIFEST).replace(":", ": ", 1), "verdict": "ManifestHash", "rehashed": True}

    def macs():
        # RFC 4231, test cases 1, 2, 3, 6 and 7.
        for secret, message, mac in (
            (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First", "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
            (b"\xaa" * 131, b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed"
             b" before being used by the HMAC algorithm.", "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
        ):
            assert hmac.new(secret, message, hashlib.sha256).hexdigest() == mac
            yield {"key": secret.hex(), "message": message.hex(), "mac": mac}

    def lives():
        start = life_start(LEDGER, TENANT, STORE, "checkout")
        for name, args in (("store", (LEDGER, TENANT, STORE, "checkout")), ("registry", (LEDGER, TENANT, NIL, "checkout")),
                           ("the ledger's registry", (LEDGER, NIL, NIL, "checkout")), ("another ledger", (bytes(32), TENANT, STORE, "checkout")),
                           ("another plugin", (LEDGER, TENANT, STORE, "check"))):
            yield {"name": name, "ledger": args[0].hex(), "tenant_id": args[1], "store_id": args[2], "plugin_id": args[3], "head": life_start(*args).hex()}
        for name, args in (("next", (start, "tally.plugin.removed", b"{}")), ("another type", (start, "tally.plugin.remove", b"d{}")),
                           ("another payload", (start, "tally.plugin.removed", b"[]")), ("another head", (bytes(32), "tally.plugin.removed", b"{}"))):
            yield {"name": name, "previous": args[0].hex(), "event_type": args[1], "payload": args[2].decode(), "head": life_next(*args).hex()}

    return {
        "releases": [{"name": name, "release": canonical(r).decode(), "hash": release_hash(r).hex()} for name, r in changed_releases()],
        "attestations": list(attestations()), "reviews": list(review_cases()), "manifests": list(manifests()), "macs": list(macs()),
        "lives": list(lives()), "events": events(),
    }
