"""Payload hashes, signing hashes, leaves, nodes, streams, state roots, receipts."""

import ed25519
from common import (
    CHAIN, PAPER, PAYLOAD, SEED, aad, leaf, plain_hash, preimage, published, receipt, sha, state_root, stream_id,
    with_field,
)


def event_cases():
    yield "yellow paper", PAPER
    yield "chain", CHAIN
    for field in ("tenant_id", "store_id", "event_id", "agent_id"):
        yield f"chain, {field} changed", with_field(CHAIN, **{field: "00000000-0000-0000-0000-000000000003"})
    yield "chain, tenant and store swapped", with_field(
        CHAIN, tenant_id=CHAIN["store_id"], store_id=CHAIN["tenant_id"])
    yield "chain, event and agent swapped", with_field(CHAIN, event_id=CHAIN["agent_id"], agent_id=CHAIN["event_id"])
    yield "chain, key_id changed", with_field(CHAIN, key_id=2)
    yield "chain, key_id at its end", with_field(CHAIN, key_id=0xFFFF_FFFF)
    for field in ("entity_type", "entity_id", "event_type"):
        yield f"chain, {field} longer by a blank", with_field(CHAIN, **{field: CHAIN[field] + " "})
    yield "chain, a letter moved from entity_type to entity_id", with_field(
        CHAIN, entity_type="InventoryIte", entity_id="mWIDGET-001")
    yield "chain, a letter moved from entity_id to event_type", with_field(
        CHAIN, entity_id="WIDGET-00", event_type="1Adjusted")
    yield "chain, created_at another spelling of the same time", with_field(CHAIN, created_at="2025-01-01T00:00:00.0Z")
    yield "chain, created_at in lower case", with_field(CHAIN, created_at="2025-01-01t00:00:00z")
    yield "chain, strings not ASCII", with_field(CHAIN, entity_type="Größe", entity_id="\U0001f600", event_type="é")
    yield "chain, decomposed é is another string", with_field(
        CHAIN, entity_type="Größe", entity_id="\U0001f600", event_type="e\u0301")
    yield "chain, payload_kind changed", with_field(CHAIN, payload_kind=1)
    yield "chain, plain hash changed", with_field(CHAIN, payload_plain_hash="00" * 32)
    yield "chain, cipher hash changed", with_field(CHAIN, payload_cipher_hash="01" + "00" * 31)


def ves():
    signing = sha(preimage(CHAIN))
    signature = ed25519.sign(SEED, signing)
    published(sha(preimage(PAPER)), "e970dfc9ffc285c2c0ba59be5d9c653eee2d1ae4db9b7a02ea3cd62b8e7cf92b")
    assert len(preimage(PAPER)) == 220
    published(plain_hash(PAYLOAD), "815ab060b3f26dacf429ce062f8befb81f52938e692010255f86d12c3e4c2cda")
    published(signing, "4dd87d2bff38574cdc3e61e9aea0cbc4109eaf2962f3894f3d82431082343ff6")
    published(signature, "a0478a20df91042a3a3cf4388553875e6ef488aaae9726cffb9968e352cbd121"
              "4fd6b13d77b19fd29b4584743984aa96a90183a41f89e09ddfbfbcc837f9b00a")
    out = {"payload_plain": [], "payload_plain_salted": [], "events": [], "leaves": [], "nodes": [], "streams": [],
           "state_roots": [], "receipts": [], "proofs_of_possession": []}
    for payload in (PAYLOAD, b'{"delta":100}', b"{}", b"[]", b"null", b'""', "\"\u20ac\"".encode()):
        out["payload_plain"].append({"payload": payload.decode(), "hash": plain_hash(payload).hex()})
    published(plain_hash(b'{"delta":100}'), "9ac51a331894a0b6d3c0563f28384afd86115d5c9379370989044dfab89f3e5a")
    for salt, payload in ((bytes(range(1, 17)), PAYLOAD), (bytes(16), PAYLOAD), (bytes(range(1, 17)), b"{}")):
        out["payload_plain_salted"].append(
            {"salt": salt.hex(), "payload": payload.decode(), "hash": plain_hash(salt + payload).hex()})
    published(plain_hash(bytes(range(1, 17)) + PAYLOAD), "d9faf01d51a58f57acafb13ef03a055a9753350868c856795d4eb83ef42a32b7")
    for name, event in event_cases():
        data = preimage(event)
        hashed = sha(data)
        out["events"].append({
            "name": name, "fields": event, "preimage_bytes": len(data), "signing_hash": hashed.hex(),
            "signature": ed25519.sign(SEED, hashed).hex(), "payload_aad": aad(event).hex()})
    tenant, store = CHAIN["tenant_id"], CHAIN["store_id"]

    def add_leaf(name, tenant, store, sequence, signing, signature):
        value = leaf(tenant, store, sequence, signing, signature)
        out["leaves"].append({
            "name": name, "tenant_id": tenant, "store_id": store, "sequence": sequence, "signing_hash": signing.hex(),
            "signature": signature.hex(), "leaf": value.hex()})
        return value

    first = add_leaf("chain", tenant, store, 1, signing, signature)
    published(first, "c052fa751455e5b36e85c2cae15b143bcce91f9db9c2c30aaf7397fddef8d53b")
    other = "00000000-0000-0000-0000-000000000003"
    add_leaf("tenant changed", other, store, 1, signing, signature)
    add_leaf("store changed", tenant, other, 1, signing, signature)
    add_leaf("tenant and store swapped", store, tenant, 1, signing, signature)
    add_leaf("sequence changed", tenant, store, 2, signing, signature)
    add_leaf("sequence at 2^53 + 1", tenant, store, 2**53 + 1, signing, signature)
    add_leaf("signing hash changed", tenant, store, 1, bytes(32), signature)
    add_leaf("signature changed", tenant, store, 1, signing, signature[:-1] + bytes([signature[-1] ^ 1]))
    pad = sha(b"VES_PAD_LEAF_V1")
    out["pad"] = published(pad, "d9dd0e003ba5370a698013c48ed69c6c41d9ebc1236d44b280c52ceacfdad524")
    for left, right in ((first, pad), (pad, first), (first, first), (pad, pad)):
        out["nodes"].append({"left": left.hex(), "right": right.hex(), "node": sha(b"VES_NODE_V1", left, right).hex()})
    published(sha(b"VES_NODE_V1", first, pad), "87e6b04682c41da36b3cb20bf50031d6b1ea354f30144edd5ce6e82bd4476196")
    for one, two in ((PAPER["tenant_id"], PAPER["store_id"]), (tenant, store), (store, tenant)):
        out["streams"].append({"tenant_id": one, "store_id": two, "stream": stream_id(one, two).hex()})
    paper_stream = stream_id(PAPER["tenant_id"], PAPER["store_id"])
    published(paper_stream, "4d40d17f96bcd030441655dd9aba4656ffdfe3d5d873182568f57ed813dfcfa6")
    published(stream_id(tenant, store), "133fe000dfe2d1f88289fca65ac126b4b3144b00bab915e29aecccbbb5528a4d")
    paper_root = bytes.fromhex("abcdef0123456789" * 4)

    def add_root(name, *args):
        value = state_root(*args)
        stream, previous, root, start, end, count = args
        out["state_roots"].append({
            "name": name, "stream": stream.hex(), "previous": previous.hex(), "root": root.hex(), "first": start,
            "last": end, "count": count, "state_root": value.hex()})
        return value.hex()

    zero = bytes(32)
    assert add_root("yellow paper, continued", paper_stream, zero, paper_root, 1, 10, 10) == \
        "fc4837409dddd72697d00548300ce8d9ab2e130b5743c73d8342a3aff45adee3"
    assert add_root("chain", stream_id(tenant, store), zero, first, 1, 1, 1) == \
        "162b688879b3d2d4324bd43f14b0a705139eb3918e0e98291cf9ee2642e6a848"
    add_root("another stream", paper_stream, zero, first, 1, 1, 1)
    add_root("another past", stream_id(tenant, store), first, first, 1, 1, 1)
    add_root("another tree", stream_id(tenant, store), zero, pad, 1, 1, 1)
    add_root("starts at 0, as the VES documents say and the code does not", stream_id(tenant, store), zero, first, 0, 1, 1)
    add_root("another end", stream_id(tenant, store), zero, first, 1, 2, 1)
    add_root("another count", stream_id(tenant, store), zero, first, 1, 1, 2)

    def add_receipt(name, tenant, store, event, sequence, signing):
        value = receipt(tenant, store, event, sequence, signing)
        out["receipts"].append({
            "name": name, "tenant_id": tenant, "store_id": store, "event_id": event, "sequence": sequence,
            "signing_hash": signing.hex(), "receipt_hash": value.hex()})
        return value.hex()

    paper_signing = sha(preimage(PAPER))
    paper = (PAPER["tenant_id"], PAPER["store_id"], PAPER["event_id"])
    assert add_receipt("yellow paper, continued", *paper, 42, paper_signing) == \
        "16c2e63e213cd29b87452f9e302798c044355c4a9ae917595e80539318940c56"
    assert add_receipt("chain", tenant, store, CHAIN["event_id"], 1, signing) == \
        "17d005448b9588871be3beecbb5b6858ffe6fa63d6aa7675d0acb02e15bd2ca1"
    add_receipt("another tenant", other, store, CHAIN["event_id"], 1, signing)
    add_receipt("another store", tenant, other, CHAIN["event_id"], 1, signing)
    add_receipt("another event", tenant, store, other, 1, signing)
    add_receipt("another sequence", tenant, store, CHAIN["event_id"], 2, signing)
    add_receipt("another signing hash", tenant, store, CHAIN["event_id"], 1, paper_signing)
    for key in (ed25519.public_key(SEED), bytes(32), b""):
        out["proofs_of_possession"].append({"key": key.hex(), "hash": sha(b"VES_POP_V1", key).hex()})
    return out
