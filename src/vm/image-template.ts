import { readdir, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { reasonOf, ZosError } from '#codec'
import { type Agent, connectAgent } from './agent/index.ts'
import type { VmClass } from './args.ts'
import { changeAndSave } from './bake.ts'
import type { VmHost } from './host.ts'
import { inFolder, type Template, templateKey } from './template.ts'
import { makeFolder } from './template-folder.ts'
import { readUpper, type UpperTemplate, writeUpper } from './upper.ts'

/**
 * A template whose guest has one image's tree mounted already and holds the files a start needs, read and verified. A
 * clone gets a root that serves this image and a writable layer made from `upper`; nothing else fits what its kernel knows.
 */
export type ImageTemplate = Template & { upper: UpperTemplate }

export type ImageSource = {
  /** SHA-256, hex: names the template. */
  digest: string
  /** Unix socket that serves its disk by NBD. */
  root: string
  /** Calls the agent's `prepare`. */
  prepare: (agent: Agent) => Promise<void>
}

/** As many as a node keeps, the latest used; each takes some 70 MiB of disk. */
const KEPT = 4
const UPPER = 'upper.ext4'

const keyOf = (host: VmHost, vmClass: VmClass, digest: string) => `${templateKey(host, vmClass)}-${digest.slice(0, 32)}`

export async function findImageTemplate(
  host: VmHost,
  vmClass: VmClass,
  digest: string,
): Promise<ImageTemplate | undefined> {
  const found = await inFolder(host, keyOf(host, vmClass, digest), vmClass)
  if (!found) return undefined
  const upper = uppers.get(found.stateSha256) ?? (await readUpper(join(found.dir, UPPER)))
  uppers.set(found.stateSha256, upper)
  return { ...found, upper }
}

/** Read once, by the template's state; a few dozen KiB each. */
const uppers = new Map<string, UpperTemplate>()

/** Makes the template of an image out of BASE; EMPTY is what a writable layer is before anybody mounts it. */
export async function makeImageTemplate(
  host: VmHost,
  base: Template,
  empty: UpperTemplate,
  { digest, root, prepare }: ImageSource,
): Promise<ImageTemplate> {
  const key = keyOf(host, base.class, digest)
  const id = `i-${digest.slice(0, 16)}-${process.pid}`
  try {
    await makeFolder(host.templatesDir, key, async (work) => {
      const upper = join(work, UPPER)
      await writeUpper(empty, upper)
      const disks = {
        root: { kind: 'nbd', socket: root },
        upper: { kind: 'file', path: upper, durable: false },
      } as const
      const to = { ram: join(work, 'ram'), state: join(work, 'state.bin') }
      await changeAndSave(host, base, { id, ...disks }, to, async (machine) => {
        await using agent = await connectAgent(machine.agentSocket, { fresh: true })
        await prepare(agent)
      })
    })
    const made = await findImageTemplate(host, base.class, digest)
    if (!made) throw new Error('it is not there after it was made')
    await keepLatest(host, key)
    return made
  } catch (error) {
    throw new ZosError(`Make a VM template of image ${digest.slice(0, 12)}: ${reasonOf(error)}`, {
      code: 'template-failed',
      kind: 'node',
      cause: error,
    })
  }
}

/** Says that a template is in use, so that others go first. */
export async function touchTemplate({ dir }: Template): Promise<void> {
  const now = new Date()
  await utimes(dir, now, now).catch(() => {})
}

/** Removes the templates of images used least lately, KEY excepted. VMs that came out of them keep their mapping. */
async function keepLatest(host: VmHost, key: string): Promise<void> {
  const names = (await readdir(host.templatesDir)).filter((n) => /-[0-9a-f]{32}$/.test(n) && n !== key)
  const aged = await Promise.all(
    names.map(async (name) => ({ name, used: (await stat(join(host.templatesDir, name))).mtimeMs })),
  )
  aged.sort((a, b) => b.used - a.used)
  for (const { name } of aged.slice(KEPT - 1)) await rm(join(host.templatesDir, name), { recursive: true, force: true })
}
