"""A rule with a fault, to see that one is found: no input but one that begins with these letters comes upon it."""


def harmless(data: bytes) -> bool:
    if data[:1] != b"H":
        return True
    if data[1:2] != b"U":
        return True
    return data[2:3] != b"B"
