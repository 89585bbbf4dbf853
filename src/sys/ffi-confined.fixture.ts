// A thread that confines itself and says what it can still do, each thing as "yes" or why not.
import { execFileSync } from 'node:child_process'
import { createCipheriv, randomBytes } from 'node:crypto'
import { dlopen, getInt32, getRawPointer, toBuffer } from 'node:ffi'
import { readFileSync } from 'node:fs'
import { parentPort, Worker } from 'node:worker_threads'
import {
  callable,
  closeFd,
  confine,
  connectTcp,
  GcmContext,
  giveBack,
  listenTcp,
  openTun,
  permissions,
  readFd,
  socketPair,
  writeFd,
} from '#sys'
import { enterNetwork, pollFds } from './ffi.ts'
import { trimHeap } from './ffi-trim.ts'
import { tried } from './tried.fixture.ts'

const own = callable(64)
const known = getRawPointer(own.buffer)
const listening = listenTcp({ ip: '127.0.0.1', port: 0 })

confine()

/** Through memory that has an address here, or none. */
function packets(room: (size: number) => Buffer): boolean {
  const [one, other] = socketPair('packets')
  const sent = room(70_000)
  sent.set(randomBytes(sent.length))
  const got = room(70_010)
  writeFd(one, sent, 0, sent.length)
  const n = readFd(other, got, 10, 70_000)
  for (const fd of [one, other]) closeFd(fd)
  return n === sent.length && sent.equals(got.subarray(10))
}

function sealed(room: (size: number) => Buffer): boolean {
  const key = randomBytes(32)
  const nonce = randomBytes(12)
  const text = randomBytes(60_000)
  const input = room(text.length)
  input.set(text)
  const output = room(text.length + 16)
  new GcmContext(key, 'encrypt').run(nonce, 0, input, 0, text.length, output, 0, output, text.length)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  const expected = Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()])
  const opened = room(text.length)
  const opener = new GcmContext(key, 'decrypt')
  const isOpen = opener.run(nonce, 0, output, 0, text.length, opened, 0, output, text.length)
  const same = expected.equals(output)
  output[text.length]! ^= 1
  const isForged = opener.run(nonce, 0, output, 0, text.length, opened, 0, output, text.length)
  return same && isOpen && opened.length === text.length && !isForged
}

const polled = new Int32Array([-1, 0])
const lent = callable(4096)
giveBack(lent)
parentPort!.postMessage({
  may: {
    library: tried(() => dlopen('libc.so.6', {})),
    address: tried(() => getRawPointer(new ArrayBuffer(8))),
    peek: tried(() => getInt32(known)),
    memory: tried(() => toBuffer(known, 64, false)),
    namespace: tried(() => enterNetwork(0)),
    trim: tried(() => trimHeap()),
    listen: tried(() => listenTcp({ ip: '127.0.0.1', port: 0 })),
    tun: tried(() => openTun({ name: 'zx', address: own, prefix: 7, mtu: 1400, offload: true, queue: 1 })),
    file: tried(() => readFileSync('/etc/hostname')),
    program: tried(() => execFileSync('true')),
    thread: tried(() => new Worker('', { eval: true })),
  },
  scopes: permissions(),
  does: {
    packets: packets(callable) && packets(Buffer.alloc),
    sealed: sealed(callable) && sealed(Buffer.alloc),
    polled: pollFds(polled, 1, 0) === 0,
    reused: callable(4096) === lent,
    dialled: connectTcp({ ip: '127.0.0.1', port: 1 }) >= 0,
  },
})
closeFd(listening)
