import { createHash } from 'node:crypto'
import { createReadStream, readFileSync } from 'node:fs'
import { chmod, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { canonicalJson, codeOf, reasonOf, sha256Hex, ZosError } from '#codec'
import { syncDirectory, writeAtomic } from '#sys'
import { ARGS_VERSION, kernelCommandLine, type VmClass } from './args.ts'
import { bootAndSave } from './bake.ts'
import type { VmHost } from './host.ts'
import { identify } from './identity.ts'

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

/** Names everything a saved guest depends on; a change of any makes another template. */
export function templateKey(host: VmHost, vmClass: VmClass): string {
  return `${baseKey(host)}-${vmClass.vcpus}x${vmClass.memoryMiB}`
}

/** What the templates of all classes have in common. */
function baseKey(host: VmHost): string {
  const facts = {
    args: ARGS_VERSION,
    commandLine: kernelCommandLine(host.accel, host.qemu),
    kernel: host.kernel.sha256,
    initramfs: host.initramfs.sha256,
    qemu: host.qemu.text,
    accel: host.accel,
    // a KVM guest saw this very processor; TCG's is the same everywhere
    cpu: host.accel === 'kvm' ? hostCpu() : '',
  }
  return sha256Hex(Buffer.from(canonicalJson(facts))).slice(0, 32)
}

/** Model and features of the first processor. */
function hostCpu(): string {
  return readFileSync('/proc/cpuinfo', 'utf8')
    .split('\n\n')[0]!
    .split('\n')
    .filter((line) => /^(vendor_id|cpu family|model|stepping|microcode|flags)\b/.test(line))
    .join('\n')
}

/**
 * Removes what no start will use again: templates of another kernel, agent or QEMU, and what a killed maker left. VMs
 * that came out of them keep their mapping.
 */
export async function sweepTemplates(host: VmHost): Promise<void> {
  const current = `${baseKey(host)}-`
  for (const name of await readdir(host.templatesDir)) {
    const maker = /\.(\d+)\.tmp$/.exec(name)?.[1]
    const wanted = maker === undefined ? name.startsWith(current) : identify(Number(maker)) !== undefined
    if (!wanted) await rm(join(host.templatesDir, name), { recursive: true, force: true })
  }
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
  const id = `t-${key.slice(0, 8)}-${vmClass.vcpus}x${vmClass.memoryMiB}-${process.pid}`
  const work = join(host.templatesDir, `${key}.${process.pid}.tmp`)
  await rm(work, { recursive: true, force: true })
  await mkdir(work, { mode: 0o700 })
  try {
    const ram = join(work, 'ram')
    await bootAndSave(host, vmClass, id, { ram, state: join(work, 'state.bin') }, signal)
    const meta = { ramSha256: await hashFile(ram), stateSha256: await hashFile(join(work, 'state.bin')) }
    // root opens it for writing all the same, which QEMU < 9 does; nobody else may be refused that
    const mode = process.getuid?.() === 0 ? 0o400 : 0o600
    await chmod(ram, mode)
    await chmod(join(work, 'state.bin'), mode)
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

/** SHA-256 of a file of any size. Holes are read as zeroes. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
