"""State trees: roots, pages, proofs of presence and absence, and answers under the root over all."""

from common import sha, uuid

EMPTY = sha(b"TALLY_STATE_EMPTY_V1")
TENANT, STORE = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"


def key(data):
    return sha(b"TALLY_STATE_KEY_V1", data)


def value(data):
    return sha(b"TALLY_STATE_VALUE_V1", data)


def leaf(path, held):
    return sha(b"TALLY_STATE_LEAF_V1", path, held)


def node(left, right):
    return sha(b"TALLY_STATE_NODE_V1", left, right)


def place(tenant, store, plugin):
    return sha(b"TALLY_STATE_TREE_V1", uuid(tenant), uuid(store), plugin.encode())


def bits(path):
    return bin(int.from_bytes(b"\1" + path, "big"))[3:]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def below(leaves, prefix):
    return {path: held for path, held in leaves.items() if bits(path).startswith(prefix)}


def root(leaves, prefix=""):
    here = below(leaves, prefix)
    if not here:
        return EMPTY
    if len(here) == 1:
        return leaf(*next(iter(here.items())))
    return node(root(here, prefix + "0"), root(here, prefix + "1"))


def pages(leaves, prefix=""):
    """Every page from this place (a string of bits, whole bytes) down: prefix to bytes."""
    found = {}

    def slot(at):
        here = below(leaves, at)
        if not here:
            return b"\0"
        if len(here) == 1:
            path, held = next(iter(here.items()))
            return b"\1" + path + held
        if len(at) == len(prefix) + 8:
            found.update(pages(here, at))
            return b"\3" + root(here, at)
        return b"\2" + root(here, at) + slot(at + "0") + slot(at + "1")

    if not leaves:
        return found
    name = bytes(int(prefix[at:at + 8], 2) for at in range(0, len(prefix), 8))
    body = bytes([1, len(name)]) + name + slot(prefix)
    found[name] = body + crc32c(body).to_bytes(4, "big")
    return found


def proof(leaves, path):
    siblings, at = [], ""
    while len(below(leaves, at)) > 1:
        turn = bits(path)[len(at)]
        siblings.append(root(leaves, at + "10"[int(turn)]))
        at += turn
    end = below(leaves, at)
    kind = 2 if not end else 1 if path in end else 3
    bitmap = "".join("0" if sibling == EMPTY else "1" for sibling in siblings)
    bitmap += "0" * (-len(bitmap) % 8)
    out = bytes([1, kind]) + len(siblings).to_bytes(2, "big")
    out += bytes(int(bitmap[n:n + 8], 2) for n in range(0, len(bitmap), 8))
    out += b"".join(sibling for sibling in siblings if sibling != EMPTY)
    return out + (b"".join(next(iter(end.items()))) if kind == 3 else b"")


def grown(pairs):
    return {key(name): value(held) for name, held in pairs}


def numbered(count):
    return [(b"licence/%d" % n, b"active:%d" % n) for n in range(count)]


SETS = {
    "nothing": [], "one": numbered(1), "two": numbered(2), "an empty key and an empty value": [(b"", b""), (b"a", b"")],
    "ten": numbered(10), "three hundred": numbered(300),
    "long ones": [(b"k" * 300, b"v" * 1000), (b"k" * 301, b"v")],
}


def hashes():
    a, b = key(b"a"), value(b"b")
    yield {"name": "empty", "hash": EMPTY.hex()}
    yield {"name": "key", "of": b"a".hex(), "hash": a.hex()}
    yield {"name": "value", "of": b"b".hex(), "hash": b.hex()}
    yield {"name": "leaf", "of": (a + b).hex(), "hash": leaf(a, b).hex()}
    yield {"name": "node", "of": (a + b).hex(), "hash": node(a, b).hex()}
    yield {"name": "tree", "of": (uuid(TENANT) + uuid(STORE) + b"licensing").hex(), "hash": place(TENANT, STORE, "licensing").hex()}


def trees():
    for name, pairs in SETS.items():
        leaves = grown(pairs)
        yield {
            "name": name, "pairs": [[left.hex(), right.hex()] for left, right in pairs], "root": root(leaves).hex(),
            "pages": [[prefix.hex(), page.hex()] for prefix, page in sorted(pages(leaves).items())] if len(pairs) < 20 else None,
            "pages_sha": sha(*[page for _, page in sorted(pages(leaves).items())]).hex(),
        }


def paths():
    """Trees of chosen paths, which no key hashes to: deep pages, and the deepest."""
    near = bytes([0xA5]) * 32

    def flipped(*places):
        out = bytearray(near)
        for at in places:
            out[at // 8] ^= 0x80 >> at % 8
        return bytes(out)

    for name, set_of in (
        ("the deepest", [near, flipped(255)]), ("at a page's edge", [near, flipped(7), flipped(8)]),
        ("four pages", [near, flipped(30), flipped(31), flipped(0)]), ("the last page", [near, flipped(248), flipped(250)]),
    ):
        leaves = {path: bytes([n]) * 32 for n, path in enumerate(set_of)}
        yield {
            "name": name, "leaves": [[path.hex(), held.hex()] for path, held in leaves.items()], "root": root(leaves).hex(),
            "pages": [[prefix.hex(), page.hex()] for prefix, page in sorted(pages(leaves).items())],
            "proofs": [[path.hex(), proof(leaves, path).hex()] for path in [*set_of, flipped(9), flipped(128), flipped(1)]],
        }


def proofs():
    for name, pairs in SETS.items():
        leaves = grown(pairs)
        asked = [data for data, _ in pairs[:4]] + [b"absent", b"licence/1000", b"licence/1001", b"x"]
        for data in dict.fromkeys(asked):
            has = dict(pairs).get(data)
            good = proof(leaves, key(data))
            case = {"tree": name, "root": root(leaves).hex(), "key": data.hex(), "value": None if has is None else has.hex()}
            yield case | {"proof": good.hex(), "verify": "ok"}
            yield case | {"proof": good.hex(), "value": b"other".hex() if has else b"".hex() if has is None else None,
                          "verify": "OtherClaim" if has in (None, b"") else "RootMismatch"}
            if has is not None:
                yield case | {"proof": good.hex(), "value": None, "verify": "OtherClaim"}
            if len(good) > 36:
                yield case | {"proof": (good[:-1] + bytes([good[-1] ^ 1])).hex(), "verify": "RootMismatch"}


def malformed():
    leaves = grown(numbered(10))
    good = proof(leaves, key(b"licence/1"))
    for name, data, verdict in (
        ("nothing", b"", "Truncated"), ("another version", b"\2" + good[1:], "Version"), ("kind 0", b"\1\0" + good[2:], "Kind"),
        ("kind 4", b"\1\4" + good[2:], "Kind"), ("depth 257", b"\1\1\1\1" + bytes(33), "Depth"), ("cut", good[:-1], "Truncated"),
        ("a byte more", good + b"\0", "Trailing"), ("a bit behind the last level", b"\1\1\0\1\xc0" + bytes(64), "Bitmap"),
        ("an empty sibling written out", b"\1\1\0\1\x80" + EMPTY, "EmptyWritten"), ("beside nothing", b"\1\1\0\1\0", "TooDeep"),
        ("no other leaf", b"\1\3\0\0", "Truncated"),
    ):
        yield {"name": name, "proof": data.hex(), "decode": verdict}


def answers():
    trees_of = {"licensing": numbered(5), "catalog": numbered(3), "checkout": []}
    listed = {place(TENANT, STORE, name): root(grown(pairs)) for name, pairs in trees_of.items() if pairs}
    top = root(listed)
    for plugin, data in (("licensing", b"licence/2"), ("licensing", b"licence/4"), ("catalog", b"licence/4"), ("checkout", b"licence/2"), ("royalty", b"x")):
        pairs = trees_of.get(plugin, [])
        has = dict(pairs).get(data)
        outer = proof(listed, place(TENANT, STORE, plugin))
        body = b"\1\2" + outer + proof(grown(pairs), key(data)) if pairs else b"\1\1" + outer
        yield {"root": top.hex(), "tenant": TENANT, "store": STORE, "plugin": plugin, "key": data.hex(),
               "value": None if has is None else has.hex(), "answer": body.hex()}


def state():
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720 appendix B.4's polynomial, the usual check value
    return {section.__name__: list(section()) for section in (hashes, trees, paths, proofs, malformed, answers)}
