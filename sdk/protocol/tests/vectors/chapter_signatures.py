"""Signatures and public keys: RFC 8032, published edge cases, and every torsion point in every encoding."""

import ed25519
from common import CHAIN, SEED, preimage, sha, u32


RFC8032 = [
    ("test 1", SEED.hex(), "", "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("test 2", "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("test 3", "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
    ("test SHA(abc)", "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
     "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"),
]

# Chalkias, Garillot, Nikolaenko: Taming the many EdDSAs (SSR 2020), the vectors of the paper's repository.
SPECCHECK = [
    ("small A and R", "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a0000000000000000000000000000000000000000000000000000000000000000"),
    ("small A, mixed R", "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa", "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04"),
    ("mixed A, small R", "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab", "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e"),
    ("mixed A and R", "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79", "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d", "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009"),
    ("mixed A and R, cofactored only", "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c", "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d", "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed5125ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09"),
    ("mixed A, cofactored only", "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c", "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d", "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405"),
    ("S above L", "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40", "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623", "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514"),
    ("S far above L", "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40", "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623", "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa19427e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22"),
    ("non-canonical R", "fdaebc429f4a735932a160da1301080c13280eea8bc280d1b392c6b9e6ba3a5a", "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f454d370c8d9fc323a41450f8d513eafeb5b0697390c1e505a0d4ddc71f566607"),
    ("non-canonical R, reduced before hashing", "84b698d39be126ff55fe45079e6c8bf64a0d7db6994560b4e96b7021eb39c1a1", "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f084d5b99c2a9463d9c8bd5026916996984eeec87ddf1d3be329006ace1b37b09"),
]


def signatures():
    cases = []

    def case(name, key, message, signature):
        says = ed25519.verdicts(key, message, signature)
        cases.append({"name": name, "public_key": key.hex(), "message": message.hex(), "signature": signature.hex(),
                      "valid": says.pop("tally"), "elsewhere": says})
        return cases[-1]["valid"]

    for name, seed, message, signature in RFC8032:
        seed, message = bytes.fromhex(seed), bytes.fromhex(message)
        assert ed25519.sign(seed, message).hex() == signature, name
        assert case(f"RFC 8032 {name}", ed25519.public_key(seed), message, bytes.fromhex(signature))
    for name, message, key, signature in SPECCHECK:
        case(f"speccheck: {name}", *(bytes.fromhex(data) for data in (key, message, signature)))

    key, message = ed25519.public_key(SEED), sha(preimage(CHAIN))
    good = ed25519.sign(SEED, message)
    r, s = good[:32], int.from_bytes(good[32:], "little")
    number = lambda n: n.to_bytes(32, "little")
    flip = lambda data, bit: data[:bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1:]
    assert case("honest", key, message, good)
    for bit in (0, 7, 128, 254, 255, 256, 384, 508, 509, 510, 511):
        assert not case(f"honest, bit {bit} of the signature flipped", key, message, flip(good, bit))
    for bit in (0, 131, 254, 255):
        assert not case(f"honest, bit {bit} of the key flipped", flip(key, bit), message, good)
        assert not case(f"honest, bit {bit} of the message flipped", key, flip(message, bit), good)
    for times in (1, 2, 7, 15):
        if s + times * ed25519.L < 2**256:
            assert not case(f"honest, S + {times} L", key, message, r + number(s + times * ed25519.L))
    assert not case("honest, S = L", key, message, r + number(ed25519.L))
    assert not case("honest, S = 2^256 - 1", key, message, r + b"\xff" * 32)
    assert not case("honest, S = 0", key, message, r + bytes(32))
    assert not case("honest, S negated", key, message, r + number(ed25519.L - s))
    assert not case("honest, R and S swapped", key, message, good[32:] + r)
    assert not case("all zero signature", key, message, bytes(64))
    assert not case("another key's signature", ed25519.public_key(bytes(32)), message, good)

    # Signatures made by hand, by a signer who chooses the torsion parts of A and R.
    secret = ed25519.expand(SEED)[0]

    def crafted(name, a_torsion, r_data, nonce, want_multiple_of_8=None):
        """`nonce` is the prime-order part of R, `r_data` its bytes; A is the honest key plus torsion."""
        a = ed25519.encode(ed25519.add(ed25519.mul(secret, ed25519.BASE), a_torsion))
        for attempt in range(1000):
            message = sha(b"crafted", name.encode(), u32(attempt))
            k = ed25519.scalar(r_data, a, message)
            if want_multiple_of_8 is None or (k % 8 == 0) == want_multiple_of_8:
                signature = r_data + number((nonce + k * secret) % ed25519.L)
                return case(name, a, message, signature)
        raise AssertionError(name)

    nonce = ed25519.scalar(b"nonce")
    honest_r = ed25519.mul(nonce, ed25519.BASE)
    for order, torsion in ((2, 4), (4, 2), (8, 1)):
        point = ed25519.TORSION[torsion]
        mixed_r = ed25519.encode(ed25519.add(honest_r, point))
        assert crafted(f"A with a part of order {order}, k a multiple of 8", point, ed25519.encode(honest_r), nonce, True)
        assert crafted(f"A with a part of order {order}, k no multiple of 8", point, ed25519.encode(honest_r), nonce, False)
        assert crafted(f"R with a part of order {order}", ed25519.NEUTRAL, mixed_r, nonce)
        assert crafted(f"A and R with parts of order {order}, k a multiple of 8", point, mixed_r, nonce, True)
        assert crafted(f"A and R with parts of order {order}, k no multiple of 8", point, mixed_r, nonce, False)
    for at, point in enumerate(ed25519.TORSION):
        for data in ed25519.encodings(point):
            form = "canonical" if ed25519.is_canonical(data) else "non-canonical"
            valid = crafted(f"R = torsion point {at}, {form} {data.hex()[:4]}..{data.hex()[-2:]}", ed25519.NEUTRAL, data, 0)
            assert valid == (form == "canonical")

    # Every encoding of every torsion point as A and as R, with S = 0 (as in ZIP-215's own vectors) and with the
    # honest R of a nonce: the equation holds for all of them.
    torsion = [data for point in ed25519.TORSION for data in ed25519.encodings(point)]
    assert len(torsion) == 14
    for a in torsion:
        for r_data in torsion:
            valid = case("torsion A, torsion R, S = 0", a, b"Zcash".ljust(32, b"\0"), r_data + bytes(32))
            assert valid == ed25519.is_canonical(r_data)
        assert case("torsion A, honest R, S = its nonce", a, message, ed25519.encode(honest_r) + number(nonce))
        assert not case("torsion A, honest R, S = nonce + 1", a, message, ed25519.encode(honest_r) + number(nonce + 1))

    off_curve = next(number(y) for y in range(2, 99) if ed25519.decode(number(y)) is None)
    assert not case("R is no point", key, message, off_curve + good[32:])
    assert not case("A is no point", off_curve, message, good)
    assert not case("A is no point, all ones", b"\xff" * 32, message, good)
    return cases


def keys():
    cases = []

    def case(name, key):
        cases.append({"name": name, "public_key": key.hex(), "registration": ed25519.registration(key)})
        return cases[-1]["registration"]

    for seed in (SEED, bytes(32), b"\xff" * 32):
        assert case("honest", ed25519.public_key(seed)) == "ok"
    assert case("base point", ed25519.encode(ed25519.BASE)) == "ok"
    for at, point in enumerate(ed25519.TORSION):
        for data in ed25519.encodings(point):
            assert case(f"torsion point {at}", data) == ("SmallOrder" if ed25519.is_canonical(data) else "NonCanonical")
        mixed = ed25519.add(ed25519.mul(ed25519.expand(SEED)[0], ed25519.BASE), point)
        assert case(f"honest plus torsion point {at}", ed25519.encode(mixed)) == ("MixedOrder" if at else "ok")
    for y in range(19):
        for sign in (0, 1):
            data = (y + ed25519.P | sign << 255).to_bytes(32, "little")
            assert case(f"y = p + {y}, sign {sign}", data) in ("NonCanonical", "NotAPoint")
    for y in range(2, 12):
        case(f"y = {y}", y.to_bytes(32, "little"))
    case("all zero", bytes(32))
    case("all ones", b"\xff" * 32)
    return cases
