#!/bin/sh
# What NVIDIA's image starts with: it takes its key from the environment, and will not do without.
: "${NGC_API_KEY:?it is not set}"
exec python3 /serve.py
