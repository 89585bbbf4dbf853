// A link of IP packets that loses, delays and reorders them, as a program: two TUNs that are each other's far end. Whoever
// starts it moves them to where they belong. Many kernels lack netem.
// usage: node impaired-link.ts NAME NAME '{"loss": 0.02, "delay": 15, "jitter": 5, "seed": 1}'
import { pathToFileURL } from 'node:url'
import { openTun, pollFds, readFd, writeFd } from '#sys'
import { random } from './random.ts'

export type Impairment = {
  /** Part of the packets that vanish, 0 to 1. */
  loss: number
  /** Milliseconds a packet is under way, each direction. */
  delay: number
  /** Milliseconds added at random, at most: a packet may so overtake another. */
  jitter: number
  seed: number
}

const MTU = 1500
/** Packets under way in one direction; more are lost, as with a full queue. */
const UNDER_WAY = 2_000
const READABLE = 1

type Packet = { due: number; to: number; bytes: Buffer }

/** What is under way, the next to arrive first. */
export function createLine({ loss, delay, jitter, seed }: Impairment) {
  const next = random(seed)
  const packets: Packet[] = []
  return {
    put(to: number, bytes: Buffer, now: number): void {
      const lost = next() < loss
      const due = now + delay + next() * jitter
      if (lost || packets.length >= UNDER_WAY) return
      let at = packets.length
      while (at > 0 && packets[at - 1]!.due > due) at--
      packets.splice(at, 0, { due, to, bytes })
    },
    take: (now: number): Packet | undefined => (packets[0] && packets[0].due <= now ? packets.shift() : undefined),
    /** Milliseconds until the next arrives; -1 when nothing is under way. */
    wait: (now: number): number => (packets[0] ? Math.max(0, packets[0].due - now) : -1),
  }
}

function main([first, second, text]: string[]): void {
  const line = createLine(JSON.parse(text!) as Impairment)
  const fds = [first!, second!].map((name, n) => {
    const address = Buffer.from(`fd009400000000000000000000000${n}01`.padStart(32, '0'), 'hex')
    return openTun({ name, address, prefix: 128, mtu: MTU, offload: false, queue: 1000 })
  })
  process.stdout.write('up\n')
  const polled = new Int32Array(fds.length * 2)
  const incoming = Buffer.alloc(65_536)
  for (;;) {
    fds.forEach((fd, n) => {
      polled[n * 2] = fd
      polled[n * 2 + 1] = READABLE
    })
    const wait = line.wait(performance.now())
    pollFds(polled, fds.length, wait < 0 ? -1 : Math.ceil(wait))
    const now = performance.now()
    fds.forEach((fd, n) => {
      for (
        let size = readFd(fd, incoming, 0, incoming.length);
        size > 0;
        size = readFd(fd, incoming, 0, incoming.length)
      )
        line.put(fds[1 - n]!, Buffer.from(incoming.subarray(0, size)), now)
    })
    for (let packet = line.take(now); packet; packet = line.take(now))
      writeFd(packet.to, packet.bytes, 0, packet.bytes.length)
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) main(process.argv.slice(2))
