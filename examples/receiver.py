"""Receives webhooks on port 9100, verifies them with Standard Webhooks' library, and prints them.

python examples/receiver.py whsec_…
"""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks import Webhook, WebhookVerificationError


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to a signed message, 400 to any other."""

    def do_POST(self) -> None:
        """Verifies the signature before it prints the event."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        try:
            event = Webhook(sys.argv[1]).verify(body, dict(self.headers))
        except WebhookVerificationError:
            self.send_response(400)
        else:
            print(self.headers["webhook-id"], event["type"], event["data"], flush=True)
            self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Prints no line for a request."""


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", 9100), Receiver)
    print("Waiting for webhooks on http://127.0.0.1:9100/", flush=True)
    server.serve_forever()
