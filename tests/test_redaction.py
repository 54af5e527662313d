"""What is hidden and what stays: secrets in commands, JSON, URLs, variables, headers, logs and prose."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from pytest_setups.config.options import OPTIONS
from pytest_setups.redaction import (
    HIDDEN,
    Redactor,
    command_secrets,
    environment_secrets,
    is_secret_name,
    json_secrets,
    redact,
    redact_command,
    redact_json,
    redact_url,
    redact_words,
    url_secrets,
)
from pytest_setups.registry.entry import Entry

S = "Tr0ub4dor"
"""Stands for a secret in the tables."""
T = "cor3rect"
"""Stands for a second one."""

SECRET_COMMANDS = [
    f"vllm serve m --api-key {S}",
    f"vllm serve m --api-key={S}",
    f"vllm serve m --api_key {S}",
    f"vllm serve m --api-key '{S} {T}'",
    f'vllm serve m --api-key "{S} {T}" --port 1',
    f"vllm serve m --api-key {S},{T}",
    f"vllm serve m --api-key={S},{T} --port 1",
    f"vllm serve m --api-key {S} {T}",
    f"vllm serve m --api-key {S} {T} --port 1",
    f"lmdeploy serve api_server m --api-keys {S} {T}",
    f"vllm serve m --skip-special-tokens --api-key {S}",
    f"my-tagger --skip-special-tokens --api-key {S} in.jpg",
    f"my-tagger --key {S}",
    f"my-tagger --auth {S}",
    f"my-tagger --auth basic {S}",
    f"my-tagger --auth=Bearer={S}",
    f"my-tagger --passphrase {S}",
    f"my-tagger --pat {S}",
    f"my-tagger --pass {S}",
    f"my-tagger --access-key {S}",
    f"my-tagger --apikey:{S}",
    f"my-tagger -apikey {S}",
    f"my-tagger -token={S}",
    f"my-tagger --session {S}",
    f"my-tagger --client-secret {S}",
    f"my-tagger --client.secret={S}",
    f"my-tagger -k {S}",
    f"my-tagger -k {S} {{images}} {{output}}",
    f"my-tagger -p {S}",
    f"my-tagger -p{S}",
    f"my-tagger -p={S}",
    f"mysql -uroot -p{S}",
    "mysql -pswordfish -uroot",
    "sshpass -p swordfish ssh host",
    f"sshpass -p {S} ssh host vllm serve m",
    f"sshpass -p{S} ssh host",
    f"SSHPASS={S} sshpass -e ssh host",
    f"curl -u user:{S} http://localhost/v1",
    f"curl -u '{S}:' http://localhost/v1",
    f"curl -uuser:{S} http://localhost/v1",
    f"curl -sSku user:{S} http://localhost/v1",
    f"curl --user user:{S} http://localhost/v1",
    f"curl --user=user:{S} http://localhost/v1",
    f"curl --proxy-user ann:{S} http://localhost/v1",
    f"curl -x ann:{S}@proxy:3128 http://localhost/v1",
    f"curl -b session={S} http://localhost/v1",
    f"curl -H 'Authorization: Token {S}' http://localhost/v1",
    f"curl -H 'Authorization: Bearer {S}' http://localhost/v1",
    f"curl -H 'Authorization: {S}' http://localhost/v1",
    f"curl -H 'Authorization: Foo {S}' http://localhost/v1",
    f'curl -H "X-Api-Key: {S}" http://localhost/v1',
    f"curl -HX-Api-Key:{S} http://localhost/v1",
    f"curl --header=X-Auth-Token:{S} http://localhost/v1",
    f"curl -H 'Cookie: a={S}; b={T}' http://localhost/v1",
    f"curl -H Authorization:\\ Token\\ {S} http://localhost/v1",
    f"http :8000 Authorization:'Token {S}'",
    f"Authorization: Token {S}",
    f"Authorization: --auth {S}",
    f"Authorization: ; my-tagger --auth {S}",
    f"curl 'http://localhost/v1?X-Amz-Signature={S}&x=1'",
    f"curl http://user:{S}@localhost/v1",
    f"curl 'http://user:a/{S}@localhost/v1'",
    f"""curl -d '{{"api_key": "{S}"}}' http://localhost/v1""",
    f'curl -d "{{\\"api_key\\": \\"{S}\\"}}" http://localhost/v1',
    f"curl -d 'a=1&api_key={S}' http://localhost/v1",
    f"my-server --headers {{X-Mine:{S}}}",
    f"AUTH={S} my-server",
    f"PASS={S} my-server",
    f"AWS_ACCESS_KEY_ID={S} AWS_SECRET_ACCESS_KEY={T} my-server",
    f"export VLLM_API_KEY='{S}'; vllm serve m",
    f"env HF_TOKEN={S} vllm serve m",
    f"OTEL_EXPORTER_OTLP_HEADERS=authorization={S} vllm serve m",
    f"docker run -e HF_TOKEN={S} -eOPENAI_API_KEY={T} -p 8000:8000 vllm/vllm-openai",
    f"docker run --env HF_TOKEN={S} img",
    f"docker login -u me -p {S}",
    f"bash -c 'vllm serve m --api-key {S}'",
    f"""bash -c "cd /srv && vllm serve m --api-key '{S}'" """,
    f"ssh host 'bash -c \"vllm serve m --api-key {S}\"'",
    f"vllm serve m --api-key $(echo --token {S})",
    f"vllm serve m \\\n  --api-key \\\n  {S}",
    f"vllm serve m --api-key '{S}",
    f"vllm serve m --note 'open --api-key {S}",
    f'vllm serve m --note "it\'s" --api-key {S}',
    f"""vllm serve m --extra '{{"private_key": "{S}", "a": ["b"]}}'""",
    f"""vllm serve m --extra '{{"api_keys": ["{S}", "{T}"]}}'""",
    f"""vllm serve m --extra={{"headers":{{"X-Mine":"{S}"}}}}""",
    f"""vllm serve m --extra "{{'api_keys': ['{S}', '{T}']}}" """,
    f"llama-server -m m.gguf -hft {S}",
    f"""pytest '--setup-extra-body={{"auth": "{S}"}}' --setup-base-url http://ann:{T}@localhost/v1""",
    f"pytest --setup-launch 'VLLM_API_KEY={S} vllm serve m --api-key {T}' --record",
    shlex.join(
        ["pytest", f"--setup-server-command=vllm serve m --api-key '{S} x' --y '{{\"token\": \"{T}\"}}'"]
    ),
    f"vllm serve m --api-key '$ecret{S}'",
    f"vllm serve m --api-key ${{KEY:-{S}}}",
    f"vllm serve m --hf-token hf_{S}abcdefghijklmnopqrstuvwxyz1234",
    f"vllm serve m sk-proj-{S}abcdefghijklmnopqrstuvwxyz",
    f"vllm serve m --api-key {S} > log 2>&1 &",
    f"vllm serve m --api-key {S}; curl -H 'Authorization: Bearer {T}' x | tee log",
    f"vllm serve m --api-key {S}# --y",
    f"vllm serve m # --api-key {S} isn't needed",
]

SECRET_TEXTS = [
    f"api_key={S}",
    f"api_key = '{S}'",
    f"api_key='{S} {T}'",
    f"API key: {S}",
    f"GET /v1?X-Amz-Signature={S}&x=1",
    f"?X-Amz-Signature={S}",
    f"https://bucket/x?X-Amz-Credential={S}&X-Amz-Signature={T}",
    f"https://host/x?sig={S}",
    f"https://host/x?a=b&key={S}#access_token={T}",
    f"https://host/x#access_token={S}",
    f"https://ann:{S}@host/x",
    f"proxy http://ann:{S}@host:3128 refused",
    f"proxy ann:{S}@host:3128 refused",
    f"Authorization: Token {S}",
    f"authorization: Bearer {S}.",
    f'headers: {{"Authorization": "Bearer {S}"}}',
    f"Authorization: Digest username=ann, response={S}",
    f"Proxy-Authorization: Basic {S}",
    f"Cookie: a={S}; b={T}",
    f"Set-Cookie: session={S}; HttpOnly",
    f"X-Api-Key: {S}",
    f"caption_error: Bearer {S}1234",
    f"non-default args: {{'model': 'm', 'api_key': ['{S}', '{T}'], 'port': 1}}",
    f"args: Namespace(model='m', api_key=['{S}', '{T}'], hf_token='{S}')",
    f'{{"api_keys": ["{S}"]}}',
    f'{{"api_keys": [\n "{S}",\n "{T}"\n]}}',
    f'{{"api_keys": {{"a": ["{S}"], "b": {{"c": "]{T}"}}}}}}',
    f'{{"api_key": "{S}',
    f'{{"api_keys": ["{S}", "{T}',
    f'{{"auth": "{S}"}}',
    f'{{"password": "a\\"{S}"}}',
    f'{{"text": "{{\\"api_key\\": \\"{S}\\"}}"}}',
    f'{{"key": {S}}}',
    f"auth: {S}",
    f"token: {S}, retry",
    f"password: {S}",
    f"curl -u ann:{S} http://localhost/v1 failed",
    f"curl --user ann:{S} failed",
    f"start it with --api-key {S} and --port 1",
    f"start it with --api-key {S},{T}",
    f"HF_TOKEN={S} TOKEN={T} curl -H 'X-Api-Key: {S}'",
    f"the key sk-proj-{S}abcdefghijklmnopqrst is wrong",
    f"Incorrect: hf_{S}bcdefghijklmnopqrstuvwxyzABC",
    f"ghp_{S}abcdefghijklmnopqrstuvwxyz0123",
    f"github_pat_11ABC{S}_abcdefghijklmnop",
    f"xoxb-123456-{S}",
    "AKIAIOSFODNN7EXAMPLE",
    f"eyJhbGciOiJIUzI1NiJ9.eyJ{S}abcdefg.{T}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{S}\n{T}\n-----END RSA PRIVATE KEY-----\n",
    f"-----BEGIN PRIVATE KEY-----\n{S}\n",
]

SHAPES = ("sk-", "hf_", "ghp_", "github_pat_", "xox", "eyJ")
"""Tokens that are known by what they consist of."""

NAMES_THAT_HIDE = """
    api_key apiKey APIKey X-Api-Key OPENAI_API_KEY API_KEY_2 api_keys apikey api-keys key keys auth
    authorization Authorization Proxy-Authorization pwd passwd password passphrase PGPASSWORD MYSQL_PWD
    SSHPASS cookie bearer Set-Cookie private_key access_key AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
    AWS_SESSION_TOKEN client_secret secret secrets token HF_TOKEN hf-token hftoken access_tokens
    credential credentials session sessionid sig signature X-Amz-Signature X-Amz-Credential
    X-Amz-Security-Token X-Auth PAT GITHUB_PAT pass jwt use_auth_token ssl-keyfile-password
    LITELLM_MASTER_KEY Ocp-Apim-Subscription-Key admin-api-key
"""

NAMES_THAT_STAY = """
    keywords keyword key_frames keyframes max_tokens max-tokens max_new_tokens max-num-batched-tokens
    tokens prompt_tokens output_tokens tokens-only tokenizer tokenizer-mode tokenizer_config
    token-healing skip-special-tokens key-cache-dtype cache-type-k api-key-file ssl-keyfile ssl-certfile
    HF_TOKEN_PATH setup-api-key-env allow-credentials HF_HUB_DISABLE_IMPLICIT_TOKEN eos_token bos_token
    image_token one-token time_to_first_token token_ids session-len monkey author passthrough compass
    design signal patch path pattern public_key sort_key model port no-auth TOKENIZERS_PARALLELISM
    SSH_AUTH_SOCK XDG_SESSION_TYPE tokenizer.ggml.add_bos_token api-key-header password-stdin
"""

PLAIN_COMMANDS = [
    "vllm serve org/m --max-tokens 256 --max-num-batched-tokens 8192 --tokenizer-mode auto --tokenizer org/t",
    "vllm serve org/m --token-healing --skip-special-tokens --tokens-only org/m",
    "vllm serve org/m --key-cache-dtype fp8 --allow-credentials --api-key-file /run/key --ssl-keyfile /k.pem",
    "vllm serve org/m -tp 2 -pp 4 -O3 --limit-mm-per-prompt '{\"image\": 2}'",
    "llama-server -m m.gguf --cache-type-k q8_0 -ctk q8_0 --port 8090 -ngl -1 -np 4 -p prompt",
    "llama-server -m m.gguf --override-kv tokenizer.ggml.add_bos_token=bool:false --ssl-key-file k.pem",
    "docker run -d -p 24001:8000 -p 127.0.0.1:24001:8000/tcp -u 1000:1000 --user 1000:1000 vllm/vllm-openai",
    "docker run vllm/vllm-openai:v1@sha256:0123456789abcdef0123456789abcdef --model org/m",
    "text-generation-launcher --model-id org/m -p 8081",
    "my-server -p 8000:8000 -p8000 -port 8000 -path x -k 5s",
    "uv run -p 3.12 --with 'vllm>=0.9' -- vllm serve org/m",
    "uvx -p python3.12 vllm serve org/m",
    "timeout -k 5 600 numactl -p 0 vllm serve org/m",
    "conda run -n serving -p /opt/env vllm serve org/m",
    "mkdir -p logs && curl -k https://localhost:8000/v1/models",
    "curl -k https://localhost:8000/v1 -u ann",
    "curl -k --cert c.pem --key /etc/ssl/client.key https://localhost:8000/v1",
    "curl -k localhost:8000/health",
    "sudo -u ann env -u NAME python -u script.py",
    "pytest -p no:cacheprovider -k 'cat and not dog' --setup-api-key-env MY_KEY --setup-base-url http://h:1/v1",
    "python -m pytest -k caption -p xdist",
    'VLLM_API_KEY=$VLLM_API_KEY vllm serve m --api-key "$KEY" --hf-token ${HF_TOKEN}',
    "export LITELLM_MASTER_KEY=$(openssl rand -hex 32)",
    'export LITELLM_MASTER_KEY="$(openssl rand -hex 32)" && litellm --config c.yaml',
    "vllm serve m --api-key --port 8000",
    "vllm serve m --api-key <your-key> --host 0.0.0.0",
    "  nohup  vllm serve 'org/m' \\\n   --x \"a $b\"  > log 2>&1 &  # it's the big one\n",
    "PWD=/srv vllm serve m",
    "vllm serve m --extra '{\"private_key\": ...}'",
    "my-tagger --key-frames 5 --keywords a,b --keyword-model m --images {images} {output}",
    "python tag.py '--prompt=Describe the token: be short' --note \"the key is in the file\"",
    "vllm serve gemma-sk-vision-4b --served-model-name hf_internal-tiny",
    "vllm serve m --api-key [hidden]",
    "",
    "   ",
    "C:\\models\\llama-server.exe -m C:\\models\\m.gguf",
    "vllm serve 'open --port 1",
]

PLAIN_TEXTS = [
    "export LITELLM_MASTER_KEY=$(openssl rand -hex 32)",
    "`LITELLM_MASTER_KEY`=`openssl rand -hex 32`",
    "Set `LITELLM_MASTER_KEY` first: export LITELLM_MASTER_KEY=$(openssl rand -hex 32), then start it again",
    "set OPENAI_API_KEY=<your key> or OPENAI_API_KEY=sk-... or api_key=your-api-key",
    "pass --api-key to the server, or give --token and --port",
    "put a key into an environment variable: --setup-api-key-env NAME",
    "invalid token: expected a string; the key is missing; password: required",
    "it was recorded without its secret: give the whole command with --setup-launch",
    'words that follow "token:" or "--api-key" in a sentence',
    "auth: failed for the user; session: 5 images; token: not set",
    "No api_key passed in. Authentication Error, basic authentication required, bearer token is missing",
    "WWW-Authenticate: Bearer realm",
    "gemma-sk-vision-4b and hf_internal-tiny and sk-learn-vision-model and sk-learn-vision-7b-instruct-2024",
    "hf-internal-testing/tiny-random-LlamaForCausalLM",
    "task-sk-abcdefghijklmnop1234567890 my_hf_abcdefghijklmnopqrstuvwxyz12",
    '{"keywords": ["acanthus", "key"], "key_frames": 3, "max_tokens": 9, "tokenizer": "t", "tokens": [1]}',
    'raise --setup-max-new-tokens; one-token: "!" 200 times; tokens: 256; template-tokens: <|im_end|>',
    "prompt tokens: 44, output tokens: 7, tokens/s: 31.5",
    "Today: a boat on the sea. Subject: key lime pie; signature dish: paella",
    "the caption of cat.jpg: HTTP 401: missing key",
    "http://localhost:8000/v1/models?limit=5&page=2#top",
    "http://localhost:8000/v1 answers; add --setup-base-url http://127.0.0.1:PORT/v1",
    "mail ann@example.org, git@github.com:org/repo.git, 12:30@noon",
    "vllm/vllm-openai:v1@sha256:0123456789abcdef0123456789abcdef",
    "{%- set image_token = '<image>' %}{{ bos_token }}{% for key, value in m.items() %}{{ key }}{% endfor %}",
    "api_key=None, auth=None, token=null, password=''",
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
]


@pytest.mark.parametrize("command", SECRET_COMMANDS)
def test_no_secret_stays_in_a_command(command: str) -> None:
    shown = redact_command(command)

    assert HIDDEN in shown
    gone(shown, command)
    gone(json.dumps(redact_words(shlex.split(command))) if readable(command) else "", command)


@pytest.mark.parametrize(
    "secrets", [("swordfish", "opensesame"), ("SWORDFISH", "OPENSESAME"), ("q.w_e+1", "x-y~z")]
)
def test_a_secret_may_look_like_anything(secrets: tuple[str, str]) -> None:
    tables = [(redact_command, SECRET_COMMANDS), (redact, SECRET_TEXTS)]
    left = [
        text
        for hide, texts in tables
        for text in texts
        if not any(shape in text for shape in SHAPES)
        for shown in [hide(text.replace(S, secrets[0]).replace(T, secrets[1]))]
        if (S in text and secrets[0] in shown) or (T in text and secrets[1] in shown)
    ]

    assert left == []


def test_a_number_may_be_a_password() -> None:
    assert redact_command("sshpass -p 1234 ssh -p 22 host") == "sshpass -p [hidden] ssh -p 22 host"
    assert redact_command("mysql -p1234") == "mysql -p[hidden]"
    assert redact_command("x -p 24001 -k 12345678 --api-key 1 87654321") == (
        "x -p 24001 -k [hidden] --api-key [hidden] [hidden]"
    )


@pytest.mark.parametrize("command", SECRET_COMMANDS)
def test_what_was_hidden_once_is_left_as_it_is(command: str) -> None:
    shown = redact_command(command)

    assert redact_command(shown) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_no_secret_stays_in_free_text(text: str) -> None:
    shown = redact(text)

    assert HIDDEN in shown
    gone(shown, text)
    assert redact(shown) == shown


@pytest.mark.parametrize("text", SECRET_TEXTS)
@pytest.mark.parametrize("frame", ["vLLM said: {}", "({})", "a 'b' {}\nand more text", "{}\n\n"])
def test_no_secret_stays_whatever_stands_around_it(text: str, frame: str) -> None:
    gone(redact(frame.replace("{}", text)), text)


@pytest.mark.parametrize("command", PLAIN_COMMANDS)
def test_a_command_without_secrets_stays_as_it_is(command: str) -> None:
    assert redact_command(command) == command
    assert redact(command) == command
    if readable(command):
        assert redact_words(shlex.split(command)) == shlex.split(command)


@pytest.mark.parametrize("text", PLAIN_TEXTS)
def test_prose_and_names_stay_as_they_are(text: str) -> None:
    assert redact(text) == text
    assert redact_json({"text": [text]}) == {"text": [text]}


@pytest.mark.parametrize("name", NAMES_THAT_HIDE.split())
def test_a_secret_name_hides_wherever_it_stands(name: str) -> None:
    assert is_secret_name(name)
    assert is_secret_name(f"--{name}")
    assert redact_json({name: S}) == {name: HIDDEN}
    assert redact_json({"a": {name: [S, {"b": T}]}}) == {"a": {name: HIDDEN}}
    assert redact_command(f"x --{name} {S}") == f"x --{name} {HIDDEN}"
    assert redact_command(f"x --{name}={S}") == f"x --{name}={HIDDEN}"
    assert redact_command(f"{name.replace('-', '_')}={S} x") == f"{name.replace('-', '_')}={HIDDEN} x"
    assert redact_command(f"x -H '{name}: {S}'") == f"x -H '{name}: {HIDDEN}'"
    assert redact_url(f"http://host/?a=1&{name}={S}&b=2") == f"http://host/?a=1&{name}={HIDDEN}&b=2"
    assert redact(f"{name}={S}") == f"{name}={HIDDEN}"
    assert redact(f'{{"{name}": "{S}"}}') == f'{{"{name}": "{HIDDEN}"}}'
    assert redact(f'{{"{name}": ["{S}"]}}') == f'{{"{name}": "{HIDDEN}"}}'
    assert redact(f"--{name} {S} --port 1") == f"--{name} {HIDDEN} --port 1"
    assert environment_secrets({name: S, "A": T}) == (S,)


@pytest.mark.parametrize("name", NAMES_THAT_STAY.split())
def test_a_plain_name_hides_nowhere(name: str) -> None:
    assert not is_secret_name(name)
    for text in (
        f"--{name} {S}",
        f"--{name}={S}",
        f"{name}={S}",
        f'{{"{name}": ["{S}"]}}',
        f"http://h/?{name}={S}",
    ):
        assert (redact(text), redact_command(text), redact_url(text)) == (text, text, text)
    assert redact_json({name: S, "x": {name: [S]}}) == {name: S, "x": {name: [S]}}
    assert environment_secrets({name: S}) == ()


def test_no_name_of_ours_is_a_secret_name() -> None:
    fields = set(names_in(Entry.model_json_schema()))

    assert {"max_new_tokens", "flags"} <= fields
    assert [name for name in fields | {option.name for option in OPTIONS} if is_secret_name(name)] == []


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (
            "VLLM_API_KEY='a b' serve --api-key 'c d' --x 1",
            "VLLM_API_KEY=[hidden] serve --api-key [hidden] --x 1",
        ),
        ("a  -H 'X-Api-Key: b'  'c d'", "a  -H 'X-Api-Key: [hidden]'  'c d'"),
        ('a -H "Authorization: Bearer b1" "$c"', 'a -H "Authorization: Bearer [hidden]" "$c"'),
        (
            """a --x '{"api_key": "b", "c": [1, 2.50]}'""",
            """a --x '{"api_key": "[hidden]", "c": [1, 2.5]}'""",
        ),
        ("""a --x={"api_key":"b","c":1}""", """a --x={"api_key":"[hidden]","c":1}"""),
        (
            'a --x "{\\"token\\": \\"b\\", \\"c\\": \\"$d\\"}"',
            'a --x "{\\"token\\": \\"[hidden]\\", \\"c\\": \\"$d\\"}"',
        ),
        ("bash -c 'a --key b && c'", "bash -c 'a --key [hidden] && c'"),
        ("""bash -c "a --key 'b' \\$C $D" """, """bash -c "a --key [hidden] \\$C $D" """),
        ("curl http://a:b@c/v1?key=d&e=f", "curl http://[hidden]@c/v1?key=[hidden]&e=f"),
        ("vllm serve m --api-key a,b c --port 1", "vllm serve m --api-key [hidden] [hidden] --port 1"),
        ("curl -u ann:b1 http://h", "curl -u [hidden] http://h"),
        ("sshpass -p a ssh -p 22 h", "sshpass -p [hidden] ssh -p 22 h"),
    ],
)
def test_the_rest_of_a_command_stays_as_it_was_typed(command: str, shown: str) -> None:
    assert redact_command(command) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Authorization: Bearer {S} was refused", "Authorization: Bearer [hidden] was refused"),
        (f"at https://ann:{S}@h:1/v1?key={S}&m=x.", "at https://[hidden]@h:1/v1?key=[hidden]&m=x."),
        (f'{{"api_keys": ["{S}"], "port": 1}}', '{"api_keys": "[hidden]", "port": 1}'),
        (f"(api_key={S}) and (port=1)", "(api_key=[hidden]) and (port=1)"),
        (f"args: {{'api_key': ['{S}'], 'port': 1}}", "args: {'api_key': '[hidden]', 'port': 1}"),
        (f'a "X-Api-Key: {S}" b', 'a "X-Api-Key: [hidden]" b'),
        (f"HF_TOKEN={S}, PORT=1", "HF_TOKEN=[hidden], PORT=1"),
    ],
)
def test_the_rest_of_a_text_stays(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_truth_values_and_nothing_are_no_secrets() -> None:
    value: dict[str, Any] = {"api_key": None, "auth": True, "token": "", "keys": [], "password": {}}

    assert redact_json(value) == value


def test_of_unknown_headers_only_the_names_stay() -> None:
    value = {"extra_headers": {"X-Mine": S, "Content-Type": "application/json"}, "headers": [f"X-Mine: {S}"]}

    assert redact_json(value) == {
        "extra_headers": {"X-Mine": HIDDEN, "Content-Type": "application/json"},
        "headers": [f"X-Mine: {HIDDEN}"],
    }


@pytest.mark.parametrize(
    "secret",
    ["opensesame-123", "plainly-a-key", "s3cretvalue", 'a"b\\c%d e', "correct horse", "Ünïcödé-1234"],
)
@pytest.mark.parametrize(
    "frame",
    [
        "{}",
        "wrong key {}.",
        "key='{}'",
        "({})",
        "at /{}/x",
        "a,{},b",
        "said:\\n{}\\n",
        "{}-model",
    ],
)
def test_a_given_secret_is_hidden_wherever_it_stands(secret: str, frame: str) -> None:
    assert redact(frame.format(secret), secret) == frame.format(HIDDEN)
    quoted = json.dumps({"error": frame.format(secret)})
    assert redact(quoted, secret) == json.dumps({"error": frame.format(HIDDEN)})


def test_a_given_secret_is_hidden_where_a_url_has_it_encoded() -> None:
    assert redact("GET /x%22opensesame-123%22 and %22a%26b%3Dcdefg%22", "opensesame-123", "a&b=cdefg") == (
        "GET /x%22[hidden]%22 and %22[hidden]%22"
    )


@pytest.mark.parametrize(
    "secret", ["vllm", "ollama", "m", "success", "caption", "keywords", "lm-studio", "abc123"]
)
def test_a_short_or_common_key_tears_no_words_apart(secret: str) -> None:
    text = "success: vllm 0.1 and ollama made a caption and keywords of abc123 with lm-studio (m)"

    assert redact(text, secret) == text
    assert redact_command(f"vllm serve m --api-key {secret}", secret) == "vllm serve m --api-key [hidden]"


def test_a_key_that_is_a_word_is_hidden_as_a_word() -> None:
    assert redact("acanthus, acanthuses and bacanthus", "acanthus") == "[hidden], acanthuses and bacanthus"


def test_secrets_are_collected_from_where_they_stand() -> None:
    environ = {
        "HF_TOKEN": "hf_value-of-it",
        "http_proxy": "http://ann:pass%20word@host",
        "SHORT_KEY": "abc",
        "TLS_KEY": "/etc/ssl/private/host.pem",
        "PWD": "/home/ann/photos",
        "LM_API_KEY": "lm-studio",
        "A_KEY": "$OTHER",
        "HOME": "/home/ann",
    }

    secrets = environment_secrets(environ)

    assert {"hf_value-of-it", "pass%20word", "pass word"} <= set(secrets)
    assert not {"abc", "/etc/ssl/private/host.pem", "/home/ann/photos", "lm-studio", "$OTHER"} & set(secrets)
    assert redact("Basic YW5uOnBhc3Mgd29yZA== was refused", *secrets) == "Basic [hidden] was refused"
    assert url_secrets("http://ann:short@h/?token=longenough") == ("YW5uOnNob3J0", "longenough")
    assert command_secrets(
        "X_KEY='a long key' serve --api-key first-one,second-one third-one -u ann:fourth-one"
    ) == (
        "a long key",
        "first-one,second-one",
        "first-one",
        "second-one",
        "third-one",
        "ann:fourth-one",
        "fourth-one",
    )
    assert json_secrets({"auth": {"a": ["first-one"]}, "b": {"api_key": "second-one", "c": "no-secret"}}) == (
        "first-one",
        "second-one",
    )


def test_a_redactor_knows_the_secrets_and_the_places() -> None:
    redactor = Redactor(
        secrets=("opensesame-123",), places={"~": "/home/ann", "{rootdir}": "/home/ann/photos"}
    )

    assert redactor.text("opensesame-123 in /home/ann/photos/x") == "[hidden] in {rootdir}/x"
    assert redactor.command("a --key b /home/ann/x") == "a --key [hidden] ~/x"
    assert redactor.url("http://a:b@c/opensesame-123") == "http://[hidden]@c/[hidden]"
    assert redactor.json({"a": ["/home/ann", {"token": "b"}], "c": 1}) == {
        "a": ["~", {"token": HIDDEN}],
        "c": 1,
    }
    assert redactor.paths("/home/ann/x opensesame-123 /home/anna") == "~/x opensesame-123 /home/anna"
    assert Redactor().paths("/home/ann") == "/home/ann"


HOSTILE = {
    "dashes": "-",
    "letters": "a",
    "capitals": "A",
    "name": "api_key",
    "dashed names": "api-key-",
    "assigned names": "api_key=",
    "assignments": "a=",
    "hidden assignments": "key=x ",
    "spaced assignments": "key= x ",
    "double quotes": '"',
    "single quotes": "'",
    "backticks": "`",
    "quoted names": '"key":',
    "half open strings": '"key":"',
    "half open strings of single quotes": "'key':'",
    "escaped quotes": '\\"key\\":\\"',
    "backslashes": "\\",
    "open brackets": '"key":[',
    "nested objects": '{"key":',
    "nested plain objects": '{"a":',
    "closed brackets": "key=[']",
    "URLs": "http://",
    "URLs with users": "http://a:b@",
    "colons": "a:",
    "at signs": "a:b@",
    "users": "-u a:b ",
    "user switches": "-u ",
    "options": "--api-key ",
    "short options": "-k -p -p1 ",
    "bearers": "Bearer a ",
    "commands": "$(",
    "nested commands": "$(a (b ",
    "dollars": "$",
    "private keys": "-----BEGIN PRIVATE KEY-----",
    "ends of private keys": "-----END PRIVATE KEY----- PRIVATE KEY-----",
    "almost tokens": "sk-a-",
    "hf": "hf_",
    "web tokens": "eyJaaaaaaaaa.",
    "queries": "?key=a&",
    "percent": "%22",
    "spaces": " ",
    "lines": "a\n",
    "secret": "opensesame-12",
    "words": "ab cd ",
    "semicolons": ";",
    "hashes": " #",
    "redirections": "2>&1",
    "headers": "key: a ",
    "cookies": "cookie: a;",
    "authorizations": "authorization: Digest ",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_a_long_hostile_text_is_read_to_its_end(piece: str) -> None:
    """What is quadratic takes minutes here, and shows among the slowest tests."""
    text = f"{(piece * 50_000)[:50_000]}\nopensesame-123"

    for kind in (redact, redact_command):
        assert "opensesame-123" not in kind(text, "opensesame-123")


def gone(shown: str, text: str) -> None:
    assert not [secret for secret in (S, T, "swordfish", "IOSFODNN7") if secret in text and secret in shown]


def readable(command: str) -> bool:
    try:
        return bool(shlex.split(command)) and not set("$`;#|&\n>") & set(command)
    except ValueError:
        return False


def names_in(schema: object) -> list[str]:
    """The names of the fields in a JSON Schema."""
    if isinstance(schema, dict):
        own = list(schema.get("properties", {}))
        return own + [name for part in schema.values() for name in names_in(part)]
    return [name for part in schema for name in names_in(part)] if isinstance(schema, list) else []
