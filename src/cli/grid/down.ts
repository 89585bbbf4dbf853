import { existsSync, rmSync } from 'node:fs'
import { codeOf, reasonOf } from '#codec'
import { type NodeStatus, supervisorSocket } from '#node'
import { alive, callUnix, until } from '#sys'
import { killProcess, processesWith } from '#vm'
import { places } from '#wire'
import { BACKINGS, backingDown } from './backing.ts'
import { gridDir, localGrid, nodeHome } from './local.ts'
import { statusOf } from './services.ts'
import { endUp } from './up_lock.ts'

/** Compute lets the file systems of its guests settle. */
const NODE_DEADLINE = 60_000

async function end(socket: string, deadline: number): Promise<void> {
  const now = await statusOf<{ pid: number }>(socket).catch(() => undefined)
  if (!now) return
  try {
    await callUnix(socket, 'POST', '/down', { timeout: 10_000 })
    await until('a process to end', deadline, () => !alive(now.pid), 50)
  } catch (error) {
    // what does not end by itself is ended below
    if (codeOf(error) !== 'deadline') process.stderr.write(`zos: ${reasonOf(error)}\n`)
  }
}

/** What a killed node left: machines and planes are known by the node's folders in their arguments. */
function sweep(home: string): number {
  const { run } = places({ ZOS_HOME: home })
  const left = [`${run}/`, `${home}/`, home].flatMap((text) => processesWith(text))
  const mine = left.filter(({ identity, args }) => {
    const named = args.some((a) => a === home || a === run || a.includes(`${run}/`) || a.includes(`${home}/`))
    return named && identity.pid !== process.pid && identity.pid !== process.ppid
  })
  for (const { identity } of mine) killProcess(identity)
  rmSync(run, { recursive: true, force: true })
  return mine.length
}

/** Ends the local grid: nodes with their machines, and what they stand on. State stays. */
export async function gridDown(): Promise<void> {
  if (!existsSync(gridDir())) return
  const release = await endUp()
  try {
    await endAll()
  } finally {
    release()
  }
}

async function endAll(): Promise<void> {
  const nodes = localGrid()?.nodes ?? []
  await Promise.all(nodes.map(({ name }) => end(supervisorSocket(nodeHome(name)), NODE_DEADLINE)))
  for (const { name } of nodes) sweep(nodeHome(name))
  for (const name of BACKINGS) await backingDown(name)
}

/** Each node of the local grid as it is now. */
export async function nodeStates() {
  return Promise.all(
    (localGrid()?.nodes ?? []).map(async ({ name, farm, country }) => {
      const now = await statusOf<NodeStatus>(supervisorSocket(nodeHome(name)))
      return { name, state: now?.state ?? 'down', farm, country, pid: now?.pid ?? null, pids: now?.pids ?? {} }
    }),
  )
}
