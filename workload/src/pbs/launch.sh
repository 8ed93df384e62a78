#!/bin/bash
# What PBS starts on the first node of a job. The file that it is given has the job's variables and the
# program with its words, each ended by a zero byte: they become arguments of `env`, and no shell reads
# them. PBS keeps what it writes itself; this goes to the log as it comes.
file=${1:-$PARLEY_WORDS}
log=${2:-$PARLEY_LOG}
cd "${file%/*}" && exec >>"$log" 2>&1 </dev/null || exit 125
words=()
while IFS= read -r -d '' word; do
    words+=("$word")
done <"$file"
# They may be secrets. A second start finds none, and ends here.
rm -f -- "$file"
if [ "${#words[@]}" = 0 ]; then
    echo "parley: this attempt was started before, or was withdrawn" >&2
    exit 125
fi
exec env -- "${words[@]}"
