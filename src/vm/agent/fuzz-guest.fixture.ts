import { randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import {
  encodeCredit,
  encodeFrame,
  encodeJson,
  encodeU64,
  FILLER,
  Frame,
  HEADER,
  MAGIC,
  NONCE,
  TRAILER,
} from './protocol.ts'

const RECORD = Buffer.from(JSON.stringify({ path: 'f', type: 'file', mode: 420, uid: 0, gid: 0, mtime: '1', size: 2 }))
const COPY = Buffer.concat([Buffer.from([RECORD.length, 0, 0, 0]), RECORD, Buffer.from('ab'), Buffer.alloc(4)])
const process = { argv: ['cat'], env: ['A=b'], cwd: '/', user: '', tty: null, stdin: true }

const asked = (stream: number, method: string, params: unknown) => encodeJson(Frame.request, stream, { method, params })

/** What starts a process in the guest, behind the stream STREAM. */
const OPENING: ((stream: number) => Uint8Array)[] = [
  (n) => asked(n, 'exec', process),
  (n) => asked(n, 'exec', { ...process, tty: { rows: 20, columns: 70 } }),
  (n) => asked(n, 'exec', { ...process, argv: ['true'], user: '7:9', rlimits: [{ name: 'nofile', soft: 9, hard: 9 }] }),
  (n) => asked(n, 'stat', { path: '/etc/passwd', follow: true }),
  (n) => asked(n, 'copyOut', { path: '/etc', follow: false }),
  (n) => asked(n, 'copyIn', { path: '/tmp', keepOwner: false }),
  (n) => asked(n, 'processes', null),
]

/** All else a host may say but what ends the workload (its stdin, signals, power off); BEFORE: a stream that may be open. */
const OTHERS: ((stream: number, before: number) => Uint8Array)[] = [
  (n) => asked(n, 'dial', { port: 80, host: '127.0.0.1' }),
  (n) => asked(n, 'stats', null),
  (n, before) => asked(n, 'resize', { stream: before, rows: 3, columns: 4 }),
  (_, before) => encodeFrame(Frame.data, before, COPY),
  (_, before) => encodeFrame(Frame.data, before, randomBytes(randomInt(2000))),
  (_, before) => encodeFrame(Frame.end, before, new Uint8Array(0)),
  (_, before) => encodeCredit(before, randomInt(2 ** 31)),
  (_, before) => encodeFrame(Frame.reset, before, new Uint8Array(0)),
  () => encodeU64(Frame.ack, 0, randomInt(2 ** 40)),
]

/** As a rule only the payload changes, so that the frame gets past the first check. */
function mutate(frame: Uint8Array): Buffer {
  const bytes = Buffer.from(frame)
  const payload = bytes.length - HEADER - TRAILER
  for (let k = randomInt(1, 4); k > 0 && payload > 0; k--)
    bytes[HEADER + randomInt(payload)] = randomInt(2) === 0 ? '{}[]",:0-9'.charCodeAt(randomInt(10)) : randomInt(256)
  // out of step: the guest then skips everything up to the next hello
  if (randomInt(200) === 0) bytes[0] = randomInt(256)
  return bytes
}

/** One host's frames to one guest. */
function madHost(): (stream: number) => Uint8Array {
  let opened = 1
  return (stream) => {
    const kind = randomInt(OPENING.length + OTHERS.length)
    const open = OPENING[kind]
    if (open) {
      // an emulated guest needs 20 ms to start a process, for which it reads 50 frames: one in twenty is right, and what
      // comes behind it speaks of its stream
      if (randomInt(20) !== 0) return mutate(open(stream))
      opened = stream
      return open(stream)
    }
    const before = randomInt(2) === 0 ? opened : Math.max(1, stream - randomInt(1, 4))
    const other = OTHERS[kind - OPENING.length]!(stream, before)
    return randomInt(3) === 0 ? other : mutate(other)
  }
}

const helloFrame = (): Uint8Array =>
  encodeFrame(Frame.hello, 0, Buffer.concat([MAGIC, randomBytes(NONCE), Buffer.from([1, 0, 0, 0]), Buffer.alloc(8)]))

/** A host that asks for a process and is followed by another before it can run. */
export async function leaveMidway(socket: string, argv: string[]): Promise<void> {
  const host = connect(socket)
  await once(host, 'connect')
  host.resume()
  const request = encodeJson(Frame.request, 1, { method: 'exec', params: { ...process, argv } })
  host.end(Buffer.concat([Buffer.alloc(FILLER), helloFrame(), request, helloFrame()]))
  await once(host, 'close')
}

/** RUNS frames from hosts that come and go, to the agent behind SOCKET; what it answers is read and dropped. */
export async function fuzzGuest(socket: string, runs: number): Promise<void> {
  for (let run = 0; run < runs; ) {
    const host = connect(socket).on('error', () => {})
    await once(host, 'connect')
    host.resume()
    host.write(Buffer.concat([Buffer.alloc(FILLER), helloFrame()]))
    const next = madHost()
    for (let stream = 1; stream < 100 && run < runs; stream++, run++) {
      if (!host.write(next(stream))) await Promise.race([once(host, 'drain'), once(host, 'close')])
    }
    host.end()
    await once(host, 'close')
  }
}
