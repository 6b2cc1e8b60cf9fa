#!/bin/sh
# A stand-in for docker's command from version 23 on, which builds by a plugin that is not here. All
# else is done by the docker whose path is in REAL_DOCKER.
if [ "$1" = build ]; then
    echo "ERROR: BuildKit is enabled but the buildx component is missing or broken." >&2
    exit 1
fi
exec "$REAL_DOCKER" "$@"
