import { Frame } from '../src/vm/agent/protocol.ts'
import { encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { startChild, underWay } from './child.ts'
import { Failure } from './failure.ts'
import { joinMounts } from './namespace.ts'
import { close, exit, must, nonblocking, O, open, pipe, sys } from './native.ts'
import { currentHost, openSession, type Session, sessionEnded } from './session.ts'
import { closeWatched } from './sink.ts'
import { TREE } from './tree.ts'
import { type Answer, main } from './workload.ts'

/**
 * RUN in a child of our own with the workload's tree as its root, its standard descriptors being the stream: whatever
 * touches files may have to wait for a disk, and PID 1 must not. It fails with words on its standard error and exit 1.
 */
export function startHelper(stream: number, run: () => void, answer: Answer): void {
  if (main.phase !== 'running' && main.phase !== 'exited')
    throw new Failure('not-running', 'Look at files: no workload was started')
  const proc = must('Open /proc', open('/proc', O.PATH | O.DIRECTORY))
  const [inRead, inWrite] = pipe()
  const [outRead, outWrite] = pipe()
  const [errRead, errWrite] = pipe()
  for (const fd of [inWrite, outRead, errRead]) nonblocking(fd)
  const host = currentHost()
  let session: Session | null = null
  const target = main.phase === 'running' ? main.pid : 0
  const pid = startChild({
    flags: 0,
    cgroup: -1,
    stdio: [inRead, outWrite, errWrite],
    // our own /proc, which the workload's root does not have
    keep: proc,
    run: () => {
      if (target > 0) joinMounts(target)
      else must('Enter the tree', sys('chroot', TREE))
      must('Enter the tree', sys('chdir', '/'))
      underWay()
      sys('umask', 0)
      try {
        run()
      } catch (error) {
        const words = encodeUtf8((error as Error).message)
        sys('write', 2, words, words.length)
        exit(1)
      }
    },
    started: (failure) => {
      if (failure) {
        for (const fd of [inWrite, outRead, errRead]) close(fd)
        answer(failure)
        return
      }
      const outputs = [
        { fd: outRead, type: Frame.data },
        { fd: errRead, type: Frame.errorData },
      ]
      session = openSession({ host, stream, pid, input: inWrite, outputs, helper: true, finish: closeWatched })
      answer(null)
    },
    ended: (status) => {
      if (session) sessionEnded(session, status)
    },
  })
  close(proc)
}
