"""Frames: the shape, and the payload against its hashes."""

from common import CHAIN, PAYLOAD, frame, sha, signed, u32, with_field


def frames():
    cases = []

    def case(name, data, decode="ok", check="ok"):
        cases.append({"name": name, "frame": data.hex(), "decode": decode, **({"check": check} if decode == "ok" else {})})

    good = signed(CHAIN, PAYLOAD)
    case("chain", good)
    case("payload null", signed(CHAIN, b"null"))
    case("payload empty object", signed(CHAIN, b"{}"))
    case("key id at its end", signed(with_field(CHAIN, key_id=2**32 - 1), PAYLOAD))
    case("created_at is no time (not the frame's business)", signed(with_field(CHAIN, created_at="yesterday"), PAYLOAD))
    for field, most in (("entity_type", 128), ("entity_id", 512), ("event_type", 256), ("created_at", 64)):
        case(f"{field} of {most} bytes", signed(with_field(CHAIN, **{field: "x" * most}), PAYLOAD))
        case(f"{field} of {most + 1} bytes", signed(with_field(CHAIN, **{field: "x" * (most + 1)}), PAYLOAD), "TooLong")
        case(f"{field} of {most} bytes in fewer characters", signed(with_field(CHAIN, **{field: "é" * (most // 2)}), PAYLOAD))
        case(f"{field} too long in bytes, not in characters",
             signed(with_field(CHAIN, **{field: "é" * (most // 2 + 1)}), PAYLOAD), "TooLong")
        case(f"{field} empty", signed(with_field(CHAIN, **{field: ""}), PAYLOAD), "Empty")
        case(f"{field} with U+0000", signed(with_field(CHAIN, **{field: "a\0b"}), PAYLOAD), "Nul")
        for bad in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"):
            case(f"{field} = {bad.hex()}, not UTF-8", signed(with_field(CHAIN, **{field: bad}), PAYLOAD), "Utf8")
    for version in (0, 2, 0x0100_0000, 2**32 - 1):
        case(f"version {version}", signed(with_field(CHAIN, version=version), PAYLOAD), "Version")
    for kind in (2, 256, 2**32 - 1):
        case(f"payload_kind {kind}", signed(with_field(CHAIN, payload_kind=kind), PAYLOAD), "Kind")
    case("tag of another version", good[:18] + b"2" + good[19:], "Tag")
    case("tag in lower case", good[:4] + good[4:19].lower() + good[19:], "Tag")
    case("nothing", b"", "Truncated")
    case("half a length", good[:3], "Truncated")
    case("a length alone", good[:4], "Truncated")
    case("one byte short", good[:-1], "Truncated")
    case("one byte more", good + b"\0", "Surplus")
    case("twice", good + good, "Surplus")
    case("length zero", frame(CHAIN, PAYLOAD, bytes(64), length=0), "Length")
    case("length below the shortest", frame(CHAIN, PAYLOAD, bytes(64), length=242), "Length")
    case("length one more than there is", signed(CHAIN, PAYLOAD, length=len(good) - 3), "Truncated")
    case("length one less than there is", signed(CHAIN, PAYLOAD, length=len(good) - 5), "Surplus")
    case("length above the longest", frame(CHAIN, PAYLOAD, bytes(64), length=1_049_776), "Length")
    case("length at the end of its type", frame(CHAIN, PAYLOAD, bytes(64), length=2**32 - 1), "Length")
    case("length little-endian", frame(CHAIN, PAYLOAD, bytes(64), length=int.from_bytes(good[:4], "little")), "Length")
    case("length counts itself", signed(CHAIN, PAYLOAD, length=len(good)), "Truncated")
    case("payload length one more", signed(CHAIN, PAYLOAD, payload_length=len(PAYLOAD) + 1), "Overrun")
    case("payload length one less", signed(CHAIN, PAYLOAD, payload_length=len(PAYLOAD) - 1), "Surplus")
    case("payload length above the bound", signed(CHAIN, PAYLOAD, payload_length=1_048_577), "PayloadTooLong")
    case("payload length at the end of its type", signed(CHAIN, PAYLOAD, payload_length=2**32 - 1), "PayloadTooLong")
    case("a byte between payload and signature", frame(CHAIN, PAYLOAD, b"\0" + bytes(64)), "Surplus")
    case("signature one byte short", frame(CHAIN, PAYLOAD, bytes(63)), "Overrun")
    case("string length at the end of its type", good[:91] + b"\xff" * 4 + good[95:], "TooLong")
    case("string length one more", good[:91] + u32(14) + good[95:], "Nul")
    case("string length one less", good[:91] + u32(12) + good[95:], "TooLong")

    case("payload empty", signed(CHAIN, b""), check="PayloadForm")
    case("payload with a blank", signed(CHAIN, b'{"delta": 100}'), check="PayloadForm")
    case("payload keys out of order", signed(CHAIN, b'{"b":1,"a":2}'), check="PayloadForm")
    case("payload with a duplicate key", signed(CHAIN, b'{"a":1,"a":1}'), check="PayloadForm")
    case("payload with a large integer", signed(CHAIN, b'{"a":9007199254740993}'), check="PayloadForm")
    case("payload with U+0000", signed(CHAIN, b'{"a":"\\u0000"}'), check="PayloadForm")
    case("payload not JSON", signed(CHAIN, b"delta"), check="PayloadForm")
    case("payload two values", signed(CHAIN, b"1 2"), check="PayloadForm")
    case("payload changed after hashing", frame(CHAIN, b'{"delta":101,"reason":"test"}', bytes(64)), check="PlainHash")
    case("plain hash changed", signed(with_field(CHAIN, plain="00" * 32), PAYLOAD), check="PlainHash")
    case("plain hash without its tag", signed(with_field(CHAIN, plain=sha(PAYLOAD).hex()), PAYLOAD), check="PlainHash")
    case("cipher hash of a plain payload not zero",
         signed(with_field(CHAIN, payload_cipher_hash="00" * 31 + "01"), PAYLOAD), check="CipherHashNotZero")
    case("kind 1 with a plain payload", signed(with_field(CHAIN, payload_kind=1), PAYLOAD), check="Encrypted")
    return cases
