import type { Preparation } from '../src/vm/agent/types.ts'
import { INIT, setLimits } from './cgroup.ts'
import { inChild } from './child.ts'
import { Failure } from './failure.ts'
import { enterTree } from './namespace.ts'
import { sys } from './native.ts'
import { LOOKED_UP } from './program.ts'
import { makeTree, readAhead } from './tree.ts'
import { forkWaiting, holdNamespaces } from './waiting.ts'
import { type Answer, main } from './workload.ts'

/**
 * For a template of one image: its tree is made, the FILES a start needs are read (and so verified), and a child stands in
 * the tree and waits for its program. Nothing of a workload is in it: no program of the image has run.
 */
export function prepare({ root, files, memoryLimit }: Preparation, answer: Answer): void {
  if (main.phase !== 'idle' || main.prepared)
    throw new Failure('already-started', 'Prepare: the workload was started or prepared already')
  setLimits(memoryLimit, 0, 0)
  const build = () => {
    makeTree(root, false)
    readAhead([...files, ...LOOKED_UP])
    // what the template's writable layer holds is read when the guest stands still
    sys('sync')
  }
  inChild(build, (failure) => {
    if (failure) {
      answer(failure)
      return
    }
    forkWaiting(
      INIT,
      () => enterTree(false, false),
      (late, waiting) => {
        if (!late) {
          holdNamespaces(waiting.pid)
          main.prepared = { rootHash: root.rootHash, waiting }
        }
        answer(late)
      },
    )
  })
}
