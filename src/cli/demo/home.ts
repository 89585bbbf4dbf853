import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { ZosError } from '#codec'
import { tryLock } from '#sys'
import { places } from '#wire'

const ZOS = resolve(import.meta.dirname, '../../../zos')

/** The main job's own home: nothing of the person's own grid, keys and workloads is touched. */
export type DemoHome = AsyncDisposable & {
  dir: string
  /** What a person sets to give commands to it. */
  exports: string
  /** Runs ./zos there as a person would. Gives what it wrote. */
  zos: (args: string[]) => Promise<string>
  /** Starts ./zos there; it ends with the demo. */
  background: (args: string[]) => void
  /** Everything held: from now on an interrupt is how a person ends it, no failure. */
  stay: () => Promise<never>
}

/**
 * Opens it for one run: what was published stays, the grid of an earlier run goes, the passphrase of the members' keys is
 * drawn anew and kept in a file of mode 0600. This process works there from now on.
 */
export async function openDemoHome(): Promise<DemoHome> {
  const dir = join(places().home, 'demo')
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  if (!tryLock(openSync(join(dir, 'demo.lock'), 'a', 0o600)))
    throw new ZosError(`Start the demo in "${dir}": another one runs there; end it first`, { code: 'demo-runs' })
  const secret = randomBytes(16).toString('hex')
  process.env.ZOS_HOME = dir
  process.env.ZOS_PASSPHRASE = secret
  // what the person set for a home of theirs is not meant for this one
  for (const name of ['ZOS_HUB', 'ZOS_GRID', 'ZOS_API']) delete process.env[name]
  const { gridDown } = await import('../grid/down.ts')
  await gridDown()
  for (const part of ['grid', 'keys', 'groups']) rmSync(join(dir, part), { recursive: true, force: true })
  const file = join(dir, 'passphrase')
  rmSync(file, { force: true })
  writeFileSync(file, `${secret}\n`, { mode: 0o600 })

  const start = (args: string[], output: 'pipe' | 'ignore') => spawn(ZOS, args, { stdio: ['ignore', output, output] })
  const children: ChildProcess[] = []
  const end = async () => {
    for (const child of children.splice(0)) child.kill('SIGTERM')
    await gridDown()
  }
  let exitCode = 130 // of a program that was interrupted
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void end().finally(() => process.exit(exitCode)))
  return {
    dir,
    exports: `export ZOS_HOME=${dir} ZOS_PASSPHRASE=$(cat ${file})`,
    background: (args) => {
      children.push(start(args, 'ignore'))
    },
    stay() {
      exitCode = 0
      return new Promise(() => {})
    },
    [Symbol.asyncDispose]: end,
    zos: (args) =>
      new Promise((done, fail) => {
        const child = start(args, 'pipe')
        const said = { out: '', err: '' }
        child.stdout!.setEncoding('utf8').on('data', (d: string) => (said.out += d))
        child.stderr!.setEncoding('utf8').on('data', (d: string) => (said.err += d))
        child.on('error', fail)
        child.on('close', (code) => {
          if (code === 0) return done(said.out)
          const why = said.err.trim().split('\n').at(-1) ?? ''
          fail(new ZosError(`Run "zos ${args.join(' ')}": exit ${code}: ${why}`, { code: 'step-failed', kind: 'node' }))
        })
      }),
  }
}
