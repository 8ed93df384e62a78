"""The least of an OpenAI-compatible endpoint that the predecessor's secretary can work with.

The real secretary, its providers and its wire are under test; only the model behind them is replaced,
because without one it cannot answer at all. Like a model it first looks (one provider call for a
proposal, two for a submission, as the secretary demands) and then concludes.

    stub_model.py SUBMISSION TRANSCRIPT

SUBMISSION is how a job is answered: success, failed, prose (no JSON where JSON was asked for), error
(the endpoint breaks down) or wait (success, as soon as there is a file TRANSCRIPT.go). What the secretary
was asked is appended to the file TRANSCRIPT, one JSON string for each first message of a conversation.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PROPOSAL = {
    "verdict": "READY",
    "reasoning": "stub says ready",
    "metrics": {"queue_depth": 3, "ets_seconds": 0},
    "constraints": [],
}
RECEIPTS = {
    "success": {"status": "SUCCESS", "job_id": "flux-1234", "spec": "flux submit -n 4 lmp", "reasoning": "stub"},
    "failed": {"status": "FAILED", "job_id": None, "spec": "", "reasoning": "the queue is closed"},
}

submission, transcript = sys.argv[1:]


def fenced(prose, value):
    return f"{prose}\n```json\n{json.dumps(value)}\n```"


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        messages = body["messages"]
        said = sum(message["role"] == "assistant" for message in messages)
        is_submission = "EXECUTION PROTOCOL" in messages[0]["content"]
        if said == 0:
            with open(transcript, "a", encoding="utf-8") as file:
                file.write(json.dumps(messages[1]["content"]) + "\n")
        if said < (2 if is_submission else 1):
            return self.answer("I look.\nCALL: hardware.get_current_load()")
        if not is_submission:
            return self.answer(fenced("FINAL PROPOSAL: It can.", PROPOSAL))
        while submission == "wait" and not os.path.exists(f"{transcript}.go"):
            time.sleep(0.02)
        if submission == "error":
            return self.send({"error": {"message": "the model is gone"}}, 400)
        if submission == "prose":
            return self.answer("FINAL RESULT: I think that it runs now.")
        self.answer(fenced("FINAL RESULT: Done.", RECEIPTS["failed" if submission == "failed" else "success"]))

    def answer(self, text):
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.send({"id": "1", "object": "chat.completion", "created": 0, "model": "stub", "choices": [choice]})

    def send(self, value, status=200):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
server.daemon_threads = True
print(f"model listening on http://127.0.0.1:{server.server_port}/v1", file=sys.stderr, flush=True)
server.serve_forever()
