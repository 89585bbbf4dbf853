import { chmod, open, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { codeOf } from '#codec'
import { run, until } from '#sys'
import type { VmClass } from './args.ts'
import { awaitBoot, bootOf, clockWords } from './boot.ts'
import { cpuDeadline } from './boot-deadline.ts'
import { checkClock } from './guest-clock.ts'
import type { VmHost } from './host.ts'
import type { Machine } from './machine.ts'
import { setCapabilities } from './restore.ts'
import { type MachineSpec, PLACEHOLDER, spawnQemu } from './spawn.ts'

/** A cold boot takes 3 to 6 s of CPU under TCG; a minute means a guest that hangs. */
const BOOT_DEADLINE = 60_000
/** Emulators have bugs that strike now and then; a guest that fails three times has another reason. */
const ATTEMPTS = 3

/** Boots a guest whose RAM is the file TO.ram, waits for its agent and saves its devices to TO.state. */
export async function bootAndSave(
  host: VmHost,
  vmClass: VmClass,
  id: string,
  to: { ram: string; state: string },
  signal?: AbortSignal,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    await rm(to.ram, { force: true })
    await rm(to.state, { force: true })
    const file = await open(to.ram, 'wx', 0o600)
    await file.truncate(vmClass.memoryMiB * 2 ** 20)
    await file.close()
    try {
      await using machine = await spawnQemu(
        host,
        { id, class: vmClass, root: PLACEHOLDER, upper: PLACEHOLDER },
        {
          start: 'cold',
          tied: true,
          memory: { path: to.ram, share: true },
          // should what this machine says of its clock be wrong, the guest finds out for itself
          boot: bootOf(host, attempt === 1 ? clockWords(host) : ''),
        },
      )
      using deadline = cpuDeadline(machine.record.pid, BOOT_DEADLINE)
      await awaitBoot(host, machine, deadline.signal, signal)
      await checkClock(machine.agentSocket, signal)
      await saveState(machine, to.state)
      return await flush(to.ram)
    } catch (error) {
      if (attempt === ATTEMPTS || signal?.aborted || codeOf(error) === 'qemu-failed') throw error
    }
  }
}

/**
 * Restores BASE with a RAM file of its own, TO.ram, and SPEC's disks, waits for READY, and saves the devices to TO.state.
 * The guest stands still from then on: what SPEC's disks hold belongs to what was saved, until the machine is ended.
 */
export async function changeAndSave(
  host: VmHost,
  base: { class: VmClass; ram: string; state: string },
  spec: Omit<MachineSpec, 'class'>,
  to: { ram: string; state: string },
  ready: (machine: Machine) => Promise<void>,
): Promise<void> {
  await run('cp', ['--sparse=always', '--reflink=auto', base.ram, to.ram])
  await chmod(to.ram, 0o600)
  await using machine = await spawnQemu(
    host,
    { ...spec, class: base.class },
    { start: 'clone', memory: { path: to.ram, share: true }, state: { path: base.state, paused: false } },
  )
  await ready(machine)
  await saveState(machine, to.state)
  await flush(to.ram)
}

/** Writes the device state to PATH. QEMU 7.2 has no `file:`, and `exec:` would need the right to start programs. */
async function saveState(machine: Machine, path: string): Promise<void> {
  const socket = join(machine.record.dir, 'state')
  const { promise: saved, resolve, reject } = Promise.withResolvers<void>()
  const file = await open(path, 'wx', 0o600)
  const server: Server = createServer((connection) => {
    pipeline(connection, file.createWriteStream({ flush: true })).then(resolve, reject)
  })
  await new Promise<void>((done) => server.listen(socket, done))
  await machine.lend(socket)
  try {
    await setCapabilities(machine.qmp)
    // running, not stopped: the state then says "running", and a clone needs no further word to start
    // the default limit is for networks: it would stretch 100 KB to a second
    await machine.qmp.ask('migrate-set-parameters', { 'max-bandwidth': 2 ** 34, 'downtime-limit': 10_000 })
    await machine.qmp.ask('migrate', { uri: `unix:${socket}` })
    await until('the device state', 20_000, async () => {
      const { status } = await machine.qmp.ask<{ status: string }>('query-migrate')
      if (status === 'failed' || status === 'cancelled') throw new Error(`QEMU could not save the state: ${status}`)
      return status === 'completed'
    })
    await saved
  } finally {
    server.close()
    await file.close().catch(() => {})
  }
}

/** A template that survives a power cut whole or not at all: its folder gets its name only after this. */
async function flush(path: string): Promise<void> {
  const file = await open(path, 'r+')
  try {
    await file.datasync()
  } finally {
    await file.close()
  }
}
