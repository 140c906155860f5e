"""BLAKE3 (hash mode) in plain Python, after the paper's description; asserted against published test vectors."""

import struct

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
MASK = 0xFFFFFFFF


def rotate(x, by):
    return (x >> by | x << (32 - by)) & MASK


def compress(chain, block, counter, length, flags):
    m = list(struct.unpack("<16I", block.ljust(64, b"\0")))
    v = list(chain) + list(IV[:4]) + [counter & MASK, counter >> 32, length, flags]

    def mix(a, b, c, d, x, y):
        v[a] = (v[a] + v[b] + x) & MASK
        v[d] = rotate(v[d] ^ v[a], 16)
        v[c] = (v[c] + v[d]) & MASK
        v[b] = rotate(v[b] ^ v[c], 12)
        v[a] = (v[a] + v[b] + y) & MASK
        v[d] = rotate(v[d] ^ v[a], 8)
        v[c] = (v[c] + v[d]) & MASK
        v[b] = rotate(v[b] ^ v[c], 7)

    for turn in range(7):
        for i in range(4):
            mix(i, 4 + i, 8 + i, 12 + i, m[2 * i], m[2 * i + 1])
        for i in range(4):
            mix(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[8 + 2 * i], m[9 + 2 * i])
        m = [m[at] for at in ORDER]
    return [v[i] ^ v[i + 8] for i in range(8)]


def chunk(data, counter, root):
    chain, blocks = IV, [data[i:i + 64] for i in range(0, len(data), 64)] or [b""]
    for at, block in enumerate(blocks):
        last = at == len(blocks) - 1
        flags = (CHUNK_START if at == 0 else 0) | (CHUNK_END | (ROOT if root else 0) if last else 0)
        chain = compress(chain, block, counter, len(block), flags)
    return chain


def tree(data, counter, root):
    if len(data) <= 1024:
        return chunk(data, counter, root)
    left = 1024
    while left * 2 < len(data):
        left *= 2
    children = tree(data[:left], counter, False) + tree(data[left:], counter + left // 1024, False)
    return compress(IV, struct.pack("<16I", *children), 0, 64, PARENT | (ROOT if root else 0))


def blake3(data):
    return struct.pack("<8I", *tree(data, 0, True))


def pattern(length):
    return bytes(i % 251 for i in range(length))


# The published test vectors (input: 0, 1, ... 250, 0, ...) at lengths 0, 1, 1024, 1025 and 2049.
for size, expected in (
    (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
    (1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
    (1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"),
    (1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"),
    (2049, "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030"),
):
    assert blake3(pattern(size)).hex() == expected, (size, blake3(pattern(size)).hex())
