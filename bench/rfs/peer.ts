// The original's file system, built from its public repository: RFS_BIN names the program. None of it is in this repository.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '#sys'
import { must } from '../peer.ts'

/** What this machine lacks for a row against rfs. */
export const lacksRfs = (): string | undefined =>
  process.env.RFS_BIN ? undefined : 'set RFS_BIN to a program built from the public rfs (feature build-binary)'

const bin = (): string => process.env.RFS_BIN!

export type Packed = { flist: string; store: string }

/** Packs DIR into the store below AT, which later packs may share; the flist gets NAME. */
export function pack(dir: string, at: string, name: string): Packed {
  const packed = { flist: join(at, `${name}.fl`), store: join(at, 'store') }
  mkdirSync(packed.store, { recursive: true })
  const args = ['pack', '--meta', packed.flist, '--store', `dir://${packed.store}`, dir]
  must(spawnSync(bin(), args, { maxBuffer: 1 << 28 }), 'rfs pack')
  return packed
}

/** PACKED mounted on a folder below AT, with a cache there that outlives the mount. Needs /dev/fuse and fusermount. */
export async function mounted(packed: Packed, at: string): Promise<{ dir: string } & AsyncDisposable> {
  const dir = join(at, 'mounted')
  const cache = join(at, 'cache')
  for (const folder of [dir, cache]) mkdirSync(folder, { recursive: true })
  const args = ['mount', '--meta', packed.flist, '--cache', cache, dir]
  const child: ChildProcess = spawn(bin(), args, { stdio: 'ignore' })
  const ended = once(child, 'exit')
  const isMounted = () => spawnSync('mountpoint', ['-q', dir]).status === 0
  await until('rfs to mount', 20_000, () => child.exitCode !== null || isMounted())
  if (!isMounted()) throw new Error(`rfs mount ended with exit ${child.exitCode}`)
  return {
    dir,
    async [Symbol.asyncDispose]() {
      must(spawnSync('umount', [dir]), 'umount')
      await ended
    },
  }
}
