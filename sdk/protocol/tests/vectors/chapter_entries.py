"""Entries of the log, genesis among them."""

import ed25519
from common import CHAIN, SEED, preimage, sha, text, u64, uuid


def entries():
    cases = []

    def case(name, data, decode="ok"):
        cases.append({"name": name, "entry": data.hex(), "decode": decode,
                      **({"leaf_hash": sha(b"\0", data).hex()} if decode == "ok" else {})})

    signing = sha(preimage(CHAIN))
    signature, key = ed25519.sign(SEED, signing), ed25519.public_key(SEED)
    at = 1_735_689_600_123_456

    def event(tenant=CHAIN["tenant_id"], store=CHAIN["store_id"], sequence=1, signing=signing, signature=signature,
              key=key, at=at, tag=b"TALLY_ENTRY_V1", kind=1):
        return b"".join([tag, bytes([kind]), uuid(tenant), uuid(store), u64(sequence), signing, signature, key, u64(at)])

    def genesis(origin="tally.example/log", profile="tally/1", at=at, nonce=bytes(range(16)), checkpoint=None, receipt=None,
                agent="33333333-3333-3333-3333-333333333333", root=None, tag=b"TALLY_ENTRY_V1", kind=0):
        keys = [ed25519.public_key(bytes([n]) * 32) for n in (1, 2, 3)]
        return b"".join([tag, bytes([kind]), text(origin), text(profile), u64(at), nonce, checkpoint or keys[0],
                         receipt or keys[1], uuid(agent), root or keys[2]])

    nil = "00000000-0000-0000-0000-000000000000"
    assert len(event()) == 191
    case("event", event())
    case("event, tenant changed", event(tenant=nil))
    case("event, store changed", event(store=nil))
    case("event, tenant and store swapped", event(tenant=CHAIN["store_id"], store=CHAIN["tenant_id"]))
    case("event, sequence changed", event(sequence=2))
    case("event, sequence at its end", event(sequence=2**64 - 1))
    case("event, signing hash changed", event(signing=bytes(32)))
    case("event, signature changed", event(signature=bytes(64)))
    case("event, key changed", event(key=bytes(32)))
    case("event, time changed", event(at=at + 1))
    case("event, sequence zero", event(sequence=0), "SequenceZero")
    case("event, one byte short", event()[:-1], "Truncated")
    case("event, one byte more", event() + b"\0", "Surplus")
    case("event, another tag", event(tag=b"TALLY_ENTRY_V2"), "Tag")
    case("event, kind 2", event(kind=2), "Kind")
    case("event, kind 255", event(kind=255), "Kind")
    # The stream's first byte is the origin's length now.
    case("event called genesis", event(kind=0), "Origin")
    case("nothing", b"", "Truncated")
    case("a tag alone", b"TALLY_ENTRY_V1", "Truncated")
    case("genesis", genesis())
    case("genesis, origin changed", genesis(origin="tally.example/log2"))
    case("genesis, a letter moved from origin to profile", genesis(origin="tally.example/lo", profile="gtally/1"))
    case("genesis, profile changed", genesis(profile="tally/2"))
    case("genesis, time changed", genesis(at=at + 1))
    case("genesis, nonce changed", genesis(nonce=bytes(16)))
    case("genesis, keys changed", genesis(checkpoint=key))
    case("genesis, origin of 255 bytes", genesis(origin="x" * 255))
    case("genesis, origin not ASCII", genesis(origin="größe.example"))
    case("genesis, origin of 256 bytes", genesis(origin="x" * 256), "Origin")
    for name, origin in (("empty", ""), ("with a blank", "a b"), ("with a plus", "a+b"), ("with a line end", "a\n"),
                         ("with U+0000", "a\0"), ("with U+00A0", "a\u00a0b"), ("with U+0085", "a\u0085")):
        case(f"genesis, origin {name}", genesis(origin=origin), "Origin")
    case("genesis, origin not UTF-8", genesis(origin=b"\xff"), "Origin")
    case("genesis, profile empty", genesis(profile=""), "Profile")
    case("genesis, profile of 65 bytes", genesis(profile="x" * 65), "Profile")
    case("genesis, profile with a blank", genesis(profile="tally 1"), "Profile")
    case("genesis, profile not ASCII", genesis(profile="tällÿ"), "Profile")
    case("genesis, last time of 9999", genesis(at=253_402_300_799_999_999))
    case("genesis, after 9999", genesis(at=253_402_300_800_000_000), "Time")
    case("genesis, nil root agent", genesis(agent=nil), "RootAgent")
    for field in ("checkpoint", "receipt", "root"):
        case(f"genesis, {field} key of small order", genesis(**{field: b"\x01" + bytes(31)}), "Key")
        case(f"genesis, {field} key no point", genesis(**{field: b"\xff" * 32}), "Key")
    case("genesis, one byte short", genesis()[:-1], "Truncated")
    case("genesis, one byte more", genesis() + b"\0", "Surplus")
    case("genesis called event", genesis(kind=1), "Surplus" if len(genesis()) > 191 else "Truncated")
    case("genesis, origin length at the end of its type", genesis()[:15] + b"\xff" * 4 + genesis()[19:], "Origin")
    return cases
