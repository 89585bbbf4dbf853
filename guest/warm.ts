import type { StartSpec } from '../src/vm/agent/types.ts'
import { INIT, openCgroup } from './cgroup.ts'
import { startChild } from './child.ts'
import { Failure } from './failure.ts'
import { enterTree } from './namespace.ts'
import { CLONE, close, MS, mkdir, mount, must, O, open } from './native.ts'
import { runProgram } from './program.ts'
import { TREE } from './tree.ts'
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
  // the longer way
  confined: true,
  tmpfs: [],
  volumes: [],
  hosts: '',
  resolvConf: '',
  init: false,
  // our own binary, which ends at once when it is given an argument
  process: { argv: ['/proc/self/exe', 'end'], env: [], cwd: '', user: '', tty: null, stdin: false },
}

/**
 * A start in miniature, in namespaces that end with it: nothing stays behind but what the emulator has translated. Each
 * clone begins with none of the guest's code translated, which is most of what a first start costs under emulation.
 */
export function warmUp(answer: Answer): void {
  if (main.phase !== 'idle') throw new Failure('already-started', 'Warm up: the workload was started')
  const none = must('Open /dev/null', open('/dev/null', O.RDWR))
  const cgroup = openCgroup(INIT)
  startChild({
    flags: CLONE.NEWPID | CLONE.NEWNS | CLONE.NEWUTS | CLONE.NEWIPC,
    cgroup,
    stdio: [none, none, none],
    run: () => {
      mount('none', '/', '', MS.REC | MS.PRIVATE)
      mkdir('/warm')
      mount('tmpfs', '/warm', 'tmpfs', 0, 'size=1m')
      for (const dir of ['lower', 'upper', 'work']) mkdir(`/warm/${dir}`)
      mount('overlay', TREE, 'overlay', 0, 'lowerdir=/warm/lower,upperdir=/warm/upper,workdir=/warm/work')
      for (const dir of ['proc', 'sys', 'dev', 'dev/mqueue']) mkdir(`${TREE}/${dir}`)
      enterTree(SPEC)
      runProgram(SPEC.process, SPEC, true)
    },
    started: () => {},
    ended: () => answer(null),
  })
  close(cgroup)
}
