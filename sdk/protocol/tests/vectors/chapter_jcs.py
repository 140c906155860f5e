"""Canonical JSON: RFC 8785's own examples, other spellings, and what has no unambiguous meaning."""

import json
import struct

from jcs import canonical


# RFC 8785 appendix B: a double's bits and its text.
NUMBERS = """0000000000000000 0|8000000000000000 0|0000000000000001 5e-324|8000000000000001 -5e-324
7fefffffffffffff 1.7976931348623157e+308|ffefffffffffffff -1.7976931348623157e+308|4340000000000000 9007199254740992
c340000000000000 -9007199254740992|4430000000000000 295147905179352830000|44b52d02c7e14af5 9.999999999999997e+22
44b52d02c7e14af6 1e+23|44b52d02c7e14af7 1.0000000000000001e+23|444b1ae4d6e2ef4e 999999999999999700000
444b1ae4d6e2ef4f 999999999999999900000|444b1ae4d6e2ef50 1e+21|3eb0c6f7a0b5ed8c 9.999999999999997e-7
3eb0c6f7a0b5ed8d 0.000001|41b3de4355555553 333333333.3333332|41b3de4355555554 333333333.33333325
41b3de4355555555 333333333.3333333|41b3de4355555556 333333333.3333334|41b3de4355555557 333333333.33333343
becbf647612f3696 -0.0000033333333333333333|43143ff3c1cb0959 1424953923781206.2""".replace("\n", "|").split("|")


def jcs_vectors():
    numbers, forms, refused = [], [], []
    for line in NUMBERS:
        bits, expected = line.split()
        value = struct.unpack(">d", bytes.fromhex(bits))[0]
        assert canonical(value).decode() == expected, line
        numbers.append({"bits": bits, "text": expected})

    def form(name, source, expected=None):
        """A text that reads, and its canonical form; the same text if none is given."""
        data = source if isinstance(source, bytes) else source.encode()
        expected = data if expected is None else expected.encode()
        assert canonical(json.loads(data)) == expected, (name, canonical(json.loads(data)), expected)
        forms.append({"name": name, "text": data.hex(), "canonical": expected.hex()})

    def refuse(name, source, kind):
        data = source if isinstance(source, bytes) else source.encode("utf-8")
        refused.append({"name": name, "text": data.hex(), "kind": kind})

    # RFC 8785 sections 3.2.2 and 3.2.3, and the files of the canonicalization project it names.
    form("RFC 8785 values",
         '{\n  "numbers": [333333333.33333329, 1E30, 4.50,\n              2e-3, 0.000000000000000000000000001],\n'
         '  "string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/",\n  "literals": [null, true, false]\n}',
         '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
         '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}')
    form("RFC 8785 sorting",
         '{\n  "\\u20ac": "Euro Sign",\n  "\\r": "Carriage Return",\n  "\\ufb33": "Hebrew Letter Dalet With Dagesh",\n'
         '  "1": "One",\n  "\\ud83d\\ude00": "Emoji: Grinning Face",\n  "\\u0080": "Control",\n'
         '  "\\u00f6": "Latin Small Letter O With Diaeresis"\n}',
         '{"\\r":"Carriage Return","1":"One","\u0080":"Control","ö":"Latin Small Letter O With Diaeresis",'
         '"€":"Euro Sign","😀":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}')
    form("arrays.json", '[\n  56,\n  {\n    "d": true,\n    "10": null,\n    "1": [ ]\n  }\n]', '[56,{"1":[],"10":null,"d":true}]')
    form("french.json", '{\n  "peach": "This sorting order",\n  "péché": "is wrong according to French",\n'
         '  "pêche": "but canonicalization MUST",\n  "sin":   "ingnore locale"\n}\n',
         '{"peach":"This sorting order","péché":"is wrong according to French","pêche":"but canonicalization MUST",'
         '"sin":"ingnore locale"}')
    form("structures.json", '{\n  "1": {"f": {"f": "hi","F": 5} ,"\\n": 56.0},\n  "10": { },\n  "": "empty",\n'
         '  "a": { },\n  "111": [ { } ],\n  "A": { }\n}',
         '{"":"empty","1":{"\\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{}],"A":{},"a":{}}')
    form("unicode.json", '{\n  "Unnormalized Unicode":"\\u1e0d\\u0307"\n}\n', '{"Unnormalized Unicode":"\u1e0d\u0307"}')
    form("weird.json", '{\n  "\\u20ac": "Euro Sign",\n  "1": "One",\n  "\\u0080": "Control\\u007f",\n'
         '  "\\ud83d\\ude02": "Smiley",\n  "\\u00f6": "Latin Small Letter O With Diaeresis",\n'
         '  "\\ufb33": "Hebrew Letter Dalet With Dagesh",\n  "</script>": "Browser Challenge"\n}\n',
         '{"1":"One","</script>":"Browser Challenge","\u0080":"Control\u007f","ö":"Latin Small Letter O With Diaeresis",'
         '"€":"Euro Sign","😂":"Smiley","\ufb33":"Hebrew Letter Dalet With Dagesh"}')

    for text_ in ("null", "true", "false", "0", "1", "-1", "[]", "{}", '""', "9007199254740991", "-9007199254740991",
                  "1e+21", "1.5", "0.1", "-0.1", "0.000001", "1e-7", "123456789012345", "12345678901234.5", "5e-324",
                  "1.7976931348623157e+308", "1e+22", "1.2e+21", "9999999999999.99", "0.30000000000000004",
                  '"\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f"', '"\u007f\u0080\u2028\u2029\ufeff\uffff/"', '"\U0010ffff"',
                  '{"":0}', '{"a":1,"b":2}', '{"a":{"b":[]},"b":0}', '{"\ufffd":1,"\uffff":2}', '{"\U00010000":1,"\ue000":2}',
                  '{"\ud7ff":1,"\U0001f600":2,"\ufb33":3}', '{"A":1,"a":2}', '{"a":1,"aa":2,"b":3}', '{"\\n":1,"\\r":2}',
                  '{"\\t":1," ":2}', '{"\\"":1,"\\\\":2}', "[" * 64 + "]" * 64, '{"a":' * 63 + "{}" + "}" * 63,
                  "[1,2,3]", "[[],[]]", "[null,true,false]"):
        form("canonical already", text_)
    for text_, expected in (
            ("1.0", "1"), ("-0", "0"), ("-0.0", "0"), ("0e5", "0"), ("1E2", "100"), ("1e0", "1"), ("10e-1", "1"), ("1e21", "1e+21"),
            ("1E+21", "1e+21"), ("0.10", "0.1"), ("1.50", "1.5"), ("0.0000001", "1e-7"), ("1e-6", "0.000001"),
            ("100000000000000000000000.0", "1e+23"), ("1e-400", "0"), ("4.9e-324", "5e-324"), ("2.0e-1", "0.2"),
            ("0.1000000000000000055511151231257827", "0.1"), ("9007199254740991.0", "9007199254740991"),
            ("123456789.1234567891", "123456789.12345679"), ("1.0000000000000001", "1"),
            (" 1", "1"), ("1 ", "1"), ("\t[ 1 ,\r\n2 ]", "[1,2]"), ('{"a" :1}', '{"a":1}'),
            ('{"b":1,"a":2}', '{"a":2,"b":1}'), ('{"\ue000":1,"\U00010000":2}', '{"\U00010000":2,"\ue000":1}'),
            ('{"\\uffff":1,"\\ud83d\\ude00":2}', '{"😀":2,"\uffff":1}'),
            ('"\\/"', '"/"'), ('"\\u0041"', '"A"'), ('"\\u000A"', '"\\n"'), ('"\\u001F"', '"\\u001f"'), ('"\\u0008"', '"\\b"'),
            ('"\\u00e9"', '"é"'), ('"\\ud83d\\ude00"', '"😀"'), ('"\\uD83D\\uDE00"', '"😀"'), ('"\\u0022"', '"\\""'),
            ('"\\u005c"', '"\\\\"'), ('"\\u007f"', '"\u007f"'), ('{"\\u0061":1}', '{"a":1}')):
        form("another spelling", text_, expected)

    for text_, kind in (
            ("", "End"), (" ", "End"), ("[", "End"), ("[1", "End"), ("[1,", "End"), ("{", "End"), ('{"a"', "End"), ('{"a":', "End"),
            ('"', "End"), ('"a', "End"), ('"\\', "End"), ('"\\u00', "End"), ("tru", "End"), ("-", "End"), ("1.", "End"), ("1e", "End"),
            ("1e+", "End"), ("nul", "End"), ("]", "Syntax"), ("}", "Syntax"), (",", "Syntax"), ("[,]", "Syntax"), ("[1,]", "Syntax"),
            ("[1 2]", "Syntax"), ("{,}", "Syntax"), ('{"a":1,}', "Syntax"), ("{1:2}", "Syntax"), ("{a:1}", "Syntax"), ('{"a" 1}', "Syntax"),
            ("[1}", "Syntax"), ('{"a":1]', "Syntax"), ("True", "Syntax"), ("NaN", "Syntax"), ("Infinity", "Syntax"), ("-Infinity", "Syntax"),
            ("undefined", "Syntax"), ("'a'", "Syntax"), ("+1", "Syntax"), (".5", "Syntax"), ("1.e5", "Syntax"), ("-a", "Syntax"),
            ("\ufeff1", "Syntax"), ("\u00a01", "Syntax"), ("// c\n1", "Syntax"), ("\x0b1", "Syntax"), ("\0", "Syntax"),
            ("01", "Trailing"), ("-01", "Trailing"), ("00", "Trailing"), ("1 2", "Trailing"), ("{}{}", "Trailing"), ("1,", "Trailing"),
            ("nullx", "Trailing"), ("1.5.5", "Trailing"), ("0x10", "Trailing"), ("1_000", "Trailing"), ("[]]", "Trailing"), ("1\0", "Trailing"),
            ("9007199254740992", "IntegerRange"), ("-9007199254740992", "IntegerRange"), ("9007199254740993", "IntegerRange"),
            ("18446744073709551616", "IntegerRange"), ("1" + "0" * 400, "IntegerRange"), ("9007199254740992.0", "IntegerRange"),
            ("9007199254740991.9", "IntegerRange"), ("1e20", "IntegerRange"), ("-1e20", "IntegerRange"), ("1e16", "IntegerRange"),
            ("100000000000000000000.0", "IntegerRange"), ("999999999999999999999.0e0", "NONE"),
            ("1e400", "NumberRange"), ("-1e400", "NumberRange"), ("1" + "0" * 400 + ".0", "NumberRange"),
            ('"\\u0000"', "Nul"), ('{"\\u0000":1}', "Nul"), ('["a\\u0000b"]', "Nul"),
            ('"\\ud800"', "LoneSurrogate"), ('"\\udc00"', "LoneSurrogate"), ('"\\ud800\\u0041"', "LoneSurrogate"),
            ('"\\ud800\\ud800"', "LoneSurrogate"), ('"\\ud83dx"', "LoneSurrogate"), ('"\\ude00\\ud83d"', "LoneSurrogate"),
            ('{"\\ud800":1}', "LoneSurrogate"), ('"\\ud800\\n"', "LoneSurrogate"),
            ('"\0"', "Control"), ('"\n"', "Control"), ('"\t"', "Control"), ('"\x1f"', "Control"),
            ('"\\x41"', "Escape"), ('"\\a"', "Escape"), ('"\\\'"', "Escape"), ('"\\U0041"', "Escape"), ('"\\u004g"', "Escape"), ('"\\0"', "Escape"),
            ('"\\u+041"', "Escape"),
            ('{"a":1,"a":1}', "DuplicateKey"), ('{"a":1,"b":2,"a":3}', "DuplicateKey"), ('{"a":1,"\\u0061":2}', "DuplicateKey"),
            ('[{"x":{"a":1,"a":2}}]', "DuplicateKey"), ('{"":1,"":2}', "DuplicateKey"), ('{"\\n":1,"\\u000a":2}', "DuplicateKey"),
            ("[" * 65 + "]" * 65, "Depth"), ('{"a":' * 64 + "{}" + "}" * 64, "Depth"), ("[" * 1000, "Depth")):
        if kind != "NONE":
            refuse("", text_, kind)
    # 999999999999999999999.0 rounds up to 1e21, which has a canonical text.
    form("rounds up to 1e21", "999999999999999999999.0", "1e+21")
    for data in ("22ff22", "22c08022", "22eda08022", "22f490808022", "22e282", "7b22ff223a317d", "ff", "22c3"):
        refuse("not UTF-8", bytes.fromhex(data), "Utf8")
    return {"numbers": numbers, "forms": forms, "refused": refused}
