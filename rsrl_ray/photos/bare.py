"""Removes from a picture's bytes what has no effect on its pixels: text, colour profiles, comments, previews."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf")
_JPEG = b"\xff\xd8"
_JFIF, _EXIF, _ADOBE, _COMMENT, _SCAN = 0xE0, 0xE1, 0xEE, 0xFE, 0xDA
_APPLICATION = range(0xE0, 0xF0)


def bare_picture(data: bytes) -> bytes:
    """A PNG or JPEG with its pixels and EXIF only; other bytes stay as they are."""
    if data.startswith(_PNG):
        return _bare_png(data)
    return _bare_jpeg(data) if data.startswith(_JPEG) else data


def _bare_png(data: bytes) -> bytes:
    parts, start = [_PNG], len(_PNG)
    while start + 12 <= len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        stop = start + 12 + length  # length, kind and checksum take four bytes each
        if data[start + 4 : start + 8] in _PNG_CHUNKS:
            parts.append(data[start:stop])
        start = stop
    return b"".join([*parts, data[start:]])


def _bare_jpeg(data: bytes) -> bytes:
    """Only segments before the first scan are removed. Pixels begin with the first scan."""
    parts, start = [_JPEG], len(_JPEG)
    while start + 4 <= len(data) and data[start] == 0xFF and data[start + 1] != _SCAN:
        kind, stop = data[start + 1], start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        name, whole = data[start + 4 : start + 8], stop - start >= 18
        drawn = kind == _ADOBE or (kind, name, whole) in ((_JFIF, b"JFIF", True), (_EXIF, b"Exif", True))
        if drawn or kind not in (*_APPLICATION, _COMMENT):
            parts.append(data[start:stop])
        start = stop
    return b"".join([*parts, data[start:]])
