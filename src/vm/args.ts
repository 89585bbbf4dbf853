import type { Qemu } from './qemu.ts'

export type Accel = 'kvm' | 'tcg'

/** What a guest is made of; VMs of one class share a template. */
export type VmClass = { vcpus: number; memoryMiB: number }

/** Bytes every disk claims to have, in template and clone alike: the guest reads the size once, when it boots. */
export const DISK_SIZE = 2 ** 40
/** `vol0` … `vol5`: PCI devices cannot be added on the fast path, so each guest has them from the start. */
export const VOLUME_SLOTS = 6
/** Raised whenever the arguments change the guest's hardware: old templates then no longer fit. */
export const ARGS_VERSION = 7

export type Disk =
  /** Reads as zeroes, forgets what is written. */
  | { kind: 'placeholder' }
  /** Read-only, from a storage process that may restart: requests wait for it. */
  | { kind: 'nbd'; socket: string }
  /** A raw file by an inherited descriptor. `durable`: a guest's flush reaches the host's disk. */
  | { kind: 'file'; fd: number; durable: boolean }

/**
 * Where the frames of a guest's card go. `stream`: over a unix socket. `tap`: an interface in the emulator's own network
 * namespace, with which the guest leaves checksums to others and sends what it has in pieces; making one needs CAP_NET_ADMIN.
 */
export type CardLink = { kind: 'stream'; path: string } | { kind: 'tap'; name: string }

/**
 * What a guest is told to use. On a stream it is cut and summed up by the guest's kernel, for which the packet still has to fit
 * the largest block (32 KiB) that is given without fail when memory is in pieces; on a tap neither, and the limit is the
 * overlay's frame (65,499) with some room.
 */
export const CARD_MTU: Record<CardLink['kind'], number> = { stream: 30_000, tap: 65_000 }

/** A path within a QEMU option, whose parts are kept apart by commas. */
const quoted = (path: string): string => path.replaceAll(',', ',,')

export type QemuInput = {
  qemu: Qemu
  accel: Accel
  class: VmClass
  name: string
  /** Each is made by QEMU, which lets one client in at a time and waits for none. */
  sockets: { qmp: string; agent: string }
  card: CardLink
  /** A RAM file; `share`: the guest writes into it (template), else copy-on-write. Absent: anonymous memory. */
  memory?: { path: string; share: boolean }
  disks: { root: Disk; upper: Disk; modules: Disk; volumes: readonly Disk[] }
  /** Cold start: what to boot. Clones carry their kernel in RAM. */
  boot?: { vmlinux: string; initramfs: string; append?: string }
  /** Wait for device state; `paused`: then for `cont`. */
  incoming?: { paused: boolean }
  /** Numeric uid and gid to change to once everything is open. */
  runAs?: number
}

const COMMON_WORDS = [
  ...['console=ttyS0', 'quiet', 'panic=-1', 'rdinit=/init', 'nowatchdog'],
  // each huge page would take 2 MiB of the host at the first touch, and having them on makes the kernel set 44 MiB aside
  // in guests of 1 GiB and more
  'transparent_hugepage=never',
  // what nobody reads in a microVM, but every fork, exec and switch would pass through
  ...['psi=0', 'audit=0', 'lsm=landlock,yama,bpf', 'noautogroup'],
  // a workload is root in its machine: it may load the kernel's own modules and no others
  'module.sig_enforce=1',
]

/**
 * Under TCG code costs time when it is seen first (10 µs per block, 48,000 blocks for a start), and speculation is not
 * the guest's: one VM is one workload, so its kernel guards no secrets of others from it. Whether its timer ticks is not tried:
 * while the emulator waits for a CPU it does not, and the kernel would give up. Other hypervisors' guests leave that out too.
 */
const TCG_WORDS = ['tsc=reliable', 'mitigations=off', 'no_timer_check']

/**
 * TCG before QEMU 8 leaves garbage in RFLAGS after `cmpxchg16b`; an interrupt right behind one (SLUB's fast path) then
 * returns with a trap or nested-task flag set and the kernel dies: about one boot in seven. Without the feature bit the
 * kernel does not use the instruction.
 */
const OLD_TCG_WORDS = ['clearcpuid=cx16']

/** The guest's kernel command line. */
export function kernelCommandLine(accel: Accel, qemu: Qemu, append = ''): string {
  const words = [...COMMON_WORDS]
  if (accel === 'tcg') words.push(...TCG_WORDS)
  if (accel === 'tcg' && qemu.version[0] < 8) words.push(...OLD_TCG_WORDS)
  if (append) words.push(append)
  return words.join(' ')
}

function blockdev(node: string, disk: Disk, readOnly: boolean): string {
  const common = `node-name=${node},read-only=${readOnly ? 'on' : 'off'}`
  switch (disk.kind) {
    case 'placeholder':
      return `driver=null-co,${common},size=${DISK_SIZE},read-zeroes=on`
    case 'nbd':
      // run time: wait a day for a storage process that is away, then fail; start: it is there or it is a fault
      return `driver=nbd,${common},server.type=unix,server.path=${quoted(disk.socket)},export=,reconnect-delay=86400,open-timeout=10`
    case 'file':
      return `driver=file,${common},filename=/dev/fdset/${disk.fd},discard=unmap,cache.no-flush=${disk.durable ? 'off' : 'on'}`
  }
}

/**
 * A geometry nobody uses, given so that QEMU does not read the first sector to guess one: at that time nothing is bound
 * to the export of a pooled clone, and the read would wait.
 */
const GEOMETRY = 'cyls=16383,heads=16,secs=63'

/** A placeholder leaves the serial's name to what takes its place while the VM runs. */
function diskArgs(serial: string, disk: Disk, readOnly: boolean): string[] {
  const fd = disk.kind === 'file' ? ['-add-fd', `fd=${disk.fd},set=${disk.fd}`] : []
  const node = disk.kind === 'placeholder' ? `${serial}-empty` : serial
  return [
    ...fd,
    '-blockdev',
    blockdev(node, disk, readOnly),
    '-device',
    `virtio-blk-pci,id=${serial},drive=${node},serial=${serial},num-queues=1,queue-size=64,logical_block_size=4096,physical_block_size=4096,write-cache=on,${GEOMETRY}`,
  ]
}

/**
 * The network card: Ethernet frames that the network plane takes and gives, and may let go of and come back to while the VM
 * runs. Nobody there: what the guest sends vanishes. All guests have one address, as each is alone on its link. No control
 * queue: bringing the link up would wait for it. No option ROM: nobody boots from the network. No segmentation by the card:
 * packets may be as large as what would be segmented.
 */
const NIC_MAC = '02:7a:6f:73:00:02'
const NIC_CONTROL = ['vq', 'rx', 'rx_extra', 'vlan', 'mac_addr', 'guest_offloads'].map((name) => `ctrl_${name}=off`)
const NIC_SEGMENTATION = ['tso4', 'tso6', 'ecn', 'ufo'].flatMap((name) => [`host_${name}=off`, `guest_${name}=off`])
const netdev = (card: CardLink): string =>
  card.kind === 'stream'
    ? `stream,id=nic,server=on,addr.type=unix,addr.path=${quoted(card.path)}`
    : `tap,id=nic,ifname=${card.name},script=no,downscript=no,vhost=off`
const nicArgs = (card: CardLink): string[] => [
  ...['-netdev', netdev(card)],
  '-device',
  `virtio-net-pci,netdev=nic,mac=${NIC_MAC},romfile=,${[...NIC_CONTROL, ...NIC_SEGMENTATION].join()},guest_announce=off,vectors=3`,
]

/** The whole command line of one VM: pure, so that two calls with one input give one guest. */
export function qemuArgs(input: QemuInput): string[] {
  const { accel, qemu, sockets, disks, memory, boot, incoming } = input
  const args = ['-name', input.name, '-nodefaults', '-no-user-config', '-display', 'none']
  // a crash must not write the guest's memory into a core file; devices of 1990 that nobody talks to cost boot time and attack surface
  args.push(
    '-machine',
    'q35,hpet=off,smbus=off,sata=off,i8042=off,vmport=off,usb=off,dump-guest-core=off,memory-backend=ram',
  )
  args.push('-accel', accel === 'kvm' ? 'kvm' : 'tcg,thread=multi,tb-size=32')
  // emulated, `rep movsb` costs a turn per byte; without these bits kernel and libc copy 8 or 32 bytes at a time: measured,
  // a pipe in the guest and the agent's streams run at twice the speed
  const cpu = accel === 'kvm' ? 'host' : 'max,-erms,-fsrm'
  args.push('-cpu', cpu, '-smp', `${input.class.vcpus}`, '-m', `${input.class.memoryMiB}M`)
  args.push('-object', memoryBackend(input.class, memory, qemu))
  if (boot) {
    args.push('-kernel', boot.vmlinux, '-initrd', boot.initramfs)
    args.push('-append', kernelCommandLine(accel, qemu, boot.append))
  }
  args.push(
    '-chardev',
    `socket,id=qmp,path=${quoted(sockets.qmp)},server=on,wait=off`,
    '-mon',
    'chardev=qmp,mode=control',
  )
  // the console is kept in bounded memory, where it outlives the daemon; QMP reads it
  args.push('-chardev', 'ringbuf,id=console,size=65536', '-serial', 'chardev:console')
  args.push('-chardev', `socket,id=agent,path=${quoted(sockets.agent)},server=on,wait=off`)
  args.push('-device', 'virtio-serial-pci', '-device', 'virtserialport,chardev=agent,name=zos.agent')
  args.push('-device', 'virtio-rng-pci', ...nicArgs(input.card))
  args.push(...diskArgs('root', disks.root, true), ...diskArgs('upper', disks.upper, false))
  args.push(...diskArgs('modules', disks.modules, true))
  for (let n = 0; n < VOLUME_SLOTS; n++) {
    args.push(...diskArgs(`vol${n}`, disks.volumes[n] ?? { kind: 'placeholder' }, false))
  }
  // which state comes in, and that RAM is not part of it, is said over QMP: QEMU 7.2 has no option for the latter
  if (incoming) args.push('-incoming', 'defer', ...(incoming.paused ? ['-S'] : []))
  // a guest that powers off or panics stays, stopped, until its last console lines were read
  args.push('-action', 'reboot=shutdown,shutdown=pause')
  // giving up root is itself a set*id call, which both "deny" and "children" kill; spawn=deny and the no-new-privileges
  // bit that seccomp sets leave nothing to elevate with afterwards
  const elevate = input.runAs === undefined ? 'deny' : 'allow'
  args.push('-sandbox', `on,obsolete=deny,elevateprivileges=${elevate},spawn=deny,resourcecontrol=deny`)
  if (input.runAs !== undefined) args.push(...userArgs(input.runAs, qemu))
  return args
}

/** QEMU 9.1 renamed the option, 10.0 dropped the old name. */
function userArgs(uid: number, { version: [major, minor] }: Qemu): string[] {
  const renamed = major > 9 || (major === 9 && minor >= 1)
  return renamed ? ['-run-with', `user=${uid}:${uid}`] : ['-runas', `${uid}:${uid}`]
}

function memoryBackend({ memoryMiB }: VmClass, memory: QemuInput['memory'], qemu: Qemu): string {
  if (!memory) return `memory-backend-ram,id=ram,size=${memoryMiB}M`
  // QEMU 9 can map a file it may not write; before, the file has to be opened for writing though nothing is written
  const sealed = !memory.share && qemu.version[0] >= 9 ? ',readonly=on,rom=off' : ''
  return `memory-backend-file,id=ram,size=${memoryMiB}M,mem-path=${quoted(memory.path)},share=${memory.share ? 'on' : 'off'}${sealed}`
}
