#!/bin/sh
# What a job of Parley begins as where its manager would change words or variables on their way: they are in a
# file, each ended by a zero byte, and never pass through a shell.
#
#   $1  the file: the variables, then the command that runs the batch script with the work's words
#   $2  the directory that notes the start and the end of the attempt
# One log for both streams, whatever the manager would make of two.
exec 2>&1
if ! [ -r "$1" ] || [ -e "$2" ]; then
    echo "parley: this attempt was started before, or was withdrawn" >&2
    exit 125
fi
# From here on only this process has what was in it; there may be secrets among the variables.
exec <"$1"
rm -f "$1"
# A stop signal goes to every process of the job; this one stays for the code.
trap : TERM
xargs -0 -x env
code=$?
# xargs has codes of its own; that of the work is in the notes.
if read -r noted _ <"$2/ended"; then code=$noted; fi
# With these two managers start a job again, or hold it for somebody to look at.
case $code in 99 | 100) code=1 ;; esac
exit "$code"
