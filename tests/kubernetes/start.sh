#!/bin/bash
# Starts and stops a Kubernetes whose nodes are pretended: the real API server, scheduler and controllers over a
# real etcd, and kubelet.py, which runs the pods' commands as processes of this machine.
#
#   start.sh build CACHE           builds the programs from Debian's source packages: five minutes, 2.3 GB
#   start.sh start DIRECTORY       starts one with its state in DIRECTORY and prints KUBECONFIG=...
#   start.sh stop DIRECTORY        stops it
#
# The programs are looked for in $PARLEY_KUBERNETES, which `build` fills as CACHE/bin. Debian 12 carries Kubernetes
# 1.20.2 with its vendored sources, and Debian 11 the Go 1.15 that builds it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

build() {
    local cache=$1 suite keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$cache"/{bin,packages,go,etcd,gopath/src/k8s.io}
    cache=$(cd "$cache" && pwd)
    # An apt of its own: the machine's sources stay as they are.
    apt_of() {
        local state=$cache/apt/$1 tool=$2
        shift 2
        "$tool" -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null \
            -o Dir::State::lists="$state/lists" -o Dir::Cache="$state/cache" -o Dir::State::status="$state/status" "$@"
    }
    for suite in bookworm bullseye; do
        mkdir -p "$cache/apt/$suite"/{lists/partial,cache/archives/partial}
        touch "$cache/apt/$suite/status"
        printf 'deb [signed-by=%s] http://deb.debian.org/debian %s main\ndeb-src [signed-by=%s] http://deb.debian.org/debian %s main\n' \
            "$keyring" "$suite" "$keyring" "$suite" >"$cache/apt/$suite/sources.list"
        apt_of "$suite" apt-get update >&2
    done
    cd "$cache/packages"
    apt_of bullseye apt-get download golang-1.15-go golang-1.15-src >&2
    apt_of bookworm apt-get download etcd-server >&2
    apt_of bookworm apt-get source --download-only kubernetes >&2
    for package in golang-*.deb; do dpkg -x "$package" "$cache/go"; done
    dpkg -x etcd-server*.deb "$cache/etcd"
    cp "$cache/etcd/usr/bin/etcd" "$cache/bin/"
    local tree=$cache/gopath/src/k8s.io/kubernetes
    [ -d "$tree" ] || dpkg-source --no-check -x kubernetes_*.dsc "$tree" >&2

    export GOROOT=$cache/go/usr/lib/go-1.15 GOPATH=$cache/gopath GO111MODULE=off CGO_ENABLED=0 GOPROXY=off GOFLAGS=
    export GOCACHE=$cache/gocache PATH=$cache/go/usr/lib/go-1.15/bin:$PATH
    cd "$tree"
    # Debian builds the clients only; the server needs the API's descriptions, which are generated.
    go build -o "$cache/bin/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
    local marked='^// *\+k8s:openapi-gen=true' packages own
    packages=$(grep -rlE "$marked" staging/src/k8s.io --include='*.go' \
        | grep -vE 'zz_generated|_test.go|/test|sample|code-generator|example' | xargs -n1 dirname | sort -u \
        | sed 's#^staging/src/#k8s.io/kubernetes/vendor/#')
    own=$(grep -rlE "$marked" pkg cmd plugin --include='*.go' | grep -v zz_generated | xargs -r -n1 dirname | sort -u \
        | sed 's#^#k8s.io/kubernetes/#')
    "$cache/bin/openapi-gen" -i "$(echo $packages $own | tr ' ' ,)" -p k8s.io/kubernetes/pkg/generated/openapi \
        -O zz_generated.openapi --output-base "$GOPATH/src" -h hack/boilerplate/boilerplate.generatego.txt \
        --report-filename "$cache/openapi-report" >&2 || [ -s pkg/generated/openapi/zz_generated.openapi.go ]
    local program
    for program in kube-apiserver kube-scheduler kube-controller-manager; do
        go build -p "${BUILD_JOBS:-2}" -ldflags="-s -w" -o "$cache/bin/$program" "./cmd/$program"
    done
    echo "PARLEY_KUBERNETES=$cache/bin"
}

# A port that is free now. It stays below those that the system gives to connections.
free_port() {
    python3 -c 'import random, socket
while True:
    port = random.randrange(20000, 32000)
    with socket.socket() as s:
        try: s.bind(("127.0.0.1", port))
        except OSError: continue
    print(port); break'
}

launch() {
    local name=$1
    shift
    setsid "$@" >"$name.log" 2>&1 </dev/null &
    echo $! >"$name.pid"
}

start() {
    local programs=${PARLEY_KUBERNETES:?names the directory of kube-apiserver} etcd peers api kubelet
    mkdir -p "$1"
    cd "$1"
    etcd=$(free_port) peers=$(free_port) api=$(free_port) kubelet=$(free_port)
    local token
    token=$(python3 -c 'import secrets; print(secrets.token_hex(16))')
    openssl genrsa -out account.key 2048 2>/dev/null
    openssl req -x509 -newkey rsa:2048 -nodes -keyout kubelet.key -out kubelet.crt -days 2 -subj /CN=kubelet 2>/dev/null
    echo "$token,admin,1,system:masters" >tokens.csv
    # Somebody without any rights.
    echo "nobody-$token,nobody,2,visitors" >>tokens.csv
    local here_etcd=http://127.0.0.1:$etcd here_peers=http://127.0.0.1:$peers
    launch etcd "$programs/etcd" --data-dir etcd --listen-client-urls "$here_etcd" --advertise-client-urls "$here_etcd" \
        --listen-peer-urls "$here_peers" --initial-advertise-peer-urls "$here_peers" --initial-cluster "default=$here_peers"
    # Nodes are pretended, so nobody taints them for it; and there are no service accounts for pods to have.
    launch apiserver "$programs/kube-apiserver" --etcd-servers="$here_etcd" --bind-address=127.0.0.1 \
        --advertise-address=127.0.0.1 --secure-port="$api" --cert-dir=certificates --token-auth-file=tokens.csv \
        --service-account-issuer=https://kubernetes.default.svc --service-account-signing-key-file=account.key \
        --service-account-key-file=account.key --service-cluster-ip-range=10.0.0.0/24 --authorization-mode=RBAC \
        --disable-admission-plugins=ServiceAccount,TaintNodesByCondition
    for _ in $(seq 300); do
        curl -skf -m 1 -H "Authorization: Bearer $token" "https://127.0.0.1:$api/readyz" >/dev/null && break
        kill -0 "$(cat apiserver.pid)" || { tail -5 apiserver.log >&2; exit 1; }
        sleep 0.1
    done
    kubeconfig() {
        cat <<END
{"apiVersion": "v1", "kind": "Config", "current-context": "pretended",
 "clusters": [{"name": "pretended", "cluster": {"server": "https://127.0.0.1:$api", "certificate-authority": "$PWD/certificates/apiserver.crt"}}],
 "users": [{"name": "admin", "user": {"token": "$token"}}, {"name": "nobody", "user": {"token": "nobody-$token"}}],
 "contexts": [{"name": "pretended", "context": {"cluster": "pretended", "user": "admin"}},
              {"name": "nobody", "context": {"cluster": "pretended", "user": "nobody"}}]}
END
    }
    kubeconfig >kubeconfig
    # Without the controller of nodes: it would wait for their heartbeats.
    launch controllers "$programs/kube-controller-manager" --kubeconfig=kubeconfig --leader-elect=false --port=0 \
        --secure-port=0 --controllers=job,garbagecollector,namespace,resourcequota
    launch scheduler "$programs/kube-scheduler" --kubeconfig=kubeconfig --leader-elect=false --port=0 --secure-port=0
    launch kubelet python3 "$here/kubelet.py" "https://127.0.0.1:$api" "$token" "$kubelet"
    for _ in $(seq 100); do
        grep -q ready kubelet.log && break
        sleep 0.1
    done
    echo "KUBECONFIG=$PWD/kubeconfig"
}

stop() {
    local file
    for file in "$1"/{kubelet,scheduler,controllers,apiserver,etcd}.pid; do
        [ -f "$file" ] && kill -- "-$(cat "$file")" 2>/dev/null || true
    done
}

"$@"
