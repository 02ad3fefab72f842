#!/bin/sh
# Makes the copy of this folder that it is in: Prisma's packages of npm and PyPI, and the Python client for LiteLLM's schema.
set -eu
cd "$(dirname "$0")"
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
"$UV" pip install --quiet --python "$PYTHON" --target python --no-deps -r requirements.txt
DATABASE_URL=postgresql://127.0.0.1/none "$PYTHON" -m prisma generate --schema "$INSTALLED_SCHEMA"
