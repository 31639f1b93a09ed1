#!/usr/bin/env bash
# s3fs 2026.9.0: a glob over S3 loses objects whose key holds "//", and finds nothing beside a key that is also a prefix.
#
# Both are valid keys of S3, and list_objects_v2 names them. glob("bucket/a/**/*.jsonl") returns a/c.jsonl and not
# a//b.jsonl. With the keys "data", "data/x.jsonl", "d2.jsonl" and "d2.jsonl/p.jsonl", glob("bucket/*", detail=True)
# returns no file at all: each name is taken for the folder of its own name. A job that lists its corpus so reads less
# than there is, without a word.
# Seen: against moto 5.2.5 on this machine.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check s3fs==2026.9.0 'moto[server]==5.2.5' boto3
"$folder/venv/bin/python" - <<'PY'
import os
os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-east-1")
import boto3
import s3fs
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(port=0)
server.start()
host, port = server.get_host_and_port()
endpoint = f"http://{host}:{port}"
client = boto3.client("s3", endpoint_url=endpoint)
for bucket, keys in {"one": ["a//b.jsonl", "a/c.jsonl"], "two": ["data", "data/x.jsonl", "d2.jsonl", "d2.jsonl/p.jsonl"]}.items():
    client.create_bucket(Bucket=bucket)
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=b"{}")
files = s3fs.S3FileSystem(client_kwargs={"endpoint_url": endpoint})
deep = files.glob("one/a/**/*.jsonl")
found = [name for name, entry in files.glob("two/*", detail=True).items() if entry["type"] == "file"]
print("s3fs", s3fs.__version__, "one/a/**/*.jsonl:", deep, "files in two/*:", found)
server.stop()
assert deep == ["one/a/c.jsonl"] and found == []
PY
