#!/usr/bin/env bash
# Builds the wheel, installs it into a clean folder, and makes one avatar of a few steps from an empty directory.
# PYTHON is an interpreter that has the dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath -s "${PYTHON:-.venv/bin/python}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w "$work" .
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$work/site" "$work"/*.whl
mkdir "$work/empty"
cd "$work/empty"
export PYTHONPATH="$work/site"
command=("$python" "$work/site/bin/avatargen")

where=$("$python" -c 'import avatargen; print(avatargen.__file__)')
[ "$where" = "$work/site/avatargen/__init__.py" ] || { echo "imported $where, not the wheel"; exit 1; }
"${command[@]}" --version
"${command[@]}" list experiments
"${command[@]}" check embedded --limit 1
"${command[@]}" make "a bald man with blue skin" --steps-scale 0.01
for name in avatar.safetensors avatar.json turntable.mp4 sheet.png avatar.glb; do
  ls results/avatars/*/"$name" > /dev/null
done
said=$("${command[@]}" compare results/a results/b 2>&1) && { echo "compare accepts folders that are missing"; exit 1; }
[[ "$said" == *"results/a: no such folder"* ]] || { echo "compare does not run: $said"; exit 1; }
echo "the wheel works from an empty directory"
