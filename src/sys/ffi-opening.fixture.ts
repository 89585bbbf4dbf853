// A thread that confines itself but opens taps and files for others: says what it can still do, each thing as "yes" or why not.
import { randomUUID } from 'node:crypto'
import { dlopen, getRawPointer } from 'node:ffi'
import { readFileSync } from 'node:fs'
import { parentPort, Worker } from 'node:worker_threads'
import {
  closeFd,
  confine,
  leaveNetwork,
  listenTcp,
  permissions,
  readFd,
  refusesTaps,
  socketPair,
  trimMemory,
} from '#sys'
import { ioctlFd } from './ffi.ts'
import { tried } from './tried.fixture.ts'

/** linux/sockios.h: it writes where its argument says, whatever that is. */
const SIOCGIFCONF = 0x8912
const taps = () => refusesTaps('/proc/self/ns/net', `zx${randomUUID().slice(0, 8)}`)
const [socket, other] = socketPair('stream')
const before = taps()

const may = () => ({
  library: tried(() => dlopen('libc.so.6', {})),
  address: tried(() => getRawPointer(new ArrayBuffer(8))),
  leave: tried(leaveNetwork),
  listen: tried(() => listenTcp({ ip: '127.0.0.1', port: 0 })),
  request: tried(() => ioctlFd(socket, SIOCGIFCONF, Buffer.alloc(16))),
  short: tried(() => ioctlFd(socket, 0x8933, Buffer.alloc(16))),
  trim: tried(trimMemory),
  taps: taps() === before,
  read: readFd(socket, Buffer.alloc(8), 0, 8) < 0,
  file: tried(() => readFileSync('/proc/self/stat')),
  thread: tried(() => new Worker('', { eval: true })),
  scopes: permissions(),
})

confine({ opens: true, keeps: ['fs'] })
const opening = may()
confine()
parentPort!.postMessage({ opening, confined: may() })
for (const fd of [socket, other]) closeFd(fd)
