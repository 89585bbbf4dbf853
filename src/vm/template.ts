import { readFileSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { canonicalJson, reasonOf, sha256Hex, ZosError } from '#codec'
import { ARGS_VERSION, kernelCommandLine, type VmClass } from './args.ts'
import { bootAndSave } from './bake.ts'
import type { VmHost } from './host.ts'
import { identify } from './identity.ts'
import { makeFolder, readFolder } from './template-folder.ts'

/** A guest that booted once: clones map its RAM copy-on-write. Its files are never written after they were made. */
export type Template = {
  key: string
  dir: string
  class: VmClass
  /** Sparse file of the guest's whole memory. */
  ram: string
  /** Device state as QEMU's migration stream. */
  state: string
  /** Of both files, as hashSparse gives it; what "never written" is tested against. */
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
    card: host.isolation.cards,
    // a KVM guest saw this very processor; TCG's is the same everywhere but for how fast it counts, which is found anew
    // at each boot of this machine, not quite the same
    cpu: host.accel === 'kvm' ? hostCpu() : Math.round((host.tscKhz ?? 0) / 25_000),
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

/** The template of a class when it has been made; a few stats, no more, but for the first time. */
export async function findTemplate(host: VmHost, vmClass: VmClass): Promise<Template | undefined> {
  return inFolder(host, templateKey(host, vmClass), vmClass)
}

/** The template in the folder KEY. */
export async function inFolder(host: VmHost, key: string, vmClass: VmClass): Promise<Template | undefined> {
  const digests = await readFolder(host.templatesDir, key)
  if (!digests?.ram || !digests['state.bin']) return undefined
  const dir = join(host.templatesDir, key)
  return {
    key,
    dir,
    class: vmClass,
    ram: join(dir, 'ram'),
    state: join(dir, 'state.bin'),
    ramSha256: digests.ram,
    stateSha256: digests['state.bin'],
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
  try {
    await makeFolder(host.templatesDir, key, (work) =>
      bootAndSave(host, vmClass, id, { ram: join(work, 'ram'), state: join(work, 'state.bin') }, signal),
    )
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
  }
}
