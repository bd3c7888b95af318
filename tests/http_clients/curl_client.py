"""curl --aws-sigv4, as Debian has it. It cannot presign."""

import os
import subprocess
import tempfile

from lines import serve


def send(request):
    if "link" in request:
        command = ["curl", request["link"]]
    else:
        command = [
            "curl",
            request["base"] + request["target"],
            "--request", request["method"],
            "--aws-sigv4", f"aws:amz:{os.environ['REGION']}:chainfire",
            "--user", f"{os.environ['KEY_ID']}:{os.environ['SECRET']}",
        ]
    for name, value in request["headers"].items():
        command += ["--header", f"{name}: {value}"]
    with tempfile.TemporaryDirectory() as directory:
        body, head, answer = (os.path.join(directory, name) for name in ("body", "head", "answer"))
        if request.get("upload"):
            command += ["--upload-file", body]
        elif request["body"]:
            command += ["--data-binary", f"@{body}"]
        with open(body, "wb") as file:
            file.write(request["body"])
        command += ["--silent", "--show-error", "--path-as-is", "--max-time", "30"]
        subprocess.run([*command, "--dump-header", head, "--output", answer], check=True)
        with open(head, encoding="latin-1", newline="") as file:
            # After "100 Continue", the last head is the answer's.
            lines = file.read().strip().split("\r\n\r\n")[-1].split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        content = b""
        if os.path.exists(answer):
            with open(answer, "rb") as file:
                content = file.read()
    return int(lines[0].split(" ")[1]), headers, content


serve(send)
