import type { DebianRecipe } from '../../src/cli/demo/debian.ts'

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const process = (cmd: readonly string[], more: Record<string, unknown> = {}) => ({ Cmd: cmd, Env: [PATH], ...more })

export const REDIS: DebianRecipe = {
  name: 'redis',
  packages: ['redis-server'],
  config: process(['redis-server', '--protected-mode', 'no', '--dir', '/var/lib/redis'], { User: 'redis' }),
}

const POSTGRES_ARGS =
  '-D /var/lib/postgresql/*/main -c config_file=$(echo /etc/postgresql/*/main/postgresql.conf) -c unix_socket_directories=/tmp'
export const POSTGRES: DebianRecipe = {
  name: 'postgresql',
  packages: ['postgresql'],
  config: process(['sh', '-c', `exec /usr/lib/postgresql/*/bin/postgres ${POSTGRES_ARGS}`], {
    User: 'postgres',
    Env: [PATH, 'PGHOST=/tmp'],
    StopSignal: 'SIGINT',
  }),
}

export const PYTHON: DebianRecipe = {
  name: 'python',
  packages: ['python3', 'openssl'],
  config: process(['python3']),
}

export const NODEJS: DebianRecipe = { name: 'nodejs', packages: ['nodejs'], config: process(['node']) }

export const JAVA: DebianRecipe = {
  name: 'java',
  packages: ['default-jre-headless'],
  config: process(['java', '-version']),
}

export const SYSTEMD: DebianRecipe = {
  name: 'systemd',
  packages: ['systemd-sysv', 'dbus', 'cron', 'openssh-server'],
  config: process(['/sbin/init']),
}

/** What takes a kernel of one's own: containers, tunnels, file systems, packet filters. */
export const KERNEL: DebianRecipe = {
  name: 'kernel',
  packages: [
    ...['podman', 'crun', 'fuse-overlayfs', 'busybox-static', 'ca-certificates'],
    ...['wireguard-tools', 'nftables', 'iptables', 'iproute2', 'iputils-ping', 'kmod', 'e2fsprogs', 'fdisk'],
    ...['fuse3', 'squashfuse', 'squashfs-tools', 'cryptsetup-bin'],
  ],
  config: process(['sleep', 'infinity']),
}

/** Nothing but one Go program, its libraries and their loader: bookworm's caddy is not static. */
export const CADDY: DebianRecipe = {
  name: 'caddy',
  packages: ['caddy', 'libzstd1', 'libc6'],
  only: ['usr/bin/caddy', 'lib64', ...['libc.so.6', 'libzstd.so.1*', 'ld-linux-*'].map((name) => `*/${name}`)],
  config: process(['/usr/bin/caddy', 'respond', '--listen', ':80', 'scratch']),
}
