# Where a build gets its packages from: each step that uses the network reads this first
# (`. /inputs/sources.sh`). The optional secrets pip_conf, ca_bundle and apt_sources hold for that
# step alone and are in no layer; README.md in this folder says what may be in them.
set -eu

if [ -s /run/secrets/pip_conf ]; then
    export PIP_CONFIG_FILE=/run/secrets/pip_conf
fi
apt_options=""
if [ -s /run/secrets/apt_sources ]; then
    apt_options="-o Dir::Etc::SourceList=/run/secrets/apt_sources -o Dir::Etc::SourceParts=/dev/null"
fi
if [ -s /run/secrets/ca_bundle ]; then
    export PIP_CERT=/run/secrets/ca_bundle SSL_CERT_FILE=/run/secrets/ca_bundle
    export CURL_CA_BUNDLE=/run/secrets/ca_bundle GIT_SSL_CAINFO=/run/secrets/ca_bundle
    apt_options="$apt_options -o Acquire::https::CAInfo=/run/secrets/ca_bundle"
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
# Like pip, uv takes the best version of all indexes and trusts what the image's system trusts.
export UV_NO_CONFIG=1 UV_INDEX_STRATEGY=unsafe-best-match UV_SYSTEM_CERTS=1
export UV_LINK_MODE=copy UV_NO_PROGRESS=1
export DEBIAN_FRONTEND=noninteractive

# apt_install PACKAGE...: from the distribution, and nothing of apt's own stays.
apt_install() {
    # shellcheck disable=SC2086 # the options are words
    apt-get $apt_options update
    # shellcheck disable=SC2086
    apt-get $apt_options install --yes --no-install-recommends "$@"
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log
}

# install_uv: pip, and by it the uv that setup.lock names, which installs in seconds what takes pip a
# minute.
install_uv() {
    python3 -m venv /opt/pip
    /opt/pip/bin/pip install --no-deps --find-links /inputs/wheelhouse --requirement /inputs/setup.lock
}

# pip_says NAME: what $settings, of `pip config list`, set NAME to, in one line.
pip_says() {
    printf '%s\n' "$settings" | sed -n "s/^[^=]*\.$1='\(.*\)'\$/\1/p" | sed 's/\\n/ /g; s/^ *//'
}

# tell_uv VARIABLE VALUE: where there is a value.
tell_uv() {
    [ -z "$2" ] || export "$1=$2"
}

# install_packages ARGUMENT...: into /opt/venv, what is named and no dependency: the locks are complete.
# Nothing is compiled: bytecode would double the packages' size; an image has that of what it imports.
install_packages() (
    links=""
    [ ! -d /inputs/wheelhouse ] || links=/inputs/wheelhouse
    if [ -s /run/secrets/pip_conf ]; then  # which uv does not read
        settings="$(/opt/pip/bin/pip config list)"
        tell_uv UV_DEFAULT_INDEX "$(pip_says index-url)"
        tell_uv UV_INDEX "$(pip_says extra-index-url)"
        tell_uv UV_INSECURE_HOST "$(pip_says trusted-host)"
        tell_uv ALL_PROXY "$(pip_says proxy)"
        links="$links $(pip_says find-links)"
    fi
    # shellcheck disable=SC2086 # one word each
    tell_uv UV_FIND_LINKS "$(echo $links | tr ' ' ,)"
    /opt/pip/bin/uv pip install --python /opt/venv/bin/python --no-deps "$@"
)

# install_torch LOCK: the CPU build that LOCK names, from the wheelhouse or $TORCH_INDEX. The general
# index has CUDA builds of several gigabytes under the same version.
install_torch() {
    pins="$(grep -E '^torch(audio)?==' "/inputs/$1")"
    if ls /inputs/wheelhouse/torch-*.whl >/dev/null 2>&1; then
        install_packages --no-index "$(echo "$pins" | grep ^torch==)"
    else
        # shellcheck disable=SC2086 # one word each
        install_packages --default-index "$TORCH_INDEX" $pins
    fi
    if ! grep -q '^cuda: Optional\[str\] = None' /opt/venv/lib/python3*/site-packages/torch/version.py; then
        echo "This torch is a CUDA build: let the wheelhouse or TORCH_INDEX have a CPU build." >&2
        return 1
    fi
}

# install_lock LOCK: all that LOCK names; ends in the packages' folder. Nothing is tested, compiled or
# debugged in an image.
install_lock() {
    install_packages --requirement "/inputs/$1"
    cd /opt/venv/lib/python3*/site-packages
    rm -rf torch/test torch/include torch/bin/protoc* torch/bin/test_* torch/bin/*Test
    find . -type d -name tests -prune -exec rm -r {} +
}
