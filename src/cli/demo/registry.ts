import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ZosError } from '#codec'
import { freePort, until } from '#sys'

export type Registry = AsyncDisposable & { /** `127.0.0.1:PORT` */ host: string }

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}

/** Debian's docker-registry on loopback, with an empty store that goes with it. */
export async function startRegistry(): Promise<Registry> {
  const dir = mkdtempSync(join(tmpdir(), 'zos-registry-'))
  const port = await freePort()
  mkdirSync(join(dir, 'store'))
  writeFileSync(
    join(dir, 'config.yml'),
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${join(dir, 'store')}}}\nhttp: {addr: '127.0.0.1:${port}'}\n`,
  )
  const child = spawn('docker-registry', ['serve', join(dir, 'config.yml')], { stdio: 'ignore' })
  child.on('error', () => {})
  const answers = () =>
    fetch(`http://127.0.0.1:${port}/v2/`).then(
      (r) => r.ok,
      () => false,
    )
  const dispose = async () => {
    await end(child)
    rmSync(dir, { recursive: true, force: true })
  }
  try {
    await until('the registry to answer', 20_000, answers, 50)
  } catch (cause) {
    await dispose()
    throw new ZosError(
      'Start docker-registry: it does not answer; "apt-get install docker-registry" if it is missing',
      {
        code: 'registry-start',
        kind: 'node',
        cause,
      },
    )
  }
  return { host: `127.0.0.1:${port}`, [Symbol.asyncDispose]: dispose }
}
