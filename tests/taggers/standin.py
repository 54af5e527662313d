"""A tagger program as people run it every day: images in batches over HTTP, a JSON line for each.

``--fault`` makes it go wrong in one of the ways that such programs do.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import IO, Any

PROMPTS = {
    "caption": "Write one short caption.",
    "keywords": "Give a JSON object with an array named keywords.",
    "description": "Describe it. Caption: {caption}",
}


def main() -> None:
    options = arguments()
    pictures = sorted(path for path in options.input_dir.rglob("*") if path.is_file())
    print(f"{len(pictures)} pictures, api_key=sk-very-secret-value", flush=True)
    if options.fault == "exit":
        sys.exit("model 'x' is not there")
    if options.fault == "sleep":
        wait_forever(options.output_jsonl)
    if options.fault == "nothing":
        return
    with options.output_jsonl.open("w", encoding="utf-8") as output:
        if options.fault == "garbage":
            output.write("<html>502 Bad Gateway</html>\n{'single': 'quotes'}\n[1, 2]\n")
            return
        for start in range(0, len(pictures), options.batch_size):
            records = [record(options, path) for path in pictures[start : start + options.batch_size]]
            output.writelines(f"{json.dumps(line)}\n" for line in records)
            output.flush()
            print(f"batch of {len(records)}", flush=True)
            if options.fault == "slow":
                time.sleep(1.1)
            if options.fault == "die":
                sys.exit("RuntimeError: CUDA out of memory")
        add_faults(options, output)
    options.summary.write_text("# done\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("input-dir", "output-jsonl", "summary"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("base-url", "caption-model", "keyword-model", "description-model"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--fault", default="")
    return parser.parse_args()


def record(options: argparse.Namespace, path: Path) -> dict[str, Any]:
    start = time.perf_counter()
    picture = base64.b64encode(path.read_bytes()).decode()
    notes = ["no-meta: metadata skipped"]
    failing = options.fault == "stage" and path.name == "cat.jpg"
    caption = ask(options, options.caption_model, PROMPTS["caption"], picture)
    keywords = ask(options, options.keyword_model, PROMPTS["keywords"], picture)
    description = ask(
        options, options.description_model, PROMPTS["description"].format(caption=caption), picture
    )
    if failing:
        caption, notes = "", ["caption_error: HTTP 500 from the server", *notes]
    return {
        "image": str(path),
        "keywords": [{"keyword": word, "score": 1.0} for word in json.loads(keywords)["keywords"]],
        "caption": caption,
        "description": description,
        "metadata_written": False,
        "backend": "vllm",
        "models": {"caption": options.caption_model, "keywords": options.keyword_model},
        "notes": "; ".join(notes),
        "duration_seconds": time.perf_counter() - start,
        "schema_version": "1.0",
    }


def ask(options: argparse.Namespace, model: str, prompt: str, picture: str) -> str:
    url = {"url": f"data:image/jpeg;base64,{picture}"}
    content = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": url}]
    messages = [{"role": "user", "content": content}]
    fields = {"model": model, "messages": messages, "max_tokens": options.max_new_tokens, "temperature": 0}
    request = urllib.request.Request(
        f"{options.base_url}/chat/completions",
        json.dumps(fields).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        text: str = json.load(response)["choices"][0]["message"]["content"]
    return text


def add_faults(options: argparse.Namespace, output: IO[str]) -> None:
    lines = options.output_jsonl.read_text().splitlines() if options.fault in {"twice", "stranger"} else []
    if options.fault == "twice":
        output.write(f"{lines[0]}\n")
    if options.fault == "stranger":
        output.write(f"{json.dumps(json.loads(lines[0]) | {'image': 'somebody-else.jpg'})}\n")
    if options.fault == "huge":
        output.write(f'{{"image": "{"x" * 2_000_000}"}}\n')
    if options.fault == "late-exit":
        output.close()
        sys.exit(3)


def wait_forever(output: Path) -> None:
    """Start a child that ignores SIGTERM, write its process id beside the output, and hang."""
    ignore = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(99)"
    child = subprocess.Popen([sys.executable, "-c", ignore], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    output.with_name("pids").write_text(str(child.pid))
    print("hanging", flush=True)
    time.sleep(99)


if __name__ == "__main__":
    main()
