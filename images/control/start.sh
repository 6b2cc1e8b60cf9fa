# The container's first process, under any user: ssh refuses to work for one that has no name.
set -eu
umask 077
if ! getent passwd "$(id -u)" >/dev/null; then
    echo "speech:x:$(id -u):$(id -g)::$HOME:/bin/sh" >/tmp/passwd
fi
python -m proxy_app control claim
exec supervisord --configuration images/control/supervisord.conf
