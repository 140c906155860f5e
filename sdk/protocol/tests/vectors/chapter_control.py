"""Payloads of control events."""

import json

import ed25519
from common import SEED
from jcs import canonical


def control():
    cases = []
    key, agent = ed25519.public_key(SEED).hex(), "2222aaaa-2222-4222-8222-22222222bbbb"
    time, later = "2025-01-01T00:00:00.000000Z", "2026-01-01T00:00:00.000000Z"
    events = {
        "tally.tenant.created": {"tenant_id": "00000000-0000-0000-0000-000000000001", "root_agent_id": agent,
                                 "root_public_key": key, "operator_managed": True},
        "tally.agent_key.registered": {"agent_id": agent, "key_id": 2, "public_key": key, "valid_from": time, "valid_to": later},
        "tally.agent_key.rotated": {"agent_id": agent, "key_id": 3, "public_key": key, "previous_valid_to": time, "valid_to": later},
        "tally.agent_key.expired": {"agent_id": agent, "key_id": 1, "valid_to": time},
        "tally.agent_key.revoked": {"agent_id": agent, "key_id": 1, "reason": "lost laptop"},
        "tally.entity_types.set": {"store_id": agent, "entity_types": ["order", "parcel"]},
        "tally.entity_types.lifted": {"store_id": agent},
    }
    optional = {"tally.agent_key.registered valid_from", "tally.agent_key.registered valid_to", "tally.agent_key.rotated valid_to"}

    def case(name, kind, payload, decode="ok"):
        data = payload if isinstance(payload, bytes) else canonical(payload)
        cases.append({"name": name, "event_type": kind, "payload": data.decode(), "decode": decode})

    bad = {
        "id": [agent.upper(), agent.replace("-", ""), "", 7, None, "00000000-0000-0000-0000-000000000000", "{" + agent + "}"],
        "key_id": [0, -1, 1.5, 2**32, "1", None],
        "key": [key.upper() if key.upper() != key else "", key[:-2], "0x" + key, "", None, 1],
        "time": ["2025-01-01T00:00:00Z", "2025-01-01T00:00:00.000000+00:00", "2025-01-01t00:00:00.000000z", "", None, 1,
                 "2025-02-30T00:00:00.000000Z", "1969-12-31T23:59:59.999999Z"],
        "bool": [0, 1, "true", None],
        "types": [["parcel", "order"], ["order", "order"], [""], ["x" * 129], [1], [["order"]], "order", {}, None,
                  ["\U00010000", "\uffff"], [f"{n:04}" for n in range(1025)]],
        "reason": ["", "x" * 513, None, 1, ["x"]],
    }
    sort = {"tenant_id": "id", "root_agent_id": "id", "agent_id": "id", "root_public_key": "key", "public_key": "key",
            "store_id": "id", "entity_types": "types", "key_id": "key_id", "operator_managed": "bool", "reason": "reason", "valid_from": "time", "valid_to": "time",
            "previous_valid_to": "time"}
    for kind, payload in events.items():
        short = kind.removeprefix("tally.")
        case(f"{short}", kind, payload)
        for field in payload:
            rest = {k: v for k, v in payload.items() if k != field}
            is_optional = f"{kind} {field}" in optional
            case(f"{short} without {field}", kind, rest, "ok" if is_optional else "Field")
            for value in bad[sort[field]]:
                case(f"{short}, {field} = {json.dumps(value)[:40]}", kind, {**payload, field: value}, "Field")
        case(f"{short}, a field more", kind, {**payload, "note": "x"}, "UnknownField")
        case(f"{short}, a blank", kind, canonical(payload).replace(b":", b": ", 1), "Json")
        case(f"{short}, a field twice", kind, canonical(payload)[:-1] + b"," + canonical(payload)[1:], "Json")
        case(f"{short}, not an object", kind, [payload], "Field")
        case(f"{short}, nothing", kind, b"", "Json")
        for other in events:
            if other != kind:
                required = {field for field in events[other] if f"{other} {field}" not in optional}
                case(f"{short} called {other}", other, payload, "UnknownField" if required <= payload.keys() else "Field")
        for field in ("public_key", "root_public_key"):
            if field in payload:
                case(f"{short}, {field} of small order", kind, {**payload, field: "01" + "00" * 31}, "Key")
                case(f"{short}, {field} no point", kind, {**payload, field: "ff" * 32}, "Key")
    registered = events["tally.agent_key.registered"]
    case("valid for no time", "tally.agent_key.registered", {**registered, "valid_to": time}, "Validity")
    case("valid until before it begins", "tally.agent_key.registered", {**registered, "valid_from": later, "valid_to": time}, "Validity")
    case("reason of 512 bytes", "tally.agent_key.revoked", {**events["tally.agent_key.revoked"], "reason": "x" * 512})
    for name, types in {"no type": [], "a type of 128 bytes": ["x" * 128], "1024 types": [f"{n:04}" for n in range(1024)],
                        "the order of bytes": ["\uffff", "\U00010000"], "any text": [" ", "*", "entity:order", "tally.agent", "z", "\u00e9"]}.items():
        case(f"entity_types.set, {name}", "tally.entity_types.set", {"store_id": agent, "entity_types": types})
    for kind in ("", "tally.", "tally.tenant.deleted", "TALLY.TENANT.CREATED", "tally.tenant.created ", "order.created"):
        case(f"type {kind!r}", kind, events["tally.tenant.created"], "UnknownType")
    return cases
