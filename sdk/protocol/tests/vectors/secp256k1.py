"""Keccak-256, and ECDSA over secp256k1 with recovery: an implementation of its own, from the papers."""

import hashlib
import hmac

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
     0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8)


def _round_constants():
    register, constants = 1, []
    for _ in range(24):
        constant = 0
        for j in range(7):
            if register & 1:
                constant |= 1 << (2**j - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return constants


ROUNDS = _round_constants()


def _rotate(value, by):
    by %= 64
    return ((value << by) | (value >> (64 - by))) & (2**64 - 1)


def _permute(a):
    """Keccak-f[1600] (FIPS 202 section 3.2) on a[x][y]."""
    for constant in ROUNDS:
        c = [a[x][0] ^ a[x][1] ^ a[x][2] ^ a[x][3] ^ a[x][4] for x in range(5)]
        d = [c[(x - 1) % 5] ^ _rotate(c[(x + 1) % 5], 1) for x in range(5)]
        a = [[a[x][y] ^ d[x] for y in range(5)] for x in range(5)]
        b = [[0] * 5 for _ in range(5)]
        x, y, lane = 1, 0, a[1][0]
        b[0][0] = a[0][0]
        for t in range(24):
            b[y][(2 * x + 3 * y) % 5] = _rotate(a[x][y], (t + 1) * (t + 2) // 2)
            x, y = y, (2 * x + 3 * y) % 5
        a = [[b[x][y] ^ (~b[(x + 1) % 5][y] & b[(x + 2) % 5][y]) for y in range(5)] for x in range(5)]
        a[0][0] ^= constant
    return a


def keccak(*parts):
    data, rate = b"".join(parts), 136
    padded = bytearray(data + b"\1" + bytes(-(len(data) + 1) % rate))
    padded[-1] |= 0x80
    a = [[0] * 5 for _ in range(5)]
    for at in range(0, len(padded), rate):
        for lane in range(rate // 8):
            a[lane % 5][lane // 5] ^= int.from_bytes(padded[at + 8 * lane:at + 8 * lane + 8], "little")
        a = _permute(a)
    return b"".join(a[lane % 5][lane // 5].to_bytes(8, "little") for lane in range(4))


def add(p, q):
    if p is None or q is None:
        return p or q
    if p[0] == q[0]:
        if (p[1] + q[1]) % P == 0:
            return None
        slope = 3 * p[0] * p[0] * pow(2 * p[1], -1, P) % P
    else:
        slope = (q[1] - p[1]) * pow(q[0] - p[0], -1, P) % P
    x = (slope * slope - p[0] - q[0]) % P
    return x, (slope * (p[0] - x) - p[1]) % P


def multiply(k, p):
    out = None
    while k:
        if k & 1:
            out = add(out, p)
        p, k = add(p, p), k >> 1
    return out


def b32(n):
    return n.to_bytes(32, "big")


def address_of(point):
    return keccak(b32(point[0]), b32(point[1]))[12:]


def address(secret):
    return address_of(multiply(secret, G))


def _nonces(secret, digest):
    """RFC 6979 section 3.2 with SHA-256."""
    mac = lambda key, data: hmac.new(key, data, hashlib.sha256).digest()
    seed = b32(secret) + b32(int.from_bytes(digest, "big") % N)
    v, k = b"\1" * 32, bytes(32)
    k = mac(k, v + b"\0" + seed)
    v = mac(k, v)
    k = mac(k, v + b"\1" + seed)
    v = mac(k, v)
    while True:
        v = mac(k, v)
        yield int.from_bytes(v, "big")
        k = mac(k, v + b"\0")
        v = mac(k, v)


def sign(secret, digest):
    """r, s in its lower form, and whether the nonce's point has an odd y (of the form that was chosen)."""
    z = int.from_bytes(digest, "big")
    for k in _nonces(secret, digest):
        if not 0 < k < N:
            continue
        x, y = multiply(k, G)
        r, s = x % N, pow(k, -1, N) * (z + x % N * secret) % N
        if r and s and x < N:
            return (r, s, y & 1) if s <= N // 2 else (r, N - s, 1 - (y & 1))


def recover(digest, r, s, odd):
    """The signer's address; none where the precompile has none, or where s is the higher one."""
    square = (pow(r, 3, P) + 7) % P
    y = pow(square, (P + 1) // 4, P)
    if not (0 < r < N and 0 < s <= N // 2) or y * y % P != square:
        return None
    y = y if y & 1 == odd else P - y
    z, inverse = int.from_bytes(digest, "big"), pow(r, -1, N)
    point = add(multiply(inverse * s % N, (r, y)), multiply(-z * inverse % N, G))
    return point and address_of(point)
