#!/usr/bin/env bash
# A real Grid Engine of one execution host on this machine, for tests: sge_qmaster and sge_execd with a cell and
# ports of their own, without systemd. The host has more slots, memory and GPUs than the machine; jobs really run.
#
#   tests/gridengine/start.sh install           installs Grid Engine where apt-get has it
#   tests/gridengine/start.sh start DIRECTORY   starts it and prints the environment to use, NAME=VALUE a line
#   tests/gridengine/start.sh stop DIRECTORY    stops everything that start started there
#
# `start` answers when the queues take jobs, or fails within 30 s. It needs to be root, because sge_execd does; the
# jobs run as who submits them. The machine's own name has to resolve.
#
#   queue       slots   limit      parallel environments
#   short.q     8       1 hour     smp (one host), mpi (fills hosts), mpi-4 (4 slots of each host)
#   long.q      4                  smp
#   maint.q     4                  disabled
#
# The host gives 8 slots, 4 GPUs (gpu) and 64 GB (h_vmem: 1 GB for each slot of a job that names none).
set -euo pipefail

programs="sge_qmaster sge_execd qsub qstat qhost qconf qacct qdel"
# Where Debian's packages have what is the same for every cell.
installed=/var/lib/gridengine
library=/usr/lib/gridengine

# Daemons live outside the search path of ordinary users.
PATH=$PATH:/usr/sbin:/sbin

fail() { echo "gridengine: $*" >&2; exit 1; }

complete() {
    local program
    for program in $programs; do command -v "$program" >/dev/null || return 1; done
    [ -d $installed ] && [ -x $library/spoolinit ]
}

install() {
    complete && return
    command -v apt-get >/dev/null || fail "there is no apt-get; this needs Debian's gridengine-master, -exec and -client"
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
        -y -qq --no-install-recommends gridengine-master gridengine-exec gridengine-client; } >&2 || status=$?
    if $made; then "${run[@]}" rm -f $policy; fi
    [ $status -eq 0 ] && complete || fail "could not be installed"
}

# Two ports in a row that nobody listens on. Two that start at the same time begin to look elsewhere.
free_ports() {
    local base=$((31000 + ($$ * 7 % 500) * 2)) port try
    for try in $(seq 200); do
        for port in $base $((base + 1)); do
            if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
                base=$((31000 + (base - 31000 + 34 + try * 2) % 1000))
                continue 2
            fi
        done
        echo "$base"
        return
    done
    fail "no free ports"
}

# What the daemons read before they can be asked anything.
prepare() {
    local root=$1 port=$2 part
    mkdir -p "$root"/default/common "$root"/spool/qmaster "$root"/spool/execd "$root"/objects
    for part in bin lib util utilbin; do ln -sfn $installed/$part "$root/$part"; done
    cat >"$root/environment" <<ENVIRONMENT
SGE_ROOT=$root
SGE_CELL=default
SGE_QMASTER_PORT=$port
SGE_EXECD_PORT=$((port + 1))
ENVIRONMENT
    cat >"$root/default/common/bootstrap" <<BOOTSTRAP
admin_user              none
default_domain          none
ignore_fqdn             false
spooling_method         classic
spooling_lib            libspoolc
spooling_params         $root/default/common;$root/spool/qmaster
binary_path             /usr/sbin
qmaster_spool_dir       $root/spool/qmaster
security_mode           none
listener_threads        2
worker_threads          2
scheduler_threads       1
BOOTSTRAP
    # Whatever this machine is called: 127.0.0.1 is localhost, and who connects is found by its address.
    echo localhost >"$root/default/common/act_qmaster"
    [ "$(hostname)" = localhost ] || echo "localhost $(hostname)" >"$root/default/common/host_aliases"
    sed -e "s#^execd_spool_dir .*#execd_spool_dir $root/spool/execd#" -e 's#^\(min_[ug]id\) .*#\1 0#' \
        -e 's#^load_report_time .*#load_report_time 00:00:01#' -e 's#^mailer .*#mailer /bin/true#' \
        -e "s#^reporting_params .*#reporting_params ${GRIDENGINE_REPORTING:-accounting=true reporting=false flush_time=00:00:01 accounting_flush_time=00:00:00 joblog=false sharelog=00:00:00}#" \
        /usr/share/gridengine/default-configuration >"$root/objects/configuration"
    (
        export LD_LIBRARY_PATH=$library SGE_ROOT="$root" SGE_CELL=default
        $library/spoolinit classic libspoolc "$root/default/common;$root/spool/qmaster" init
        $library/spooldefaults configuration "$root/objects/configuration"
        $library/spooldefaults complexes /usr/share/gridengine/util/resources/centry
        $library/spooldefaults usersets /usr/share/gridengine/util/resources/usersets
        $library/spooldefaults managers "$(id -un)"
    ) >&2
}

# A file from lines of "name value"; every object has all of its fields.
object() { cat >"$objects/$1"; }

queue() {
    local name=$1 slots=$2 h_rt=$3 environments=$4 state=$5 limit
    {
        printf '%s\n' "qname $name" "hostlist localhost" "seq_no 0" "load_thresholds NONE" \
            "suspend_thresholds NONE" "nsuspend 1" "suspend_interval 00:05:00" "priority 0" \
            "min_cpu_interval 00:05:00" "processors UNDEFINED" "qtype BATCH INTERACTIVE" "ckpt_list NONE" \
            "pe_list $environments" "rerun FALSE" "slots $slots" "tmpdir /tmp" "shell /bin/sh" "prolog NONE" \
            "epilog NONE" "shell_start_mode posix_compliant" "starter_method NONE" "suspend_method NONE" \
            "resume_method NONE" "terminate_method NONE" "notify 00:00:60" "owner_list NONE" "user_lists NONE" \
            "xuser_lists NONE" "subordinate_list NONE" "complex_values NONE" "projects NONE" "xprojects NONE" \
            "calendar NONE" "initial_state $state" "s_rt INFINITY" "h_rt $h_rt"
        for limit in cpu fsize data stack core rss vmem; do
            printf '%s INFINITY\n' "s_$limit" "h_$limit"
        done
    } | object queue
    qconf -Aq "$objects/queue"
}

parallel_environment() {
    printf '%s\n' "pe_name $1" "slots 999" "user_lists NONE" "xuser_lists NONE" "start_proc_args NONE" \
        "stop_proc_args NONE" "allocation_rule $2" "control_slaves TRUE" "job_is_first_task TRUE" \
        "urgency_slots min" "accounting_summary TRUE" "qsort_args NONE" | object pe
    qconf -Ap "$objects/pe"
}

configure() {
    local objects=$1/objects
    qconf -as localhost
    qconf -sc | sed 's/^h_vmem .*/h_vmem h_vmem MEMORY <= YES YES 1G 0/' | object complexes
    echo "gpu gpu INT <= YES YES 0 0" >>"$objects/complexes"
    echo "exclusive excl BOOL EXCL YES YES 0 1000" >>"$objects/complexes"
    qconf -Mc "$objects/complexes"
    printf '%s\n' "hostname localhost" "load_scaling NONE" \
        "complex_values slots=8,gpu=4,h_vmem=64G,exclusive=TRUE" "user_lists NONE" "xuser_lists NONE" \
        "projects NONE" "xprojects NONE" "usage_scaling NONE" "report_variables NONE" | object host
    qconf -Ae "$objects/host"
    parallel_environment smp '$pe_slots'
    parallel_environment mpi '$fill_up'
    parallel_environment mpi-4 4
    queue short.q 8 01:00:00 "smp mpi mpi-4" default
    queue long.q 4 INFINITY smp default
    queue maint.q 4 INFINITY NONE disabled
    # Jobs start within a second of their submission and of another's end.
    qconf -ssconf | sed -e 's/^schedule_interval .*/schedule_interval 0:0:1/' \
        -e 's/^flush_\(submit\|finish\)_sec .*/flush_\1_sec 1/' \
        -e 's/^job_load_adjustments .*/job_load_adjustments NONE/' | object scheduler
    qconf -Msconf "$objects/scheduler"
}

start() {
    local root=$1 try state
    complete || fail "not installed; see: tests/gridengine/start.sh install"
    [ "$(id -u)" -eq 0 ] || fail "sge_execd needs to be started by root"
    mkdir -p "$root"
    root=$(cd "$root" && pwd)
    prepare "$root" "$(free_ports)"
    # Jobs get the environment of the daemon, so that must be an empty one.
    local variables
    mapfile -t variables <"$root/environment"
    export "${variables[@]}"
    env -i PATH=/usr/local/bin:/usr/bin:/bin "${variables[@]}" "$(command -v sge_qmaster)" >&2
    for try in $(seq 150); do
        if timeout 5 qconf -sh >/dev/null 2>&1; then break; fi
        sleep 0.1
    done
    configure "$root" >&2
    env -i PATH=/usr/local/bin:/usr/bin:/bin "${variables[@]}" "$(command -v sge_execd)" >&2
    for try in $(seq 150); do
        # Of queues that nobody can reach the state has a `u` in it.
        state=$(timeout 5 qhost -q 2>/dev/null | awk '$1 == "short.q" { print $3 "," $4 }')
        if [ "$state" = "0/0/8," ]; then
            cat "$root/environment"
            return
        fi
        sleep 0.1
    done
    tail -n 5 "$root"/spool/qmaster/messages "$root"/spool/execd/*/messages >&2
    stop "$root"
    fail "the queues did not come up"
}

stop() {
    local root=$1 file try variables
    # Jobs outlive the daemons, so they end first.
    if [ -s "$root/environment" ]; then
        mapfile -t variables <"$root/environment"
        export "${variables[@]}"
        if timeout 5 qdel -u '*' >/dev/null 2>&1; then
            for try in $(seq 50); do
                [ -n "$(timeout 5 qstat -u '*' 2>/dev/null)" ] || break
                sleep 0.1
            done
        fi
    fi
    # Asked to end, they take seconds to save what nobody needs.
    for file in "$root"/spool/execd/*/execd.pid "$root"/spool/qmaster/qmaster.pid; do
        [ ! -s "$file" ] || kill -9 "$(cat "$file")" 2>/dev/null || true
    done
}

case "${1:-}" in
    install) install ;;
    start | stop)
        [ $# -eq 2 ] || fail "which directory?"
        "$1" "$2"
        ;;
    *) sed -n '2,17s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
