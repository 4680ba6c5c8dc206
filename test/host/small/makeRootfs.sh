#!/bin/sh
# Makes the root file system of the small workspace, of what the host itself has: Python and a shell.
# Arguments: target directory, text of the program that holds memory. Standard input: the workload.
set -eu
target=$1
[ ! -e "$target" ] || exit 0
making=$target.making
rm -rf "$making"
mkdir -p "$making/app" "$making/usr/bin" "$making/usr/lib" "$making/data"
for link in bin lib lib64; do ln -s "usr/$link" "$making/$link"; done
mkdir -p "$making/usr/lib64"
for program in python3 sh sleep cat; do
  file=$(readlink -f "$(command -v "$program")")
  cp "$file" "$making/usr/bin/$program"
  ldd "$file" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$making${library%/*}"
    cp -L "$library" "$making$library"
  done
done
version=$(python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
cp -a "/usr/lib/$version" "$making/usr/lib/$version"
rm -rf "$making/usr/lib/$version/test" "$making/usr/lib/$version/__pycache__"
cat > "$making/app/workload.py"
printf '%s' "$2" > "$making/app/hold.py"
mv "$making" "$target"
