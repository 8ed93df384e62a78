#!/bin/sh
# What a job of Parley begins as, on its first node. The work's own words are arguments here: nothing
# of them is read by a shell.
#
#   $1  the directory that notes the start and the end of the attempt
#   $2  seconds that it may run, where the manager counts minutes only; 0 for no limit of our own
notes=$1
limit=$2
shift 2
# Making the directory works once, so a second start of the same attempt ends here, whatever caused it.
if ! mkdir "$notes"; then
    echo "parley: this attempt was started before, or was withdrawn" >&2
    exit 125
fi
date +%s >"$notes/started"
# A stop signal goes to every process of the job; this one stays to write the end down.
trap : TERM
if [ "$limit" = 0 ]; then
    "$@"
else
    timeout -k 5 "$limit" "$@"
fi
code=$?
printf '%s %s\n' "$code" "$(date +%s)" >"$notes/ended.new" && mv "$notes/ended.new" "$notes/ended"
exit "$code"
