#!/usr/bin/env bash
# Runs the Dockerfile's steps in a clean temporary folder, without a container engine:
# build, start as a user that is not root, health check, stop. Options: --build-only
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3.11}" -m deploy.check_image_steps "$@"
