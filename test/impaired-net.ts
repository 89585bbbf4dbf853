import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { run } from '#sys'
import type { Impairment } from './impaired-link.ts'

type End = { namespace: string; device: string; address: string }

/** A link called NAME between two namespaces, as bad as LINE; the program that carries its packets, once it is up. */
export async function impairedLink(name: string, ends: [End, End], line: Impairment): Promise<ChildProcess> {
  const made = [`${name}a`, `${name}b`]
  const program = join(import.meta.dirname, 'impaired-link.ts')
  const args = ['--disable-warning=ExperimentalWarning', program, ...made, JSON.stringify(line)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout!, 'data')
  for (const [n, { namespace, device, address }] of ends.entries()) {
    await run('ip', ['link', 'set', made[n]!, 'netns', namespace, 'name', device])
    await run('ip', ['-n', namespace, 'addr', 'add', address, 'dev', device, 'nodad'])
    await run('ip', ['-n', namespace, 'link', 'set', device, 'up'])
  }
  return child
}
