import { type ChildProcess, spawn } from 'node:child_process'
import { codeOf, reasonOf } from '#codec'
import type { Daemon } from '#mycelium'
import { formatIpv4, ipv4OfSlot } from '#mycelium'
import { closeFd, socketPair } from '#sys'

/** One that ends is started anew after this long, doubled each time up to the last. Milliseconds. */
const FIRST_RETRY = 200
const LAST_RETRY = 30_000
/** One that lived this long was well. */
const GOOD_AFTER = 30_000
const STDERR_KEPT = 1_000

const GATEWAY = formatIpv4(ipv4OfSlot(-1))
/** The descriptor it is given its socket as. */
const SOCKET = 3

/**
 * No port of the node leads to the guest, the gateway's address does not lead to the node itself, and nothing is told to the
 * guest that it was not told already. Questions to the gateway go to the node's resolver. Started as root it becomes "nobody".
 */
const argumentsFor = (ipv4: number): string[] => [
  '--foreground',
  '--stderr',
  '--ipv4-only',
  ...['--fd', String(SOCKET)],
  ...['--address', formatIpv4(ipv4), '--netmask', '24', '--gateway', GATEWAY],
  ...['--dns-forward', GATEWAY],
  '--no-map-gw',
  '--no-dhcp',
  ...['--tcp-ports', 'none', '--udp-ports', 'none'],
]

type Kept = { child: ChildProcess | undefined; timer: NodeJS.Timeout | undefined; retry: number; complaint: string }

/** A passt process for each workload that may reach the Internet: it ends with its workload, and with this process. */
export function keepPassts(daemon: Pick<Daemon, 'egress'>, log: (line: string) => void) {
  const kept = new Map<string, Kept>()

  function start(publicKey: string, ipv4: number, one: Kept): void {
    const begun = performance.now()
    const [ours, theirs] = socketPair('stream')
    const child = spawn('passt', argumentsFor(ipv4), { stdio: ['ignore', 'ignore', 'pipe', theirs] })
    closeFd(theirs)
    let said = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-STDERR_KEPT)
    })
    const over = (reason: string) => {
      one.child = undefined
      // detached meanwhile
      if (kept.get(publicKey) !== one) return
      if (performance.now() - begun > GOOD_AFTER) one.retry = FIRST_RETRY
      if (one.complaint !== reason) log(`egress of ${publicKey}: ${reason}; it is started again`)
      one.complaint = reason
      one.timer = setTimeout(() => start(publicKey, ipv4, one), one.retry)
      one.retry = Math.min(one.retry * 2, LAST_RETRY)
    }
    child.once('error', (error) =>
      over(codeOf(error) === 'ENOENT' ? 'passt is not installed; the Debian package "passt" has it' : reasonOf(error)),
    )
    child.once('exit', (code, signal) => over(`passt ended (${signal ?? code}): ${lastLine(said)}`))
    one.child = child
    // passt ends when the other end of its socket is closed
    daemon.egress(publicKey, ours).catch((error: unknown) => log(`egress of ${publicKey}: ${reasonOf(error)}`))
  }

  return {
    /** The workload with this identity may reach the Internet from IPV4, its address in its network. */
    add(publicKey: string, ipv4: number): void {
      if (kept.has(publicKey)) return
      const one: Kept = { child: undefined, timer: undefined, retry: FIRST_RETRY, complaint: '' }
      kept.set(publicKey, one)
      start(publicKey, ipv4, one)
    },
    remove(publicKey: string): void {
      const one = kept.get(publicKey)
      if (!one) return
      kept.delete(publicKey)
      clearTimeout(one.timer)
      one.child?.kill('SIGKILL')
    },
  }
}

/** What passt said last that is not about syslog, which a node need not have. */
const lastLine = (said: string): string =>
  said
    .split('\n')
    .filter((line) => line && !line.includes('to syslog'))
    .at(-1) ?? 'it said nothing'
