import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { chmod, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { canonicalJson, codeOf, reasonOf, sha256Hex, ZosError } from '#codec'
import { syncDirectory, until, writeAtomic } from '#sys'
import { ARGS_VERSION, kernelCommandLine, type VmClass } from './args.ts'
import { awaitBoot } from './boot.ts'
import type { VmHost } from './host.ts'
import type { Machine } from './machine.ts'
import { setCapabilities } from './restore.ts'
import { PLACEHOLDER, spawnQemu } from './spawn.ts'

/** A guest that booted once: clones map its RAM copy-on-write. Its files are never written after they were made. */
export type Template = {
  key: string
  class: VmClass
  /** Sparse file of the guest's whole memory. */
  ram: string
  /** Device state as QEMU's migration stream. */
  state: string
  /** Of both files; what "never written" is tested against. */
  ramSha256: string
  stateSha256: string
}

/** A cold boot of a class takes 3 s under TCG on an idle core; more means the machine is drowning or the guest hangs. */
const BOOT_DEADLINE = 90_000

/** Names everything a saved guest depends on; a change of any makes another template. */
export function templateKey(host: VmHost, vmClass: VmClass): string {
  const facts = {
    args: ARGS_VERSION,
    commandLine: kernelCommandLine(host.accel, host.qemu),
    kernel: host.kernel.sha256,
    initramfs: host.initramfs.sha256,
    qemu: host.qemu.text,
    accel: host.accel,
    class: { vcpus: vmClass.vcpus, memoryMiB: vmClass.memoryMiB },
  }
  return sha256Hex(Buffer.from(canonicalJson(facts))).slice(0, 32)
}

/** The template of a class when it has been made; a few stats, no more. */
export async function findTemplate(host: VmHost, vmClass: VmClass): Promise<Template | undefined> {
  const key = templateKey(host, vmClass)
  const dir = join(host.templatesDir, key)
  try {
    const meta = JSON.parse(await readFile(join(dir, 'meta.json'), 'utf8')) as Pick<
      Template,
      'ramSha256' | 'stateSha256'
    >
    const template = { key, class: vmClass, ram: join(dir, 'ram'), state: join(dir, 'state.bin'), ...meta }
    const { size } = await stat(template.ram)
    await stat(template.state)
    return size === vmClass.memoryMiB * 2 ** 20 ? template : undefined
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined
    throw error
  }
}

const making = new Map<string, Promise<Template>>()

/** The template of a class, made now when there is none; concurrent callers wait for one maker. */
export async function ensureTemplate(
  host: VmHost,
  vmClass: VmClass,
  options: { onProgress?: (line: string) => void; signal?: AbortSignal } = {},
): Promise<Template> {
  const found = await findTemplate(host, vmClass)
  if (found) return found
  const key = `${host.templatesDir}/${templateKey(host, vmClass)}`
  const running = making.get(key)
  if (running) return running
  options.onProgress?.(`template ${describeClass(vmClass)}: booting a guest once to clone it from then on`)
  const work = makeTemplate(host, vmClass, options.signal).finally(() => making.delete(key))
  making.set(key, work)
  return work
}

export const describeClass = ({ vcpus, memoryMiB }: VmClass): string => `${vcpus} vCPU, ${memoryMiB} MiB`

async function makeTemplate(host: VmHost, vmClass: VmClass, signal?: AbortSignal): Promise<Template> {
  const key = templateKey(host, vmClass)
  const id = `t-${key.slice(0, 12)}-${process.pid}`
  const work = join(host.templatesDir, `${key}.${process.pid}.tmp`)
  await rm(work, { recursive: true, force: true })
  await mkdir(work, { mode: 0o700 })
  try {
    const ram = join(work, 'ram')
    const file = await open(ram, 'wx', 0o600)
    await file.truncate(vmClass.memoryMiB * 2 ** 20)
    await file.close()
    {
      await using machine = await spawnQemu(
        host,
        { id, class: vmClass, root: PLACEHOLDER, upper: PLACEHOLDER },
        {
          start: 'cold',
          tied: true,
          memory: { path: ram, share: true },
          boot: { vmlinux: host.kernel.vmlinux, initramfs: host.initramfs.path },
        },
      )
      await awaitBoot(host, machine, BOOT_DEADLINE, signal)
      await saveState(machine, join(work, 'state.bin'))
    }
    const meta = { ramSha256: await hashFile(ram), stateSha256: await hashFile(join(work, 'state.bin')) }
    await chmod(ram, 0o400)
    await chmod(join(work, 'state.bin'), 0o400)
    await writeAtomic(join(work, 'meta.json'), `${JSON.stringify(meta)}\n`)
    const dir = join(host.templatesDir, key)
    await rename(work, dir).catch(async (error) => {
      // another process made it meanwhile: its template is as good, unless it is a torn one
      if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'EEXIST') throw error
      if (await findTemplate(host, vmClass)) return
      await rm(dir, { recursive: true, force: true })
      await rename(work, dir)
    })
    await syncDirectory(host.templatesDir)
    const template = await findTemplate(host, vmClass)
    if (!template) throw new Error('it is not there after it was made')
    return template
  } catch (error) {
    if (signal?.aborted) throw error
    throw new ZosError(`Make a VM template (${describeClass(vmClass)}): ${reasonOf(error)}`, {
      code: 'template-failed',
      kind: 'node',
      cause: error,
    })
  } finally {
    await rm(work, { recursive: true, force: true })
  }
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

/** SHA-256 of a file of any size. Holes are read as zeroes. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
