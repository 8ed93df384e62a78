#!/bin/sh
# Installs the Python predecessor (mcp-serve, resource-secretary) into a virtual environment, for the
# tests that let old and new programs talk to each other.
#
#   tests/predecessor/install.sh [DIRECTORY]     default: target/predecessor
#
# Every package is pinned in requirements.txt. Does nothing when the environment is complete.
# PYTHON names the interpreter (3.10 or later).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-$here/../../target/predecessor}
state=$(cat "$here/requirements.txt" "$here/install.sh" | cksum)

if [ "$(cat "$venv/complete" 2>/dev/null)" = "$state" ]; then
    echo "predecessor: complete in $venv"
    exit 0
fi

"${PYTHON:-python3}" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
    --no-deps --only-binary :all: --requirement "$here/requirements.txt" >&2

# Its worker forgets to hand on the providers that it found and then fails at the first use of them:
# init_resource_providers has to end with "return self.catalog".
"$venv/bin/python" - <<'PATCH'
import importlib.util
import pathlib

package = importlib.util.find_spec("mcpserver").submodule_search_locations[0]
path = pathlib.Path(package, "core", "base.py")
text = path.read_text()
last = "        self.catalog.update(apps)\n"
missing = "        return self.catalog\n"
if last + missing not in text:
    if text.count(last) != 1:
        raise SystemExit(f"{path} is not the file that this patch was written for")
    path.write_text(text.replace(last, last + missing))
PATCH

echo "$state" > "$venv/complete"
echo "predecessor: installed in $venv"
