"""What the log serves and stores beside entries: notes, checkpoints, tlog-proofs, tile paths, entry bundles, commitments."""

import base64

import ed25519
from common import sha, state_root, stream_id, u32, u64, uuid

ORIGIN = "tally.example/log"
ROOT = bytes(range(32))
LEDGER = bytes([9]) * 32

# C2SP signed-note, section "Verifier keys"; Go's golang.org/x/mod/sumdb/note; C2SP tlog-checkpoint.
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = ("This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERY"
             "NZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n")
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = ("If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\u2014 "
           "PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n")
SPEC_CHECKPOINT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def b64(data):
    return base64.b64encode(data).decode()


def seed(n):
    return bytes([n]) * 32


def key_id(name, n, kind=1):
    return sha(name.encode(), b"\n", bytes([kind]), ed25519.public_key(seed(n)))[:4]


def vkey(name, n, kind=1, at=None):
    return f"{name}+{(at or key_id(name, n, kind)).hex()}+{b64(bytes([kind]) + ed25519.public_key(seed(n)))}"


def line(name, at, signature):
    return f"\u2014 {name} {b64(at + signature)}\n"


def signed_line(text, name, n):
    return line(name, key_id(name, n), ed25519.sign(seed(n), text.encode()))


def checkpoint(origin=ORIGIN, size=5, root=ROOT, more=""):
    return f"{origin}\n{size}\n{b64(root)}\n{more}"


def note(text=None, *signers):
    text = checkpoint() if text is None else text
    return text + "\n" + "".join(signed_line(text, name, n) for name, n in signers or [(ORIGIN, 1)])


def verifier_keys():
    good = vkey(ORIGIN, 1)
    for name, text, verdict in (
        ("the specification's", SPEC_KEY, "ok"), ("Go's", GO_KEY, "ok"), ("ours", good, "ok"),
        ("a name not ASCII", vkey("größe.example/log", 1), "ok"),
        ("the id of another name", vkey(ORIGIN, 1, at=key_id("other", 1)), "Id"),
        ("the id of another key", vkey(ORIGIN, 1, at=key_id(ORIGIN, 2)), "Id"),
        ("the id in upper case", vkey("example.com/foo", 1).replace(key_id("example.com/foo", 1).hex(),
                                                                   key_id("example.com/foo", 1).hex().upper()), "Id"),
        ("a cosigner's key", vkey(ORIGIN, 1, kind=4), "Type"), ("a key of type 0", vkey(ORIGIN, 1, kind=0), "Type"),
        ("an empty name", good[len(ORIGIN):], "Malformed"), ("a blank in the name", vkey("a b", 1), "Malformed"),
        ("no key", good[:good.rindex("+") + 1], "Malformed"), ("no id", "name", "Malformed"), ("nothing", "", "Malformed"),
        ("a line end", good + "\n", "Malformed"),
        ("a key of 31 bytes", f"{ORIGIN}+{key_id(ORIGIN, 1).hex()}+{b64(bytes([1]) + bytes(31))}", "Malformed"),
        ("a key of 33 bytes", f"{ORIGIN}+{key_id(ORIGIN, 1).hex()}+{b64(bytes([1]) + bytes(33))}", "Malformed"),
    ):
        yield {"name": name, "vkey": text, "decode": verdict}


def notes():
    ours, text = vkey(ORIGIN, 1), checkpoint()
    good = note()
    signature = ed25519.sign(seed(1), text.encode())
    id_of_ours = key_id(ORIGIN, 1)
    stranger = line("witness.example", b"\1\2\3\4", bytes(2420))
    cases = [
        ("the specification's", SPEC_NOTE, [SPEC_KEY], "ok"), ("Go's", GO_NOTE, [GO_KEY], "ok"), ("ours", good, [ours], "ok"),
        ("an empty line in the text", note("a\n\nb\n"), [ours], "ok"), ("an empty text line", note("\n"), [ours], "ok"),
        ("two keys, the first trusted", note(None, (ORIGIN, 1), (ORIGIN, 2)), [ours], "ok"),
        ("two keys, the second trusted", note(None, (ORIGIN, 1), (ORIGIN, 2)), [vkey(ORIGIN, 2)], "ok"),
        ("two keys, both trusted", note(None, (ORIGIN, 1), (ORIGIN, 2)), [ours, vkey(ORIGIN, 2)], "ok"),
        ("a stranger's line of another length", good + stranger, [ours], "ok"),
        ("a stranger's line with our name", good + line(ORIGIN, b"\1\2\3\4", signature), [ours], "ok"),
        ("a stranger's line with our id", good + line("other", id_of_ours, signature), [ours], "ok"),
        ("nobody trusted", good, [], "Unsigned"), ("another key trusted", good, [vkey(ORIGIN, 2)], "Unsigned"),
        ("the same key under another name", good, [vkey("other", 1)], "Unsigned"),
        ("another text", good.replace("5\n", "6\n", 1), [ours], "WrongSignature"),
        ("a right and a wrong signature", good + line(ORIGIN, id_of_ours, bytes(64)), [ours], "WrongSignature"),
        ("a right signature and a trusted key's wrong one", good + line(ORIGIN, key_id(ORIGIN, 2), signature),
         [ours, vkey(ORIGIN, 2)], "WrongSignature"),
        ("a signature of 63 bytes", text + "\n" + line(ORIGIN, id_of_ours, signature[:63]), [ours], "WrongSignature"),
        ("a signature of 65 bytes", text + "\n" + line(ORIGIN, id_of_ours, signature + b"\0"), [ours], "WrongSignature"),
        ("S plus L", text + "\n" + line(ORIGIN, id_of_ours, signature[:32] +
         (int.from_bytes(signature[32:], "little") + ed25519.L).to_bytes(32, "little")), [ours], "WrongSignature"),
        ("no empty line", good.replace("\n\n", "\n"), [ours], "NoSignatures"),
        ("no signature", text + "\n", [ours], "NoSignatures"), ("no text", "\n" + signed_line("\n", ORIGIN, 1), [ours], "NoSignatures"),
        ("an empty line at the end", good + "\n", [ours], "NoSignatures"), ("no line end", good[:-1], [ours], "NoSignatures"),
        ("carriage returns", good.replace("\n", "\r\n"), [ours], "ControlCharacter"),
        ("a tab", note("a\tb\n"), [ours], "ControlCharacter"), ("U+0000", note("a\0b\n"), [ours], "ControlCharacter"),
        ("a hyphen for the dash", good.replace("\u2014", "-"), [ours], "SignatureLine"),
        ("a second blank", good.replace("\u2014 ", "\u2014  "), [ours], "SignatureLine"),
        ("a blank at the line's end", good[:-1] + " \n", [ours], "SignatureLine"),
        ("padding left out", good.replace("=", ""), [ours], "SignatureLine"),
        ("a name with a plus", text + "\n" + line("a+b", id_of_ours, signature), [ours], "SignatureLine"),
        ("a name with U+00A0", text + "\n" + line("a\u00a0b", id_of_ours, signature), [ours], "SignatureLine"),
        ("an id alone", text + "\n" + line(ORIGIN, id_of_ours, b""), [ours], "SignatureLine"),
        ("64 signatures", text + "\n" + "".join(line(f"w{n}", id_of_ours, b"\0") for n in range(63)) +
         signed_line(text, ORIGIN, 1), [ours], "ok"),
        ("65 signatures", text + "\n" + "".join(line(f"w{n}", id_of_ours, b"\0") for n in range(64)) +
         signed_line(text, ORIGIN, 1), [ours], "TooManySignatures"),
    ]
    for name, body, known, verdict in cases:
        yield {"name": name, "note": body, "known": known, "open": verdict}


def checkpoints():
    empty = sha(b"")
    for name, text, verdict in (
        ("the specification's", SPEC_CHECKPOINT, "ok"), ("ours", checkpoint(), "ok"), ("empty tree", checkpoint(size=0, root=empty), "ok"),
        ("the largest size", checkpoint(size=2**64 - 1), "ok"), ("extension lines", checkpoint(more="a\nb c\n"), "ok"),
        ("empty tree with another root", checkpoint(size=0), "EmptyRoot"), ("a size beyond 64 bits", checkpoint(size=2**64), "Size"),
        ("a leading zero", checkpoint(size="05"), "Size"), ("a sign", checkpoint(size="+5"), "Size"),
        ("a blank", checkpoint(size="5 "), "Size"), ("no size", checkpoint(size=""), "Size"), ("Arabic digits", checkpoint(size="\u0665"), "Size"),
        ("no origin", checkpoint(origin=""), "Origin"), ("an origin with a blank", checkpoint(origin="a b"), "Origin"),
        ("an origin with a plus", checkpoint(origin="a+b"), "Origin"), ("an origin of 255 bytes", checkpoint(origin="x" * 255), "ok"),
        ("an origin of 256 bytes", checkpoint(origin="x" * 256), "Origin"), ("a root of 31 bytes", checkpoint(root=ROOT[:31]), "Root"),
        ("a root of 33 bytes", checkpoint(root=ROOT + b"\0"), "Root"), ("a root in hex", f"{ORIGIN}\n5\n{ROOT.hex()}\n", "Root"),
        ("trailing bits", f"{ORIGIN}\n5\n{b64(ROOT)[:-2]}9=\n", "Root"), ("padding left out", checkpoint().replace("=", ""), "Root"),
        ("an empty extension line", checkpoint(more="\n"), "Extension"), ("a tab in an extension line", checkpoint(more="a\tb\n"), "Extension"),
        ("two lines", f"{ORIGIN}\n5\n", "Lines"), ("no line end", checkpoint()[:-1], "Lines"), ("nothing", "", "Lines"),
    ):
        case = {"name": name, "text": text, "decode": verdict}
        if verdict == "ok":
            origin, size, root = text.split("\n")[:3]
            case |= {"origin": origin, "size": size, "root": base64.b64decode(root).hex()}
        yield case


def tlog_proofs():
    path = [sha(b"\1", bytes([n])) for n in range(3)]

    def proof(head="c2sp.org/tlog-proof@v1\n", extra="", index="index 4\n", path=path, body=None):
        return head + extra + index + "".join(b64(node) + "\n" for node in path) + "\n" + (note() if body is None else body)

    for name, text, verdict in (
        ("three hashes", proof(), "ok"), ("no hash", proof(path=[]), "ok"), ("64 hashes", proof(path=path * 21 + path[:1]), "ok"),
        ("65 hashes", proof(path=path * 21 + path[:2]), "Path"), ("extra", proof(extra="extra AAEC\n"), "ok"),
        ("extra of nothing", proof(extra="extra \n"), "Extra"), ("extra not base64", proof(extra="extra A\n"), "Extra"),
        ("extra twice", proof(extra="extra AAEC\nextra AAEC\n"), "Index"), ("extra behind index", proof(index="index 4\nextra AAEC\n"), "Path"),
        ("another version", proof(head="c2sp.org/tlog-proof@v2\n"), "Head"), ("nothing", "", "Head"),
        ("no index", proof(index=""), "Index"), ("a leading zero", proof(index="index 04\n"), "Index"),
        ("an index beyond 64 bits", proof(index=f"index {2**64}\n"), "Index"), ("the size for an index", proof(index="index 5\n"), "Outside"),
        ("a hash of 31 bytes", proof(path=[path[0][:31]]), "Path"), ("no checkpoint", proof(body=""), "Checkpoint"),
        ("a checkpoint that nobody signed", proof(body=checkpoint()), "Checkpoint"),
        ("a note that is no checkpoint", proof(body=note("text\n")), "Checkpoint"), ("no empty line", proof().split("\n\n")[0], "NoCheckpoint"),
    ):
        yield {"name": name, "file": text, "decode": verdict}


def tile_paths():
    def place(index, width):
        digits = str(index)
        digits = digits.zfill((len(digits) + 2) // 3 * 3)
        groups = [digits[at:at + 3] for at in range(0, len(digits), 3)]
        return "/".join(["x" + group for group in groups[:-1]] + groups[-1:]) + (f".p/{width}" if width < 256 else "")

    for level in (0, 1, 7, 8, 63, "entries"):
        for index in (0, 1, 999, 1000, 1001, 1_234_067, 10**9, 2**64 - 1):
            for width in (1, 255, 256):
                yield {"path": f"tile/{level}/{place(index, width)}", "decode": "ok", "level": level, "index": str(index), "width": width}
    for path, verdict in (
        ("tile/64/000", "Level"), ("tile/256/000", "Level"), ("tile/0/000.p/0", "Width"), ("tile/0/000.p/256", "Width"),
        ("tile/0/x018/x446/x744/x073/x709/x551/616", "IndexRange"), ("tile/entries/x018/x446/x744/x073/x709/x551/616", "IndexRange"),
        ("", "Path"), ("tile/0", "Path"), ("/tile/0/000", "Path"), ("tile/8/0/000", "Path"), ("tile/00/000", "Path"), ("tile/-1/000", "Path"),
        ("tile/data/000", "Path"), ("tile/0/0", "Path"), ("tile/0/0000", "Path"), ("tile/0/x000", "Path"), ("tile/0/x000/000", "Path"),
        ("tile/0/001/000", "Path"), ("tile/0/X001/000", "Path"), ("tile/0/x001/x000", "Path"), ("tile/0/x001//000", "Path"),
        ("tile/0/000/", "Path"), ("tile/0/+01", "Path"), ("tile/0/000.p", "Path"), ("tile/0/000.p/", "Path"), ("tile/0/000.p/01", "Path"),
        ("tile/0/000.p/1/2", "Path"), ("tile/0/x001.p/1", "Path"), ("tile/entries/x000/000", "Path"), ("tile/entries/", "Path"),
    ):
        yield {"path": path, "decode": verdict}


def bundles():
    two = b"\0\1a\0\0"
    for name, data, width, verdict in (
        ("two entries, one empty", two, 2, "ok"), ("an entry of 191 bytes", b"\0\xbf" + bytes(191), 1, "ok"),
        ("256 entries", b"\0\0" * 256, 256, "ok"), ("one entry too few", two, 3, "BundleTruncated"), ("one entry too many", two, 1, "BundleCount"),
        ("a cut length", two[:-1], 2, "BundleTruncated"), ("a cut entry", b"\0\2a", 1, "BundleTruncated"), ("width 0", b"", 0, "BundleCount"),
        ("width 257", b"\0\0" * 257, 257, "BundleCount"), ("nothing", b"", 1, "BundleTruncated"),
    ):
        yield {"name": name, "bundle": data.hex(), "width": width, "decode": verdict}


def commitments():
    tenant, store = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"

    def as_uuid(data):
        data = bytearray(data[:16])
        data[6], data[8] = data[6] & 0x0F | 0x80, data[8] & 0x3F | 0x80
        return bytes(data)

    def record(first=1, count=5, root=ROOT, previous=bytes(32), at=1_735_689_600_123_456, magic=b"TCOM", version=1, ledger=LEDGER,
               depth=None, padded=None, state=None, last=None, batch=None):
        fitting = 1 << (max(count, 1) - 1).bit_length()
        last = first + count - 1 if last is None else last
        state = state_root(stream_id(tenant, store), previous, root, first, last, count) if state is None else state
        batch = as_uuid(sha(b"TALLY_ID_V1", ledger, b"commitment", state)) if batch is None else batch
        return b"".join([
            magic, version.to_bytes(2, "big"), batch, uuid(tenant), uuid(store),
            bytes([fitting.bit_length() - 1 if depth is None else depth]), u32(count), u32(fitting if padded is None else padded),
            root, previous, state, u64(first), u64(last), u64(at)])

    assert len(record()) == 183
    for name, data, verdict in (
        ("five leaves", record(), "ok"), ("one leaf", record(count=1), "ok"), ("a power of two", record(count=4), "ok"),
        ("the most leaves", record(count=1 << 20), "ok"), ("a later range", record(first=6, previous=ROOT), "ok"),
        ("another ledger's", record(ledger=bytes(32)), "ok"), ("the last sequence there is", record(first=2**64 - 1, count=1), "ok"),
        ("no leaf", record(count=0, last=1), "LeafCount"), ("too many leaves", record(count=(1 << 20) + 1), "LeafCount"),
        ("from sequence 0", record(first=0), "Range"), ("another end", record(last=6), "Range"), ("another depth", record(depth=4), "Shape"),
        ("another padded count", record(padded=16), "Shape"), ("another state root", record(state=bytes(32)), "StateRoot"),
        ("an id that is no UUID of version 8", record(batch=bytes(16)), "BatchId"), ("after 9999", record(at=253_402_300_800_000_000), "Time"),
        ("another magic", record(magic=b"TCOX"), "Magic"), ("another version", record(version=2), "Version"),
        ("one byte short", record()[:-1], "Length"), ("one byte more", record() + b"\0", "Length"), ("nothing", b"", "Length"),
    ):
        case = {"name": name, "record": data.hex(), "decode": verdict}
        if verdict == "ok":
            case |= {"ledger": LEDGER.hex(), "batch_id": data[6:22].hex(), "named_by_ledger": name != "another ledger's"}
        yield case


def log():
    sections = (verifier_keys, notes, checkpoints, tlog_proofs, tile_paths, bundles, commitments)
    return {section.__name__: list(section()) for section in sections}
