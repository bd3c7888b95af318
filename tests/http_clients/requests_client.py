"""requests with requests-aws4auth. It cannot presign."""

import os

import requests
from requests_aws4auth import AWS4Auth

from lines import serve


def send(request):
    if "link" in request:
        answer = requests.get(request["link"], timeout=30)
        return answer.status_code, dict(answer.headers), answer.content
    credentials = AWS4Auth(
        os.environ["KEY_ID"],
        os.environ["SECRET"],
        os.environ["REGION"],
        "chainfire",
        # What it signs unless told: host, date, content-type and x-amz-*.
        include_hdrs={"host", "x-amz-*", *(name.lower() for name in request["headers"])},
    )
    answer = requests.request(
        request["method"],
        request["base"] + request["target"],
        headers=request["headers"],
        data=request["body"] or None,
        auth=credentials,
        timeout=30,
    )
    return answer.status_code, dict(answer.headers), answer.content


serve(send)
