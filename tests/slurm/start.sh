#!/usr/bin/env bash
# A real Slurm of four nodes on this machine, for tests: slurmctld and four slurmd, without systemd,
# cgroups or a database. The nodes have more cores, memory and GPUs than the machine; jobs really run.
#
#   tests/slurm/start.sh install           installs Slurm where apt-get has it
#   tests/slurm/start.sh start DIRECTORY   starts it and prints the environment to use, NAME=VALUE a line
#   tests/slurm/start.sh stop DIRECTORY    stops everything that start started there
#
# `start` answers when all nodes are idle, or fails within 30 s. It needs no rights of its own; the jobs
# run as the user who starts it. The length of DIRECTORY is limited by that of a socket's path.
#
#   partition   nodes             limits               default
#   short       node1 to node3    1 hour               yes: 10 minutes, 1000 MB for each core
#   gpu         gpu1: 4 x h100    1 day
#   maint       node3             down
set -euo pipefail

programs="munged slurmctld slurmd sbatch squeue sinfo scontrol scancel"

# Daemons live outside the search path of ordinary users.
PATH=$PATH:/usr/sbin:/sbin

fail() { echo "slurm: $*" >&2; exit 1; }

complete() {
    local program
    for program in $programs; do command -v "$program" >/dev/null || return 1; done
}

install() {
    complete && return
    command -v apt-get >/dev/null || fail "there is no apt-get; install slurmctld, slurmd, the client commands and munge"
    local run=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "installing needs root"
        run=(sudo -n)
    fi
    # The packages would start daemons of their own; a policy that says no keeps them from it.
    local policy=/usr/sbin/policy-rc.d made=false
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | "${run[@]}" tee $policy >/dev/null
        "${run[@]}" chmod 755 $policy
        made=true
    fi
    local status=0
    { "${run[@]}" apt-get update -qq && "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install \
        -y -qq --no-install-recommends slurmctld slurmd slurm-client munge; } >&2 || status=$?
    if $made; then "${run[@]}" rm -f $policy; fi
    [ $status -eq 0 ] && complete || fail "could not be installed"
}

# Five ports in a row that nobody listens on, from a place that is a multiple of five, so that two never overlap in part.
free_ports() {
    local base=$((20000 + ($$ * 7 % 2000) * 5)) port try
    for try in $(seq 200); do
        for port in $(seq "$base" $((base + 4))); do
            if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
                base=$((20000 + (base - 20000 + 35 + 5 * try) % 10000))
                continue 2
            fi
        done
        echo "$base"
        return
    done
    fail "no free ports"
}

configure() {
    local root=$1 port=$2 host user
    host=$(hostname -s)
    user=$(id -un)
    cat >"$root/slurm.conf" <<CONFIGURATION
ClusterName=parley-test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$root/run/munge.sock
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,bf_resolution=1,sched_interval=1,batch_sched_delay=0
PriorityType=priority/basic
StateSaveLocation=$root/state
SlurmdSpoolDir=$root/spool/%n
SlurmctldPidFile=$root/run/slurmctld.pid
SlurmdPidFile=$root/run/slurmd-%n.pid
SlurmctldLogFile=$root/log/slurmctld.log
SlurmdLogFile=$root/log/slurmd-%n.log
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=1
MinJobAge=${SLURM_MIN_JOB_AGE:-600}
JobCompType=jobcomp/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
AccountingStorageType=accounting_storage/${SLURM_ACCOUNTING:-none}
${SLURM_MORE:-}
GresTypes=gpu
DefMemPerCPU=1000
NodeName=node[1-3] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + 3))] Sockets=2 CoresPerSocket=8 ThreadsPerCore=1 RealMemory=64000 Feature=cpu,avx2
NodeName=gpu1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 4)) Sockets=2 CoresPerSocket=16 ThreadsPerCore=1 RealMemory=256000 Gres=gpu:h100:4 Feature=gpu
PartitionName=short Nodes=node[1-3] Default=YES MaxTime=01:00:00 DefaultTime=00:10:00
PartitionName=gpu Nodes=gpu1 MaxTime=1-00:00:00 DefaultTime=01:00:00
PartitionName=maint Nodes=node3 State=DOWN
CONFIGURATION
    # Each GPU needs a device file; jobs do not open these.
    printf 'NodeName=gpu1 Name=gpu Type=h100 File=/dev/%s\n' null zero full urandom >"$root/gres.conf"
    printf 'CgroupPlugin=cgroup/v1\nConstrainCores=no\nConstrainRAMSpace=no\n' >"$root/cgroup.conf"
}

start() {
    local root=$1 port node try
    complete || fail "not installed; see: tests/slurm/start.sh install"
    mkdir -p "$root"/state "$root"/spool/{node1,node2,node3,gpu1} "$root"/log "$root"/run
    root=$(cd "$root" && pwd)
    [ ${#root} -le 80 ] || fail "$root is too long for the path of a socket"
    # One at a time: what looks for free ports must not meet another that has chosen and does not listen yet.
    exec 9>"${TMPDIR:-/tmp}/parley-slurm-$(id -u).lock"
    flock --wait 120 9 || fail "another one has been starting for two minutes"
    port=$(free_ports)
    export SLURM_CONF=$root/slurm.conf
    (
        umask 077
        head -c 1024 /dev/urandom >"$root/munge.key"
    )
    # munged refuses sockets in directories that others may write to, such as /tmp, without --force.
    munged --force --key-file="$root/munge.key" --socket="$root/run/munge.sock" \
        --pid-file="$root/run/munged.pid" --log-file="$root/log/munged.log" --seed-file="$root/munge.seed" >&2 9>&-
    configure "$root" "$port"
    slurmctld -f "$SLURM_CONF" >&2 9>&-
    for node in node1 node2 node3 gpu1; do slurmd -N "$node" -f "$SLURM_CONF" >&2 9>&-; done
    for try in $(seq 150); do
        if [ "$(timeout 5 sinfo -h -N -p short,gpu -o %T 2>/dev/null | grep -c '^idle$')" -eq 4 ]; then
            echo "SLURM_CONF=$SLURM_CONF"
            return
        fi
        sleep 0.2
    done
    tail -n 5 "$root"/log/*.log >&2
    stop "$root"
    fail "the nodes did not become idle"
}

stop() {
    local root=$1 file pid pids=() try
    # Jobs outlive the daemons, so they end first.
    export SLURM_CONF=$root/slurm.conf
    if timeout 5 scancel --user="$(id -un)" 2>/dev/null; then
        for try in $(seq 50); do
            [ -n "$(timeout 5 squeue -h 2>/dev/null)" ] || break
            sleep 0.1
        done
    fi
    for file in "$root"/run/slurmctld.pid "$root"/run/slurmd-*.pid "$root"/run/munged.pid; do
        if pid=$(cat "$file" 2>/dev/null) && kill "$pid" 2>/dev/null; then pids+=("$pid"); fi
    done
    for try in $(seq 50); do
        kill -0 "${pids[@]}" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -9 "${pids[@]}" 2>/dev/null || true
}

case "${1:-}" in
    install) install ;;
    start | stop)
        [ $# -eq 2 ] || fail "which directory?"
        "$1" "$2"
        ;;
    *) sed -n '2,17s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
