import type { AgentFailure, StartSpec } from '../src/vm/agent/types.ts'
import { encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { INIT, openCgroup, setLimits } from './cgroup.ts'
import { inChild, startChild } from './child.ts'
import { reseed, setClock } from './clock.ts'
import { writeFiles } from './etc.ts'
import { Failure, failureOf } from './failure.ts'
import { checkLease } from './lease.ts'
import { enterTree } from './namespace.ts'
import { close, MS, mount, must, nonblocking, O, open, pipe, sys } from './native.ts'
import { configureCard } from './network.ts'
import { openPty } from './pty.ts'
import { addToTree, limitUpper, makeTree, TREE } from './tree.ts'
import {
  becomeMain,
  dismiss,
  LONGEST,
  NAMESPACES,
  release,
  releaseNamespaces,
  type Stdio,
  type Waiting,
} from './waiting.ts'
import { type Answer, main, mainHandlers } from './workload.ts'

/** Builds the tree in a helper, then starts the process; ANSWER comes when it runs, or says why it does not. */
export function startWorkload(spec: StartSpec, answer: Answer): void {
  if (main.phase !== 'idle')
    throw new Failure('already-started', 'Start the workload: one was started in this VM already')
  main.phase = 'starting'
  main.hostname = spec.hostname
  main.confined = spec.confined
  const failed = (failure: AgentFailure) => {
    main.phase = 'idle'
    answer(failure)
  }
  setClock(spec.time)
  reseed(spec.entropy)
  setLimits(spec.memoryLimit, spec.cpus, spec.pidsLimit ?? 0)
  if (spec.network) configureCard(spec.network)
  if (main.prepared) startPrepared(main.prepared, spec, failed, answer)
  else {
    const build = () => {
      makeTree(spec.root, spec.readOnly)
      limitUpper(spec)
      addToTree(spec)
    }
    inTree(build, spec, failed, answer)
  }
}

/** BUILD in a child, since any disk may be slow; then the process. */
function inTree(build: () => void, spec: StartSpec, failed: (failure: AgentFailure) => void, answer: Answer): void {
  inChild(build, (failure) => {
    try {
      if (failure) failed(failure)
      else launch(spec, failed, answer)
    } catch (error) {
      failed(failureOf(error))
    }
  })
}

/** The tree is there, and a child that waits in it. What it cannot do is left to one of its own kind, forked now. */
function startPrepared(
  { rootHash, waiting }: { rootHash: string; waiting: Waiting },
  spec: StartSpec,
  failed: (failure: AgentFailure) => void,
  answer: Answer,
): void {
  if (rootHash !== spec.root.rootHash || spec.readOnly) {
    failed({ code: 'other-root', message: 'Start the workload: this VM was prepared for another tree' })
    return
  }
  limitUpper(spec)
  const message = encodeUtf8(JSON.stringify(spec))
  const plain = !spec.process.tty && !spec.confined && spec.tmpfs.length === 0 && spec.volumes.length === 0
  if (!plain || message.length > LONGEST || writeFiles(spec).length > 0) {
    dismiss(waiting)
    releaseNamespaces()
    inTree(() => addToTree(spec), spec, failed, answer)
    return
  }
  checkLease()
  const { started, ended } = mainHandlers(spec, waiting.stdio, failed, answer)
  main.pid = waiting.pid
  waiting.started = started
  waiting.ended = ended
  release(waiting, message)
}

function makeStdio(spec: StartSpec): { child: [number, number, number]; ours: Stdio } {
  if (spec.process.tty) {
    const [master, slave] = openPty(spec.process.tty)
    // one descriptor for both ways would be watched twice
    const other = must('Copy a descriptor', sys('fcntl', master, 1030, 3))
    // what programs take for the console is this terminal
    const console = `${TREE}/dev/console`
    close(must('Make /dev/console', open(console, O.CREAT | O.WRONLY, 0o600)))
    mount(`/proc/self/fd/${slave}`, console, '', MS.BIND)
    return {
      child: [slave, slave, slave],
      ours: { stdin: other, outputs: [{ fd: master, channel: 1 }], terminal: master },
    }
  }
  const [outRead, outWrite] = pipe()
  const [errRead, errWrite] = pipe()
  let inRead: number
  let inWrite = -1
  if (spec.process.stdin) [inRead, inWrite] = pipe()
  else inRead = must('Open /dev/null', open('/dev/null', O.RDONLY))
  for (const fd of [outRead, errRead, inWrite]) if (fd >= 0) nonblocking(fd)
  const outputs = [
    { fd: outRead, channel: 1 },
    { fd: errRead, channel: 2 },
  ]
  return { child: [inRead, outWrite, errWrite], ours: { stdin: inWrite, outputs, terminal: -1 } }
}

function launch(spec: StartSpec, failed: (failure: AgentFailure) => void, answer: Answer): void {
  checkLease()
  const { child, ours } = makeStdio(spec)
  const cgroup = openCgroup(INIT)
  main.pid = startChild({
    flags: NAMESPACES,
    cgroup,
    stdio: child,
    run: () => {
      enterTree(spec.confined, spec.readOnly)
      becomeMain(spec)
    },
    ...mainHandlers(spec, ours, failed, answer),
  })
  close(cgroup)
}
