"""botocore's signers over http.client. The argument names the signer."""

import http.client
import os
import sys
from urllib.parse import urlsplit

from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lines import serve

HEADER = {"sigv4": auth.SigV4Auth, "s3": auth.S3SigV4Auth}[sys.argv[1]]
QUERY = {"sigv4": auth.SigV4QueryAuth, "s3": auth.S3SigV4QueryAuth}[sys.argv[1]]


def send(request):
    credentials = Credentials(os.environ["KEY_ID"], os.environ["SECRET"])
    url = request["base"] + request["target"]
    signed = AWSRequest(request["method"], url, headers=request["headers"], data=request["body"])
    if request.get("presign"):
        QUERY(credentials, "chainfire", os.environ["REGION"], expires=60).add_auth(signed)
    else:
        HEADER(credentials, "chainfire", os.environ["REGION"]).add_auth(signed)
    url = urlsplit(signed.url)
    connection = http.client.HTTPConnection(url.netloc, timeout=30)
    target = url.path + ("?" + url.query if url.query else "")
    connection.request(request["method"], target, request["body"] or None, dict(signed.headers))
    answer = connection.getresponse()
    return answer.status, dict(answer.headers), answer.read()


serve(send)
