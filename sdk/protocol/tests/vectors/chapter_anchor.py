"""What is written on EVM chains: identities of logs, an authority's statement, calls, events, signed transactions.

`CAST` holds what foundry's `cast` 1.7.1 gave for the same values, with its command; it is asserted here.
"""

from common import sha
from secp256k1 import N, P, address, b32, keccak, recover, sign

GAS_KEY = 0xAC0974BEC39A17E36BA4A6B4D238FF944BACB478CBED5EFCAE784D7BF4F2FF80  # anvil's first account
AUTHORITY_KEY = 0x59C6995E998F97A5A0044966F0945389DC9E86DAE88C7A8412F4603B6B78690D  # and its second
LEDGER = bytes([9]) * 32
CHAIN = 84532001
CONTRACT = bytes.fromhex("5fbdb2315678afecb367f032d93f642f64180aa3")
TUPLE = "(bytes32,uint64,bytes32,bytes32,uint32,bytes32[],bytes32,bytes32)"
FUNCTIONS = {
    "anchor": f"anchor({TUPLE})", "anchorMany": f"anchorMany({TUPLE}[])",
    "verifyInclusion": "verifyInclusion(bytes32,uint64,uint64,bytes32,bytes32,uint64,bytes32[])",
    "Anchored": "Anchored(bytes32,uint64,uint64,bytes32,uint64,bytes32,bytes32,uint32)",
}
CAST = {
    # cast sig "anchor((...))", cast sig "anchorMany((...)[])", cast sig "verifyInclusion(...)", cast sig-event "Anchored(...)"
    "signatures": {"anchor": "b594b793", "anchorMany": "9c7f6ee0", "verifyInclusion": "2ddb5396",
                   "Anchored": "a8ed00b76e39a327c36639b61be7cd8bcad9246824d5b893d1a2b1fcbb199567"},
    # cast keccak $(cast abi-encode "f(bytes32,uint256,address,bytes32,uint64,bytes32,bytes32,uint32)"
    #   $(cast keccak TALLY_ANCHOR_V1) 84532001 0x5FbD... <log> 4 0x0101... 0x0202... 3)
    "digest": "bdea8e3736283d92c55489780ff5d3b410f99bd8568dd608afe51caa9137fea9",
    # cast wallet sign --no-hash --private-key 0x59c6... <digest>
    "signature": "e41a70a0fd2b86bbbc48e1defd4eb2e5c5ec5416d3260890505293064ee1540a"
                 "2e7f3dd570984b14173d1e1462bf0f4a5c40393370a9438295039e30b6ddf63e1c",
    # cast keccak $(cast calldata "anchorMany((...)[])" "[(events),(outcomes)]")
    "many": "c74e3b676ae0332c412c26cfa7a863a36bb2d614c67c60285950469ff153d570",
    # cast keccak $(cast calldata "verifyInclusion(...)" <log> 2 4 0x0101... 0x0303... 1 "[0x0404...,0x0505...]")
    "query": "d0b9e94760b2ca2fde72c78142decea0ff82b421717c64977f77ec9946ddd1ca",
    # cast mktx --private-key 0xac09... --chain 84532001 --nonce 7 --gas-limit 120000 --gas-price 2000000000
    #   --priority-gas-price 1000000 0x5FbD... 0x1234
    "transaction": "02f870840509db2107830f424084773594008301d4c0945fbdb2315678afecb367f032d93f642f64180aa380821234c080a0"
                   "2d1901bc9c863f12430d9d9c3a18b9b22bb7996d0a895b216256fa1fe86a3682a077e30ba0edb066f3285885bcbd28a8f323"
                   "e8bf1e71faaf8714f8e2213f911ed1",
    # cast keccak $(cast mktx ... <the call for both logs>)
    "transaction_of_many": "9ead66c4c303ff6ab51b1e8448353e60ef29bec5a264c92b8809df1e1db0fc78",
}


def log_id(kind, ledger=LEDGER):
    return sha(b"TALLY_LOG_V1", ledger, kind.encode())


def word(value):
    return b32(value) if isinstance(value, int) else value.rjust(32, b"\0")


def statement(a, chain=CHAIN, contract=CONTRACT):
    head = [keccak(b"TALLY_ANCHOR_V1"), chain, contract, a["log"], a["size"], a["root"], a["note"], a["epoch"]]
    return b"".join(word(part) for part in head)


def anchor(kind="events", size=4, epoch=3, proof=(), signed=None, **other):
    a = {"log": log_id(kind), "size": size, "root": bytes([1]) * 32, "note": bytes([2]) * 32, "epoch": epoch,
         "proof": list(proof), **other}
    r, s, odd = signed or sign(AUTHORITY_KEY, keccak(statement(a)))
    a["r"], a["vs"] = r, s | odd << 255
    return a


def hashes(items):
    return word(len(items)) + b"".join(items)


def tuple_of(a, offset=256):
    head = [a["log"], a["size"], a["root"], a["note"], a["epoch"], offset, a["r"], a["vs"]]
    return b"".join(word(part) for part in head) + hashes(a["proof"])


def selector(name):
    return keccak(FUNCTIONS[name].encode())[:4]


def call_one(a, at=32, **options):
    return selector("anchor") + word(at) + tuple_of(a, **options)


def call_many(anchors, at=32, count=None, shift=0):
    tuples = [tuple_of(a) for a in anchors]
    offsets = [32 * len(tuples) + sum(map(len, tuples[:n])) + shift for n in range(len(tuples))]
    body = b"".join(map(word, offsets)) + b"".join(tuples)
    return selector("anchorMany") + word(at) + word(len(tuples) if count is None else count) + body


def fields(a):
    return {"log_id": a["log"].hex(), "size": a["size"], "root": a["root"].hex(), "note_hash": a["note"].hex(),
            "epoch": a["epoch"], "proof": [node.hex() for node in a["proof"]],
            "authority": "0x" + recover(keccak(statement(a)), a["r"], a["vs"] % 2**255, a["vs"] >> 255).hex()}


def nodes(count, first=16):
    return [bytes([first + n % 200]) * 32 for n in range(count)]


def spoil(data, at, byte):
    return data[:at] + bytes([byte]) + data[at + 1:]


def calls():
    events, outcomes = anchor(proof=nodes(3)), anchor("outcomes", proof=nodes(2, 40))
    one, many = call_one(events), call_many([events, outcomes])
    assert keccak(many).hex() == CAST["many"]
    good = [
        ("one log", one, [events]), ("one log, its first anchor", call_one(anchor()), [anchor()]),
        ("two logs", many, [events, outcomes]), ("one log by the call for several", call_many([events]), [events]),
        ("the longest proof", call_one(anchor(proof=nodes(65))), [anchor(proof=nodes(65))]),
        ("the largest size and epoch", call_one(anchor(size=2**64 - 1, epoch=2**32 - 1)),
         [anchor(size=2**64 - 1, epoch=2**32 - 1)]),
        ("as many logs as there may be", call_many([events] * 16), [events] * 16),
        ("no leaf", call_one(anchor(size=0)), [anchor(size=0)]),
    ]
    for name, data, anchors in good:
        yield {"name": name, "data": data.hex(), "decode": "ok", "anchors": [fields(a) for a in anchors]}
    bad = [
        ("nothing", b"", "Selector"), ("half a selector", one[:3], "Selector"), ("a selector alone", one[:4], "Truncated"),
        ("another function's selector", selector("verifyInclusion") + one[4:], "Selector"),
        ("a bit of the selector", spoil(one, 0, one[0] ^ 1), "Selector"),
        ("the other call's selector", selector("anchorMany") + one[4:], "Number"),
        ("a byte less", one[:-1], "Truncated"), ("a word less", one[:-32], "Truncated"), ("a byte more", one + b"\0", "Surplus"),
        ("a word more", one + bytes(32), "Surplus"), ("an offset one word further", call_one(events, at=64), "Offset"),
        ("an offset back into the selector", call_one(events, at=0), "Offset"),
        ("a proof one word further", call_one(events, offset=288), "Offset"),
        ("a proof inside the head", call_one(events, offset=0), "Offset"),
        ("a proof of 66 hashes", call_one(anchor(proof=nodes(66))), "Count"),
        ("a proof longer than memory", spoil(one, 4 + 32 + 8 * 32 + 24, 0x80), "Count"),
        ("a proof length beyond 64 bits", spoil(one, 4 + 32 + 8 * 32, 1), "Number"),
        ("a size beyond 64 bits", spoil(one, 4 + 32 + 32 + 23, 1), "Number"),
        ("a size with a high bit", spoil(one, 4 + 32 + 32, 0x80), "Number"),
        ("an epoch beyond 32 bits", call_one(anchor(epoch=2**32)), "Number"),
        ("r of zero", call_one(anchor(signed=(0, 1, 0))), "Signature"), ("s of zero", call_one(anchor(signed=(1, 0, 0))), "Signature"),
        ("r of the order", call_one(anchor(signed=(N, 1, 0))), "Signature"), ("the higher s", call_one(anchor(signed=(1, N // 2 + 1, 0))), "Signature"),
        ("no logs", call_many([]), "Count"), ("17 logs", call_many([events] * 17), "Count"),
        ("a log more than there is", call_many([events], count=2), "Number"),
        ("a log less than there is", call_many([events, outcomes], count=1), "Offset"),
        ("the array one word further", call_many([events], at=64), "Offset"),
        ("logs one word further", call_many([events, outcomes], shift=32), "Offset"),
        ("logs that share their bytes", selector("anchorMany") + word(32) + word(2) + word(64) * 2 + tuple_of(events), "Offset"),
        ("logs in the other order", selector("anchorMany") + word(32) + word(2) + word(64 + len(tuple_of(outcomes))) + word(64)
         + tuple_of(outcomes) + tuple_of(events), "Offset"),
        ("several logs and a byte more", many + b"\0", "Surplus"), ("several logs and a byte less", many[:-1], "Truncated"),
    ]
    for name, data, verdict in bad:
        yield {"name": name, "data": data.hex(), "decode": verdict}


def queries():
    path = nodes(2, 4)
    head = lambda seq=2, size=4, index=1, at=224: b"".join(
        word(part) for part in [log_id("events"), seq, size, bytes([1]) * 32, bytes([3]) * 32, index, at])
    ask = lambda path=path, **parts: selector("verifyInclusion") + head(**parts) + hashes(path)
    good = ask()
    assert keccak(good).hex() == CAST["query"]
    for name, data, size, index, path in (
        ("a question", good, 4, 1, path), ("a tree of one leaf", ask([], size=1, index=0), 1, 0, []),
        ("the deepest tree", ask(nodes(64), size=2**64 - 1, index=2**64 - 2), 2**64 - 1, 2**64 - 2, nodes(64)),
    ):
        yield {"name": name, "data": data.hex(), "decode": "ok", "log_id": log_id("events").hex(), "seq": 2, "size": size,
               "root": "01" * 32, "leaf": "03" * 32, "index": index, "path": [node.hex() for node in path]}
    for name, data, verdict in (
        ("nothing", b"", "Selector"), ("another function's selector", selector("anchor") + good[4:], "Selector"),
        ("a byte less", good[:-1], "Truncated"), ("a byte more", good + b"\0", "Surplus"),
        ("65 hashes", ask(nodes(65)), "Count"), ("a path one word further", ask(at=256), "Offset"),
        ("a seq beyond 64 bits", ask(seq=2**64), "Number"), ("an index beyond 64 bits", ask(index=2**64), "Number"),
        ("a size beyond 64 bits", ask(size=2**255), "Number"),
    ):
        yield {"name": name, "data": data.hex(), "decode": verdict}


def events():
    topic = keccak(FUNCTIONS["Anchored"].encode())
    make = lambda size=9, before=4, epoch=3: b"".join(
        word(part) for part in [size, bytes([1]) * 32, before, bytes([6]) * 32, bytes([2]) * 32, epoch])
    topics = [topic, log_id("events"), word(2)]
    line = lambda name, topics, data, verdict, **more: {
        "name": name, "topics": [t.hex() for t in topics], "data": data.hex(), "decode": verdict, **more}
    yield line("a moved head", topics, make(), "ok", log_id=log_id("events").hex(), seq=2, size=9, root="01" * 32,
               prev_size=4, prev_root="06" * 32, note_hash="02" * 32, epoch=3)
    for name, broken, data, verdict in (
        ("another event", [keccak(b"Anchored()"), *topics[1:]], make(), "Selector"), ("no topic", [], make(), "Selector"),
        ("a topic less", topics[:2], make(), "Selector"), ("a topic more", [*topics, topic], make(), "Selector"),
        ("a seq beyond 64 bits", [topic, log_id("events"), word(2**64)], make(), "Number"),
        ("a size beyond 64 bits", topics, make(size=2**64), "Number"), ("an epoch beyond 32 bits", topics, make(epoch=2**32), "Number"),
        ("a former size beyond 64 bits", topics, make(before=2**200), "Number"),
        ("a byte less", topics, make()[:-1], "Truncated"), ("a word more", topics, make() + bytes(32), "Surplus"),
    ):
        yield line(name, broken, data, verdict)


def number(n):
    return n.to_bytes((n.bit_length() + 7) // 8, "big")


def rlp(item):
    if isinstance(item, list):
        body = b"".join(map(rlp, item))
        return rlp_head(0xC0, body) + body
    data = number(item) if isinstance(item, int) else item
    return data if len(data) == 1 and data[0] < 0x80 else rlp_head(0x80, data) + data


def rlp_head(kind, body):
    size = number(len(body))
    return bytes([kind + len(body)]) if len(body) <= 55 else bytes([kind + 55 + len(size)]) + size


def unsigned(data, **other):
    parts = {"chain": CHAIN, "nonce": 7, "tip": 10**6, "cap": 2 * 10**9, "gas": 120_000, "to": CONTRACT, "value": 0,
             "data": data, "access": [], **other}
    return list(parts.values())


def raw(parts, signed=None, kind=b"\2"):
    r, s, odd = signed or sign(GAS_KEY, keccak(b"\2" + rlp(parts)))
    return kind + rlp([*parts, odd, r, s])


def transactions():
    many = call_many([anchor(proof=nodes(3)), anchor("outcomes", proof=nodes(2, 40))])
    short, long = unsigned(b"\x12\x34"), unsigned(many)
    assert raw(short).hex() == CAST["transaction"]
    assert keccak(raw(long)).hex() == CAST["transaction_of_many"]
    for name, parts in (
        ("a short call", short), ("a call for both logs", long), ("no call data", unsigned(b"")), ("one byte below 0x80", unsigned(b"\x7f")),
        ("one byte from 0x80", unsigned(b"\x80")), ("55 bytes", unsigned(bytes(55))), ("56 bytes", unsigned(bytes(56))),
        ("the first of its sender", unsigned(b"", nonce=0)), ("on the main chain, for nothing", unsigned(b"", chain=1, tip=0, cap=0, gas=0)),
        ("the largest numbers", unsigned(b"", chain=2**64 - 1, nonce=2**64 - 1, tip=2**128 - 1, cap=2**128 - 1, gas=2**64 - 1,
                                         value=2**128 - 1)),
    ):
        chain, nonce, tip, cap, gas, to, value, data, _ = parts
        yield {"name": name, "raw": raw(parts).hex(), "decode": "ok", "hash": "0x" + keccak(raw(parts)).hex(),
               "digest": "0x" + keccak(b"\2" + rlp(parts)).hex(), "sender": "0x" + address(GAS_KEY).hex(), "chain_id": chain,
               "nonce": nonce, "tip": str(tip), "cap": str(cap), "gas": gas, "to": "0x" + to.hex(), "value": str(value),
               "data": data.hex()}
    good = raw(short)
    r, s, odd = sign(GAS_KEY, keccak(b"\2" + rlp(short)))
    tail = rlp(odd) + rlp(r) + rlp(s)
    fields = b"".join(map(rlp, short))
    listed = lambda items: b"\2" + rlp_head(0xC0, items) + items
    with_access = unsigned(b"", access=[[CONTRACT, [bytes(32)]]])
    assert listed(fields + tail) == good
    for name, data, verdict in (
        ("nothing", b"", "Type"), ("a type alone", b"\2", "Truncated"), ("a legacy transaction", good[1:], "Type"),
        ("of type 1", b"\1" + good[1:], "Type"), ("of type 3", b"\3" + good[1:], "Type"), ("a byte less", good[:-1], "Truncated"),
        ("a byte more", good + b"\0", "Surplus"), ("a field more", listed(fields + tail + b"\x80"), "Surplus"),
        ("without a signature", listed(fields), "Truncated"), ("a string around it", b"\2" + rlp(fields + tail), "Rlp"),
        ("an empty list", b"\2\xc0", "Truncated"),
        ("a length with a leading zero", b"\2\xf9\0" + good[2:3] + good[3:], "Rlp"),
        ("a long head for a short list", listed(fields + tail)[:1] + b"\xf8\x01\xc0", "Rlp"),
        ("a length longer than it is", b"\2\xf8\xff" + good[3:], "Truncated"),
        ("a length longer than memory", b"\2\xff" + b"\xff" * 8 + good[3:], "Truncated"),
        ("a number with a leading zero", listed(rlp(b"\0" + number(CHAIN)) + b"".join(map(rlp, short[1:])) + tail), "Rlp"),
        ("a zero as a byte", listed(rlp(CHAIN) + b"\0" + b"".join(map(rlp, short[2:])) + tail), "Rlp"),
        ("a small byte with a head", listed(rlp(CHAIN) + b"\x81\x07" + b"".join(map(rlp, short[2:])) + tail), "Rlp"),
        ("a list for a number", listed(rlp(CHAIN) + b"\xc0" + b"".join(map(rlp, short[2:])) + tail), "Rlp"),
        ("a string for the access list", listed(b"".join(map(rlp, short[:8])) + b"\x80" + tail), "Rlp"),
        ("an access list", raw(with_access), "AccessList"), ("a creation", raw(unsigned(b"", to=b"")), "Field"),
        ("a destination of 21 bytes", raw(unsigned(b"", to=bytes(21))), "Field"),
        ("a chain beyond 64 bits", raw(unsigned(b"", chain=2**64)), "Field"),
        ("an amount beyond 128 bits", raw(unsigned(b"", value=2**128)), "Field"),
        ("a cap beyond 128 bits", raw(unsigned(b"", cap=2**128)), "Field"),
        ("a parity of 2", raw(short, (r, s, 2)), "Field"), ("a parity of 27", raw(short, (r, s, 27)), "Field"),
        ("the higher s", raw(short, (r, N - s, 1 - odd)), "Signature"), ("r of zero", raw(short, (0, s, odd)), "Signature"),
        ("s of the order", raw(short, (r, N, odd)), "Signature"), ("r of 33 bytes", raw(short, (2**256, s, odd)), "Field"),
    ):
        yield {"name": name, "raw": data.hex(), "decode": verdict}


def signatures():
    digest = keccak(statement(anchor()))
    assert digest.hex() == CAST["digest"]
    r, s, odd = sign(AUTHORITY_KEY, digest)
    assert (b32(r) + b32(s) + bytes([27 + odd])).hex() == CAST["signature"]
    x = next(x for x in range(1, 99) if pow(pow(x, 3, P) + 7, (P - 1) // 2, P) != 1)
    for name, at, r1, s1, odd1, verdict in (
        ("the authority's", digest, r, s, odd, "ok"), ("another's, by the other parity", digest, r, s, 1 - odd, "ok"),
        ("another's, over another digest", keccak(b""), r, s, odd, "ok"), ("over zeros", bytes(32), r, s, odd, "ok"),
        ("over more than the order", b"\xff" * 32, r, s, odd, "ok"), ("s of one", digest, r, 1, odd, "ok"),
        ("the largest s", digest, r, N // 2, odd, "ok"), ("one more", digest, r, N // 2 + 1, odd, "HighS"),
        ("r of zero", digest, 0, s, odd, "Range"), ("r of the order", digest, N, s, odd, "Range"),
        ("r of all ones", digest, 2**256 - 1, s, odd, "Range"), ("s of zero", digest, r, 0, odd, "Range"),
        ("r of no point", digest, x, s, odd, "NoKey"),
    ):
        signer = recover(at, r1, s1, odd1)
        assert (signer is not None) == (verdict == "ok"), name
        yield {"name": name, "digest": at.hex(), "r": b32(r1).hex(), "vs": b32(s1 | odd1 << 255).hex(), "decode": verdict,
               "signer": signer and "0x" + signer.hex()}


def names():
    for name, text in FUNCTIONS.items():
        hashed = keccak(text.encode()).hex()
        assert hashed.startswith(CAST["signatures"][name]), name
        yield {"name": name, "signature": text, "hash": hashed}


def statements():
    base = {"log": log_id("events"), "size": 4, "root": bytes([1]) * 32, "note": bytes([2]) * 32, "epoch": 3}
    cases = [("a statement", CHAIN, CONTRACT, base), ("another chain", CHAIN + 1, CONTRACT, base),
             ("another contract", CHAIN, bytes(20), base)]
    for name, change in (("another log", {"log": log_id("outcomes")}), ("another size", {"size": 5}), ("another root", {"root": bytes(32)}),
                         ("another note", {"note": bytes(32)}), ("another epoch", {"epoch": 4})):
        cases.append((name, CHAIN, CONTRACT, {**base, **change}))
    for name, chain, contract, a in cases:
        yield {"name": name, "chain_id": chain, "contract": "0x" + contract.hex(), "log_id": a["log"].hex(), "size": a["size"],
               "root": a["root"].hex(), "note_hash": a["note"].hex(), "epoch": a["epoch"],
               "digest": "0x" + keccak(statement(a, chain, contract)).hex()}


def anchors():
    return {
        "names": list(names()),
        "log_ids": [{"ledger": ledger.hex(), "kind": kind, "log_id": log_id(kind, ledger).hex()}
                    for ledger in (LEDGER, bytes(32)) for kind in ("events", "outcomes")],
        "statements": list(statements()), "signatures": list(signatures()), "calls": list(calls()), "queries": list(queries()),
        "events": list(events()), "transactions": list(transactions()),
    }
