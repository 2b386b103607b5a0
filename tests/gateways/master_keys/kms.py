"""A stub of AWS KMS for one key, with real encryption."""

import base64
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


class Kms(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cipher = AESGCM(os.urandom(32))

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        context = json.dumps(asked["EncryptionContext"], sort_keys=True).encode()
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        if asked["KeyId"] != ARN:
            return self.answer(400, {"__type": "NotFoundException"})
        if operation == "Encrypt":
            nonce = os.urandom(12)
            sealed = self.cipher.encrypt(nonce, base64.b64decode(asked["Plaintext"]), context)
            text = base64.b64encode(nonce + sealed).decode()
            return self.answer(200, {"KeyId": ARN, "CiphertextBlob": text})
        blob = base64.b64decode(asked["CiphertextBlob"])
        try:
            plain = self.cipher.decrypt(blob[:12], blob[12:], context)
        except (InvalidTag, ValueError):
            return self.answer(400, {"__type": "InvalidCiphertextException"})
        return self.answer(200, {"KeyId": ARN, "Plaintext": base64.b64encode(plain).decode()})

    def answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object, **__: object) -> None:
        """Nothing."""


@contextmanager
def kms() -> Iterator[str]:
    """The URL at which it answers until the end of the block."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Kms) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
