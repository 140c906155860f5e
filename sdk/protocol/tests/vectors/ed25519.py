"""Ed25519 in plain Python, slow and simple: the oracle that the signature vectors are made with.

Knows the curve, its torsion, every encoding of a point that decodes, and four rules for accepting a signature:
`tally` (ours), `zip215`, `ref10` (recompute R and compare its bytes, as most libraries do) and `strict` (ref10, and
small-order A or R refused).
"""

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add(a, b):
    (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
    e1, e2 = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    e3, e4 = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = e2 - e1, e4 - e3, e4 + e3, e2 + e1
    return e * f % P, g * h % P, f * g % P, e * h % P


NEUTRAL = (0, 1, 1, 0)


def mul(n, point):
    out = NEUTRAL
    while n:
        if n & 1:
            out = add(out, point)
        point = add(point, point)
        n >>= 1
    return out


def neg(point):
    x, y, z, t = point
    return P - x, y, z, P - t


def equal(a, b):
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def affine(point):
    inverse = pow(point[2], -1, P)
    return point[0] * inverse % P, point[1] * inverse % P


def encode(point):
    x, y = affine(point)
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decode(data):
    """Any encoding, canonical or not, as ZIP-215 and ref10 read it; None if there is no such point."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, (number & (2**255 - 1)) % P
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == P - u and u != 0:
        x = x * ROOT % P
    if v * x * x % P != u:
        return None
    if x & 1 != sign:
        x = (P - x) % P
    return x, y, 1, x * y % P


def is_canonical(data):
    point = decode(data)
    return point is not None and encode(point) == data


def encodings(point):
    """Every 32 bytes that decode to this point, the canonical ones first."""
    x, y = affine(point)
    found = []
    for value in (y, y + P):
        if value < 2**255:
            for sign in (0, 1):
                data = (value | sign << 255).to_bytes(32, "little")
                if equal(decode(data), point):
                    found.append(data)
    return sorted(found, key=lambda data: not is_canonical(data))


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def _torsion():
    y = 2
    while True:
        y += 1
        point = decode(y.to_bytes(32, "little"))
        if point is not None:
            small = mul(L, point)
            if not equal(mul(4, small), NEUTRAL):
                return [mul(n, small) for n in range(8)]


TORSION = _torsion()


def small_order(point):
    return equal(mul(8, point), NEUTRAL)


def torsion_free(point):
    return equal(mul(L, point), NEUTRAL)


def sha512(*parts):
    return hashlib.sha512(b"".join(parts)).digest()


def scalar(*parts):
    return int.from_bytes(sha512(*parts), "little") % L


def expand(seed):
    digest = sha512(seed)
    low = bytearray(digest[:32])
    low[0] &= 248
    low[31] = low[31] & 127 | 64
    return int.from_bytes(low, "little"), digest[32:]


def public_key(seed):
    return encode(mul(expand(seed)[0], BASE))


def sign(seed, message):
    secret, prefix = expand(seed)
    key = encode(mul(secret, BASE))
    nonce = scalar(prefix, message)
    r = encode(mul(nonce, BASE))
    return r + ((nonce + scalar(r, key, message) * secret) % L).to_bytes(32, "little")


def verdicts(key, message, signature):
    """What each rule says."""
    r_data, s = signature[:32], int.from_bytes(signature[32:], "little")
    a, r = decode(key), decode(r_data)
    refused = {"tally": False, "zip215": False, "ref10": False, "strict": False}
    if a is None or s >= L:
        return refused
    k = scalar(r_data, key, message)
    expected = add(mul(s, BASE), neg(mul(k, a)))
    zip215 = r is not None and equal(mul(8, expected), mul(8, r))
    ref10 = encode(expected) == r_data
    strict = ref10 and not small_order(a) and not small_order(r)
    return {"tally": zip215 and is_canonical(r_data), "zip215": zip215, "ref10": ref10, "strict": strict}


def registration(key):
    """Why a key cannot be registered, or "ok"."""
    point = decode(key)
    if point is None:
        return "NotAPoint"
    if not is_canonical(key):
        return "NonCanonical"
    if small_order(point):
        return "SmallOrder"
    return "ok" if torsion_free(point) else "MixedOrder"
