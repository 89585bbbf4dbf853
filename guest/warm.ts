import type { StartSpec, WarmUp } from '../src/vm/agent/types.ts'
import { encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { reseed, setClock } from './clock.ts'
import { Failure } from './failure.ts'
import { close } from './native.ts'
import { forkWaiting, release, type Waiting } from './waiting.ts'
import { type Answer, main } from './workload.ts'

const SPEC: StartSpec = {
  hostname: 'warm',
  root: { dataBlocks: 0, hashStart: 0, rootHash: '' },
  machineId: '',
  time: '',
  entropy: '',
  memoryLimit: 0,
  cpus: 0,
  readOnly: false,
  confined: false,
  tmpfs: [],
  volumes: [],
  hosts: '',
  resolvConf: '',
  init: false,
  // our own binary, which ends at once when it is given an argument
  process: { argv: ['/proc/self/exe', 'end'], env: [], cwd: '', user: '', tty: null, stdin: false },
}

let understudy: Waiting | null = null

/** At boot: a child that stands in for the first process in a rehearsal. */
export function hireUnderstudy(): void {
  forkWaiting(
    null,
    () => {},
    (failure, waiting) => {
      if (!failure) understudy = waiting
    },
  )
}

/**
 * A start in miniature, by a child of nobody's program; nothing stays behind but what the emulator has translated. Each
 * clone begins with none of the guest's code translated, which is most of what a first start costs under emulation.
 */
export function warmUp({ time, entropy }: WarmUp, answer: Answer): void {
  const actor = understudy
  if (main.phase !== 'idle' || !actor) throw new Failure('already-started', 'Warm up: it is too late, or was done')
  understudy = null
  setClock(time)
  reseed(entropy)
  actor.started = () => {}
  actor.ended = () => {
    for (const fd of [actor.stdio.stdin, ...actor.stdio.outputs.map((o) => o.fd)]) close(fd)
    answer(null)
  }
  release(actor, encodeUtf8(JSON.stringify(SPEC)))
}
