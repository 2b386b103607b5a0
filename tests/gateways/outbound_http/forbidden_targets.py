"""Targets that nothing may be sent to, in every form that somebody has got past a check with."""

import ipaddress
from collections.abc import Iterator

_SENSITIVE = ["127.0.0.1", "169.254.169.254", "10.1.2.3"]
_FULLWIDTH = str.maketrans("0123456789", "０１２３４５６７８９")
_CIRCLED = str.maketrans("123456789", "①②③④⑤⑥⑦⑧⑨")


def _forms_of_v4(text: str) -> Iterator[str]:
    address = ipaddress.IPv4Address(text)
    number, octets = int(address), list(address.packed)
    a, b, c, d = octets
    low, high = number & 0xFFFF, number >> 16
    yield text
    yield str(number)
    yield f"0{number:o}"
    yield f"0x{number:x}"
    yield f"0X{number:X}"
    yield f"0x{'0' * 40}{number:x}"
    yield str(number + 2**32)
    yield ".".join(f"0{octet:o}" for octet in octets)
    yield ".".join(f"{octet:04o}" for octet in octets)
    yield ".".join(f"0x{octet:x}" for octet in octets)
    yield ".".join(f"{octet:03d}" for octet in octets)
    yield f"0x{a:x}.{b}.0{c:o}.{d}"
    yield f"{a}.{number & 0xFFFFFF}"
    yield f"{a}.{b}.{low}"
    yield f"0x{a:x}.0x{number & 0xFFFFFF:x}"
    yield f"{a + 256}.{b}.{c}.{d}"
    yield f"{text}."
    yield f"{text}.."
    yield f".{text}"
    yield text.replace(".", "。")
    yield text.replace(".", "．")
    yield text.replace(".", "｡")
    yield text.replace(".", "%2e")
    yield text.replace(".", "%E3%80%82")
    yield text.translate(_FULLWIDTH)
    yield text.translate(_CIRCLED)
    yield f"%{ord(text[0]):x}{text[1:]}"
    yield f"{text}%00.example.com"
    yield f"{text}\0.example.com"
    yield f"[{text}]"
    yield f"[::ffff:{text}]"
    yield f"[::FFFF:{high:x}:{low:x}]"
    yield f"[0:0:0:0:0:ffff:{text}]"
    yield f"[::{text}]"
    yield f"[::ffff:0:{text}]"
    yield f"[64:ff9b::{text}]"
    yield f"[64:ff9b:1::{text}]"
    yield f"[2002:{high:x}:{low:x}::1]"
    yield f"[2001:0:{high:x}:{low:x}::1]"
    yield f"[2001:0:808:808:0:0:{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}]"
    yield f"user@{text}"
    yield f"hooks.example.com@{text}"
    yield f"hooks.example.com:443@{text}"
    yield f"hooks.example.com%40{text}"
    yield f"{text}\\@hooks.example.com"
    yield f"{text}#@hooks.example.com"
    yield f"hooks.example.com\\.{text}"
    yield f" {text}"
    yield f"{text} "
    yield f"\t{text}"
    yield f"{text[:3]}\n{text[3:]}"
    yield f"{text[:3]}\u00ad{text[3:]}"
    yield f"{text[:3]}\u200b{text[3:]}"


HOSTS = [
    *(form for text in _SENSITIVE for form in _forms_of_v4(text)),
    # Loopback and unspecified.
    "localhost",
    "LOCALHOST",
    "localhost.",
    "any.localhost",
    "loc\u00adalhost",
    "ⓛocalhost",
    "locaℓhost",
    "ｌｏｃａｌｈｏｓｔ",
    "localhost\u3002",
    "xn--n3h.localhost",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "0",
    "0x",
    "00",
    "0.0.0.0",
    "0.1.2.3",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::1%25lo]",
    "[::1%lo]",
    "[::0001]",
    "[::1",
    "::1",
    "[]",
    # Of the machine's surroundings.
    "10.0.0.0",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "169.254.0.1",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[febf::1]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd12:3456:789a::1]",
    # Metadata: AWS and most, containers there, Alibaba, Oracle, Azure; AWS and Google by IPv6.
    "169.254.170.2",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "[::ffff:168.63.129.16]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    # To nobody, or to many.
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.175.48.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "[100::1]",
    "[2001:2::1]",
    "[2001:10::1]",
    "[2001:20::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[4000::1]",
    "[5f00::1]",
    "[ff02::1]",
    "[ff0e::1]",
    # They carry public addresses, through who knows which gateway.
    "[64:ff9b::8.8.8.8]",
    "[64:ff9b:1::8.8.8.8]",
    "[2002:808:808::1]",
    "[2001:0:808:808::f7f7:f7f7]",
    "[::ffff:8.8.8.8]",
    "[::8.8.8.8]",
    # No host at all.
    "",
    ".",
    "..",
    "-",
    "a..example.com",
    "-a.example.com",
    "a-.example.com",
    f"{'a' * 64}.example.com",
    f"{'a.' * 127}com",
    "hooks.example.com.1",
    "hooks.example.com.0x1",
    "hooks,example.com",
    "hooks'example.com",
    "hooks.exam ple.com",
    "hooks.example.com\r\nX-Injected: 1",
    "[v1.example]",
    "[8.8.8.8]",
    "[1:2:3]",
]

URLS = [
    "",
    "hooks.example.com",
    "//hooks.example.com/",
    "ftp://hooks.example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
    "javascript://hooks.example.com/",
    "http:/127.0.0.1/",
    "http:127.0.0.1/",
    "http:///127.0.0.1/",
    "http:\\\\127.0.0.1\\",
    "http://\\127.0.0.1/",
    "ht\ttp://127.0.0.1/",
    " http://127.0.0.1/",
    "\x00http://127.0.0.1/",
    "http://127.0.0.1",
    "http://127.0.0.1?x=1",
    "http://127.0.0.1#hooks.example.com/",
    "http://127.0.0.1:80/",
    "http://user:password@hooks.example.com/",
    "http://@hooks.example.com/",
    "http://:@hooks.example.com/",
    "http://hooks.example.com:/",
    "http://hooks.example.com:0/",
    "http://hooks.example.com:00000/",
    "http://hooks.example.com:65536/",
    "http://hooks.example.com:99999/",
    "http://hooks.example.com:-1/",
    "http://hooks.example.com:+80/",
    "http://hooks.example.com:0x50/",
    "http://hooks.example.com:８０/",
    "http://hooks.example.com:80:80/",
    "http://hooks.example.com:80 /",
    "http://hooks.example.com/#fragment",
    "http://hooks.example.com/a path",
    "http://hooks.example.com/a\tpath",
    "http://hooks.example.com/\r\nX-Injected: 1",
    "http://hooks.example.com/ HTTP/1.1\r\nHost: other",
    "http://hooks.example.com/ä",
    "http://hooks.example.com/\x7f",
    "http://[::1]:80/",
    "http://[::1]x/",
    "http://[::1][::1]/",
    "http://[[::1]]/",
]

FORBIDDEN = list(dict.fromkeys([*(f"http://{host}/" for host in HOSTS), *URLS]))
