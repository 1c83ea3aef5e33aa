"""Checks what `tutelage prove DIR ROW_ID` printed, with nothing but Python: python verify_proof.py [proof.json]

The leaf is sha256(0x00, salt, row), the tree that of RFC 6962. A proof is worth what its root is worth: compare that
with the manifest.json that you trust.
"""

import hashlib
import json
import sys


def root_of(proof: dict) -> str:
    row = json.dumps(proof["row"], sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    salt = bytes.fromhex(proof["salt"])
    node = hashlib.sha256(b"\x00" + salt + row).digest()
    if proof["contract"] != "proof/1" or len(salt) != 16 or node.hex() != proof["leaf_sha256"]:
        raise ValueError("row and salt do not give the leaf")
    index, last = proof["leaf_index"], proof["tree_size"] - 1
    if not 0 <= index <= last:
        raise ValueError("the leaf is not in the tree")
    for sibling in map(bytes.fromhex, proof["path"]):
        if last == 0:
            raise ValueError("the path is too long for the tree")
        if index % 2 or index == last:
            node = hashlib.sha256(b"\x01" + sibling + node).digest()
            while index and index % 2 == 0:
                index, last = index // 2, last // 2
        else:
            node = hashlib.sha256(b"\x01" + node + sibling).digest()
        index, last = index // 2, last // 2
    if node.hex() != proof["root"] or last:
        raise ValueError("leaf and path do not give the root")
    place = f"leaf {proof['leaf_index']} of {proof['tree_size']}"
    return f"row {proof['row']['row_id']} is {place} under the root {node.hex()}"


if __name__ == "__main__":
    try:
        with open(sys.argv[1], encoding="utf-8") if sys.argv[1:] else sys.stdin as stream:
            print("proved:", root_of(json.load(stream)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        print("NOT proved:", error)
        sys.exit(1)
