import { spawn } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { ZosError } from '#codec'
import { refusesTaps, tryRun } from '#sys'

/** First of the 65536 uids (and gids of the same number) that VMs run under as root: far from people and subuid ranges. */
const UID_BASE = 0x5a4f_0000
const UID_COUNT = 0x1_0000

/** What a QEMU is shut into before it starts. */
export type Isolation = AsyncDisposable & {
  /** In words, for `zos doctor`. */
  text: string
  /** Root: a uid of its own per VM; undefined: VMs run as whoever runs the daemon. */
  takeUid(): number | undefined
  giveUid(uid: number | undefined): void
  /** Marks the uid of an adopted VM as in use. */
  keepUid(uid: number | undefined): void
  /** Words in front of the QEMU command. `netFd` is where the spawner will put `net` in the child. */
  prefix(netFd: number): string[]
  /** An open empty network namespace, to be inherited; undefined: the prefix makes one, or there is none. */
  net: number | undefined
  /** What the guests' network cards are on: taps need `net` and root. */
  cards: 'tap' | 'stream'
}

/**
 * As root one empty network namespace is made and held open by a descriptor: entering it costs 1 ms where making one per
 * VM costs 10. Two VMs in it share nothing: unix sockets go by path, and it has no interface but the taps of their cards, on
 * which the kernel has no address and forwards nothing.
 */
async function holdNamespace(): Promise<number> {
  const holder = spawn('unshare', ['--net', 'cat'], { stdio: ['pipe', 'pipe', 'ignore'] })
  const failed = once(holder, 'exit').then(() => {
    throw new ZosError('Make an empty network namespace: "unshare --net" ended; it needs CAP_SYS_ADMIN', {
      code: 'no-namespace',
      kind: 'node',
    })
  })
  failed.catch(() => {})
  try {
    holder.stdin.write('.')
    // cat answers only after unshare has happened
    await Promise.race([once(holder.stdout, 'data'), failed])
    return openSync(`/proc/${holder.pid}/ns/net`, 'r')
  } finally {
    holder.kill('SIGKILL')
  }
}

/** Chooses the strongest isolation this user may have. */
export async function openIsolation(): Promise<Isolation> {
  return process.getuid?.() === 0 ? isolateAsRoot() : isolateAsUser()
}

async function isolateAsRoot(): Promise<Isolation> {
  const net = await holdNamespace()
  const refused = refusesTaps(`/proc/self/fd/${net}`, `zp${randomBytes(6).toString('hex')}`)
  const taken = new Set<number>()
  return {
    text: `a uid of its own per VM (${UID_BASE}…${UID_BASE + UID_COUNT - 1}), a network namespace with nothing but their cards`,
    net,
    cards: refused === undefined ? 'tap' : 'stream',
    prefix: (netFd) => ['nsenter', `--net=/proc/self/fd/${netFd}`, '--'],
    takeUid() {
      // random, so that daemons of two homes do not hand out the same ones
      for (;;) {
        const uid = UID_BASE + randomInt(UID_COUNT)
        if (taken.has(uid)) continue
        taken.add(uid)
        return uid
      }
    },
    giveUid: (uid) => void (uid !== undefined && taken.delete(uid)),
    keepUid: (uid) => void (uid !== undefined && taken.add(uid)),
    async [Symbol.asyncDispose]() {
      closeSync(net)
    },
  }
}

async function isolateAsUser(): Promise<Isolation> {
  const words = ['unshare', '--user', '--map-current-user', '--net', '--']
  const allowed = (await tryRun(words[0]!, [...words.slice(1), 'true']).catch(() => ({ code: 1 }))).code === 0
  return {
    text: allowed
      ? 'an empty network namespace; VMs share your uid: run as root for one uid each'
      : 'none but seccomp: this kernel gives users no namespaces, and VMs share your uid; run as root for both',
    net: undefined,
    cards: 'stream',
    prefix: () => (allowed ? words : []),
    takeUid: () => undefined,
    giveUid() {},
    keepUid() {},
    async [Symbol.asyncDispose]() {},
  }
}
