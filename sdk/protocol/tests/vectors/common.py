"""What the vectors' chapters share: encodings, the VES formulas, the two sample events, frames."""

import hashlib
import struct

import ed25519

SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")  # RFC 8032 test 1


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def u32(n):
    return struct.pack(">I", n)


def u64(n):
    return struct.pack(">Q", n)


def uuid(text):
    return bytes.fromhex(text.replace("-", ""))


def text(value):
    data = value.encode() if isinstance(value, str) else value
    return u32(len(data)) + data


def preimage(e):
    return b"".join([
        b"VES_EVENTSIG_V1", u32(e.get("version", 1)), uuid(e["tenant_id"]), uuid(e["store_id"]), uuid(e["event_id"]),
        uuid(e["agent_id"]), u32(e["key_id"]), text(e["entity_type"]), text(e["entity_id"]), text(e["event_type"]),
        text(e["created_at"]), u32(e["payload_kind"]), bytes.fromhex(e["payload_plain_hash"]),
        bytes.fromhex(e["payload_cipher_hash"]),
    ])


def aad(e):
    return sha(b"VES_PAYLOAD_AAD_V1", preimage(e)[19:-68], bytes.fromhex(e["payload_plain_hash"]))


def plain_hash(payload):
    return sha(b"VES_PAYLOAD_PLAIN_V1", payload)


def leaf(tenant, store, sequence, signing, signature):
    return sha(b"VES_LEAF_V1", uuid(tenant), uuid(store), u64(sequence), signing, signature)


def stream_id(tenant, store):
    return sha(b"VES_STREAM_V1", uuid(tenant), uuid(store))


def state_root(stream, previous, root, first, last, count):
    return sha(b"VES_STATE_ROOT_V1", stream, previous, root, u64(first), u64(last), u32(count))


def receipt(tenant, store, event, sequence, signing):
    return sha(b"VES_RECEIPT_V1", uuid(tenant), uuid(store), uuid(event), u64(sequence), signing)


def published(value, expected):
    assert value.hex() == expected, (value.hex(), expected)
    return expected


PAPER = {
    "tenant_id": "64527dd3-a654-4410-9327-e58a1492ce77", "store_id": "91def158-819a-4461-b5c9-7759750ad157",
    "event_id": "861910c9-7a1d-4b6f-83d6-51bbf4ae2849", "agent_id": "80441726-74e2-430a-95ae-97ce21c6351b",
    "key_id": 1, "entity_type": "order", "entity_id": "ORD-001", "event_type": "order.created",
    "created_at": "2025-12-20T17:51:10.243Z", "payload_kind": 0,
    "payload_plain_hash": "7777c3fef466a0e9df7e07ea4ff13dc8ffbb9e487098f1b65530cdce7b6bbbe7",
    "payload_cipher_hash": "00" * 32,
}
PAYLOAD = b'{"delta":100,"reason":"test"}'
CHAIN = {
    "tenant_id": "00000000-0000-0000-0000-000000000001", "store_id": "00000000-0000-0000-0000-000000000002",
    "event_id": "11111111-1111-1111-1111-111111111111", "agent_id": "22222222-2222-2222-2222-222222222222",
    "key_id": 1, "entity_type": "InventoryItem", "entity_id": "WIDGET-001", "event_type": "Adjusted",
    "created_at": "2025-01-01T00:00:00Z", "payload_kind": 0, "payload_plain_hash": plain_hash(PAYLOAD).hex(),
    "payload_cipher_hash": "00" * 32,
}


def with_field(e, **fields):
    return {**e, **fields}


def frame(e, payload, signature, length=None, payload_length=None, tail=b""):
    body = preimage(e) + u32(len(payload) if payload_length is None else payload_length) + payload + signature + tail
    return u32(len(body) if length is None else length) + body


def signed(e, payload, **options):
    e = with_field(e, payload_plain_hash=e.get("plain", plain_hash(payload).hex()))
    return frame(e, payload, ed25519.sign(SEED, sha(preimage(e))), **options)
