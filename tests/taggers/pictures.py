"""A tagger without a server: it records which files it was given, in one of the forms that records have."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

images, output, form = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
files = sorted(path for path in images.rglob("*") if path.is_file())
with output.open("w", encoding="utf-8") as records:
    for path in files:
        subject = path.relative_to(images).with_suffix("").as_posix().replace("/", " ")
        record = {
            "image": path.relative_to(images).as_posix() if form == "names" else str(path),
            "caption": f"A {subject} in the morning.",
            "keywords": [subject, "morning", "photograph"],
            "description": f"A {subject} stands in the morning light. It is calm.",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        if form == "leak":
            record["notes"] = f"caption_error: the key {os.environ['MY_KEY']} was refused"
            print(record["notes"])
        path.write_bytes(b"overwritten")
        records.write(f"{json.dumps(record)}\n")
