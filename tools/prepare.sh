# Sourced by ./try, ./test and ./check: what they need on a fresh Debian machine with Python.
# Everything that is there already is left alone, so the second call takes seconds.

set -euo pipefail
CALLED_FROM=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
PYTHON=${PYTHON:-python3}

say() { printf '== %s\n' "$*" >&2; }

# Is it there?  Asked of the machine and not of dpkg: a Python from elsewhere brings its own headers.
has_compiler() { command -v cc && echo 'int main;' | cc -fsyntax-only -x c -; }
has_pkg_config() { command -v pkg-config; }
has_liburing() {
    has_pkg_config && pkg-config --exists liburing &&
        [[ -f $(pkg-config --variable=libdir liburing)/liburing.a ]]
}
has_python_headers() { [[ -f $("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h ]]; }
has_venv() { "$PYTHON" -c 'import ensurepip, venv'; }
has_libssl() { [[ -f /usr/include/openssl/ssl.h ]]; }
has_openssl() { command -v openssl; }
has_wrk() { command -v wrk; }
has_curl() { command -v curl; }
has_lftp() { command -v lftp; }
has_wget() { command -v wget; }
has_h2load() { command -v h2load; }
has_rsvg_convert() { command -v rsvg-convert; }

# need <what> <Debian package>: note the package as missing unless <what> is there.
missing=()
need() { "has_$1" >/dev/null 2>&1 || missing+=("$2"); }

install_missing() {
    ((${#missing[@]})) || return 0
    say "installing ${missing[*]}"
    if ! command -v apt-get >/dev/null; then
        say "this is not Debian: please install what corresponds to ${missing[*]}"
        exit 1
    fi
    local as_root=()
    ((EUID == 0)) || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
    missing=()
}

need_to_build() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        { say "headrace needs Python 3.11 or newer; $PYTHON is $("$PYTHON" --version)"; exit 1; }
    need compiler build-essential
    need pkg_config pkg-config
    need liburing liburing-dev
    need python_headers python3-dev
    need venv python3-venv
}

# install <folder> <python> <extra>: headrace with that extra, in a virtual environment of its own.
# pip would build all of it each time; Python sources need nothing, since the install is editable.
install() {
    local stamp=$1/headrace-$3 flags="${HEADRACE_CFLAGS-} ${HEADRACE_LDFLAGS-}"
    [[ -x $1/bin/pip ]] || "$2" -m venv "$1"
    is_current "$1" "$stamp" "$flags" && return
    say "building headrace[$3] into $1"
    echo "$flags" >"$stamp.begun" # before the build: what is edited meanwhile is newer
    "$1/bin/pip" install --quiet --disable-pip-version-check --editable ".[$3]" >&2
    mv "$stamp.begun" "$stamp"
}

# is_current <folder> <stamp> <flags>: was it built with these flags, and from these sources?
is_current() {
    [[ -f $2 && $(<"$2") == "$3" ]] &&
        [[ -z $(find pyproject.toml setup.py src \( -name pyproject.toml -o -name setup.py \
            -o -name '*.pyx' -o -name '*.pxd' \) -newer "$2" -print -quit) ]] &&
        "$1/bin/python" -c 'import headrace' 2>/dev/null
}
