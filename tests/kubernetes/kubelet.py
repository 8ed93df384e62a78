"""The kubelet of four pretended nodes: runs the command of each pod as a process of this machine.

It does what a kubelet does as far as the API shows it: registers nodes, starts what the scheduler has put on them,
expands $(NAME) in commands, reports states, keeps the pod's deadline, tells processes to stop and kills them after
the grace, serves logs. There is no image and no isolation: a pod whose image begins with "missing/" cannot be pulled.

    kubelet.py https://127.0.0.1:PORT TOKEN PORT-OF-ITS-OWN
"""

import datetime
import http.server
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

API, TOKEN, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
CONTEXT = ssl._create_unverified_context()
# Name, cores, memory, GPUs, cordoned.
NODES = [("node1", "4", "8Gi", 0, False), ("node2", "4", "8Gi", 0, False),
         ("gpu1", "8", "64Gi", 2, False), ("node3", "4", "8Gi", 0, True)]
PODS = {}


def now(nanoseconds=False):
    at = time.time_ns()
    text = datetime.datetime.fromtimestamp(at // 10**9, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{at % 10**9:09d}Z" if nanoseconds else "Z")


def ask(method, path, body=None, kind="application/json"):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
    request = urllib.request.Request(API + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=10, context=CONTEXT) as answer:
        return json.load(answer)


def register():
    for name, cores, memory, gpus, cordoned in NODES:
        labels = {"kubernetes.io/hostname": name, "node.kubernetes.io/instance-type": "gpu" if gpus else "general"}
        amounts = {"cpu": cores, "memory": memory, "pods": "110"}
        if gpus:
            labels["nvidia.com/gpu.product"] = "NVIDIA-H100-80GB-HBM3"
            labels["nvidia.com/gpu.memory"] = "81559"
            amounts["nvidia.com/gpu"] = str(gpus)
        taints = [{"key": "nvidia.com/gpu", "effect": "NoSchedule", "value": "present"}] if gpus else []
        ask("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
                                      "spec": {"unschedulable": cordoned, "taints": taints}})
        condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now(),
                     "lastTransitionTime": now()}
        status = {"capacity": amounts, "allocatable": amounts, "conditions": [condition],
                  "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                  "daemonEndpoints": {"kubeletEndpoint": {"Port": PORT}},
                  "nodeInfo": {"architecture": "amd64", "kubeletVersion": "v1.20.2", "bootID": "", "machineID": "",
                               "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "",
                               "operatingSystem": "linux", "osImage": "", "systemUUID": ""}}
        ask("PATCH", f"/api/v1/nodes/{name}/status", {"status": status}, "application/merge-patch+json")


def expanded(word, variables):
    def one(match):
        text = match.group(0)
        return "$" if text == "$$" else variables.get(text[2:-1], text)
    return re.sub(r"\$\$|\$\([^)]*\)", one, word)


class Running:
    """A pod and its process."""

    def __init__(self, pod):
        self.path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
        self.container = pod["spec"]["containers"][0]
        self.deadline = pod["spec"].get("activeDeadlineSeconds")
        self.grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
        self.lines, self.process, self.leaves, self.late, self.over = [], None, None, False, False
        self.began, self.received = now(), now()
        self.begin(pod)

    def report(self, phase, state, **more):
        status = {"phase": phase, "startTime": self.received, "hostIP": "127.0.0.1", **more, "containerStatuses": [
            {"name": self.container["name"], "image": self.container["image"], "imageID": "", "ready": phase == "Running",
             "restartCount": 0, "state": state, "lastState": {}}]}
        try:
            ask("PATCH", self.path + "/status", {"status": status}, "application/strategic-merge-patch+json")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise

    def begin(self, pod):
        if self.container["image"].startswith("missing/"):
            message = f'Back-off pulling image "{self.container["image"]}"'
            self.report("Pending", {"waiting": {"reason": "ImagePullBackOff", "message": message}})
            return
        variables = {}
        for variable in self.container.get("env", []):
            variables[variable["name"]] = expanded(variable.get("value", ""), variables)
        words = self.container.get("command", []) + self.container.get("args", [])
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOSTNAME": pod["metadata"]["name"], **variables}
        self.process = subprocess.Popen([expanded(word, variables) for word in words], env=environment,
                                        cwd=self.container.get("workingDir", "/"), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.started = time.monotonic()
        self.began = now()
        self.report("Running", {"running": {"startedAt": self.began}})
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        for line in self.process.stdout:
            self.lines.append((now(nanoseconds=True), line))
        code = self.process.wait()
        code = 128 - code if code < 0 else code
        state = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", "startedAt": self.began,
                                "finishedAt": now(), "containerID": ""}}
        more = {}
        if self.late:
            more = {"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than the specified deadline"}
        self.report("Failed" if code or self.late else "Succeeded", state, **more)
        self.over = True

    def tell(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def leave(self):
        """The pod was deleted, or is late: stop, then kill, then take it away."""
        if self.leaves is None:
            self.leaves = time.monotonic()
            if self.process and not self.over:
                self.tell(signal.SIGTERM)
        elif self.process and not self.over and time.monotonic() - self.leaves > self.grace:
            self.tell(signal.SIGKILL)

    def look(self, deleted):
        if self.deadline and self.process and not self.over and time.monotonic() - self.started > self.deadline:
            self.late = True
        if deleted or self.late:
            self.leave()
        if deleted and (self.over or not self.process):
            try:
                ask("DELETE", self.path, {"gracePeriodSeconds": 0})
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise


class Logs(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        parts = url.path.strip("/").split("/")
        query = urllib.parse.parse_qs(url.query)
        found = [pod for pod in PODS.values() if len(parts) == 4 and pod.path.endswith(f"/{parts[1]}/pods/{parts[2]}")]
        if parts[0] != "containerLogs" or not found:
            self.send_error(404)
            return
        since = query.get("sinceTime", [""])[0].rstrip("Z")
        body = b"".join(at.encode() + b" " + line for at, line in list(found[0].lines) if at >= since)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Logs)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("kubelet.crt", "kubelet.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    register()
    print("ready", flush=True)
    names = {name for name, *_ in NODES}
    while True:
        try:
            listed = ask("GET", "/api/v1/pods")["items"]
        except OSError as error:
            print(error, flush=True)
            time.sleep(0.5)
            continue
        for pod in listed:
            uid, deleted = pod["metadata"]["uid"], "deletionTimestamp" in pod["metadata"]
            if pod["spec"].get("nodeName") not in names:
                continue
            if uid not in PODS and not deleted:
                PODS[uid] = Running(pod)
            if uid in PODS:
                PODS[uid].look(deleted)
        time.sleep(0.05)


main()
