"""Prints what a webhook is told, once it is sure who said so: Standard Webhooks' library says that.

python examples/receiver.py whsec_…
"""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks import Webhook, WebhookVerificationError


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what is signed, 400 to all else."""

    def do_POST(self) -> None:
        """One message; nothing that is not signed is believed."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        try:
            event = Webhook(sys.argv[1]).verify(body, dict(self.headers))
        except WebhookVerificationError:
            self.send_response(400)
        else:
            print(self.headers["webhook-id"], event["type"], event["data"], flush=True)
            self.send_response(204)
        self.end_headers()


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", 9100), Receiver).serve_forever()
