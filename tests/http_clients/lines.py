"""How a client is told what to send: a line of JSON in, a line of JSON out."""

import base64
import json
import sys


def serve(send):
    for line in sys.stdin:
        request = json.loads(line)
        request["body"] = base64.b64decode(request["body"])
        status, headers, body = send(request)
        answer = {
            "status": status,
            "headers": {name.lower(): value for name, value in headers.items()},
            "body": base64.b64encode(body).decode(),
        }
        print(json.dumps(answer), flush=True)
