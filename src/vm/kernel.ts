import { mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf, reasonOf, sha256Hex, ZosError } from '#codec'
import { run, writeAtomic } from '#sys'
import { archivesOf, debianCodename, downloadPackage, openApt, type PrivateApt, showPackage } from './apt.ts'
import { extractVmlinux } from './bzimage.ts'

/** The guest kernel, unpacked. */
export type Kernel = {
  /** Uncompressed ELF with a PVH note. */
  vmlinux: string
  /** The folder that holds `kernel/…` (xz-compressed modules): `lib/modules/RELEASE` of the package. */
  modulesRoot: string
  /** `uname -r` of the guest. */
  release: string
  /** Debian's version of the package. */
  version: string
  /** Of the .deb as the archive's signed index names it. */
  sha256: string
}

export type KernelOptions = { cacheDir: string; onProgress?: (line: string) => void; signal?: AbortSignal }

type Record_ = { version: string; sha256: string; release: string }

const META = 'linux-image-cloud-amd64'

function kernelOf(root: string, { version, sha256, release }: Record_): Kernel {
  const dir = join(root, sha256)
  return { vmlinux: join(dir, 'vmlinux'), modulesRoot: join(dir, 'modules', release), release, version, sha256 }
}

async function recorded(root: string): Promise<Record_ | undefined> {
  try {
    const record = JSON.parse(await readFile(join(root, 'current.json'), 'utf8')) as Record_
    await readdir(join(root, record.sha256))
    return record
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined
    throw error
  }
}

/** The first archive that carries the kernel's meta package in the suite we want, opened. */
async function findKernel(work: string, signal?: AbortSignal): Promise<[PrivateApt, Record<string, string>]> {
  const codename = await debianCodename()
  // bookworm's own 6.1 lacks IPE and has virtio as modules; trixie's kernel is 6.12 already
  const suite = codename === 'bookworm' ? 'bookworm-backports' : codename
  let reason = 'no archive has it'
  for (const [n, archive] of (await archivesOf(codename)).entries()) {
    try {
      const apt = await openApt(join(work, `apt${n}`), archive, [suite], signal ? { signal } : {})
      // "linux-image-6.12.95+deb12-cloud-amd64 (= 6.12.95-1~bpo12+1)": signed or not, as the archive decided
      const named = (await showPackage(apt, META))?.Depends?.split(/[ ,]/)[0]
      const facts = named ? await showPackage(apt, named) : undefined
      if (facts) return [apt, facts]
      reason = `"${suite}" has no "${META}"`
    } catch (error) {
      reason = reasonOf(error)
    }
  }
  throw new ZosError(`Fetch the guest kernel: ${reason}; check the network and apt's sources`, {
    code: 'no-kernel',
    kind: 'node',
  })
}

const making = new Map<string, Promise<Kernel>>()

/**
 * Debian's newest cloud kernel, unpacked below cacheDir/kernel/SHA256/, never installed. The first call downloads about
 * 40 MB through a private apt state; later ones only read the record. Throws code `no-kernel`, `unknown-release`.
 */
export async function ensureKernel(options: KernelOptions): Promise<Kernel> {
  const root = join(options.cacheDir, 'kernel')
  const record = await recorded(root)
  if (record) return kernelOf(root, record)
  const running = making.get(root)
  if (running) return running
  const work = fetchKernel(root, options).finally(() => making.delete(root))
  making.set(root, work)
  return work
}

async function fetchKernel(root: string, { onProgress = () => {}, signal }: KernelOptions): Promise<Kernel> {
  // arm64 would differ here: META is linux-image-cloud-arm64, its Image is booted as it is, and accel.ts has no PVH
  if (process.arch !== 'x64') {
    throw new ZosError(`Fetch the guest kernel: there is none for "${process.arch}" yet; use an x86_64 machine`, {
      code: 'foreign-machine',
    })
  }
  await mkdir(root, { recursive: true })
  const work = await mkdtemp(join(root, 'fetch-'))
  try {
    onProgress("guest kernel: asking Debian's archive")
    const [apt, facts] = await findKernel(work, signal)
    const down = join(work, 'down')
    await mkdir(down)
    const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(1)
    let last = -1
    const deb = await downloadPackage(apt, down, facts, {
      ...(signal ? { signal } : {}),
      onBytes: (done, total) => {
        if (done !== last) onProgress(`guest kernel ${facts.Version}: ${mib(done)} of ${mib(total)} MiB`)
        last = done
      },
    })
    // apt compared it with the index already; this binds the folder's name to the bytes that are unpacked
    const sha256 = sha256Hex(await readFile(deb))
    if (sha256 !== facts.SHA256)
      throw new ZosError('Fetch the guest kernel: the file differs from the signed index; try again', {
        code: 'bad-kernel',
        kind: 'node',
        details: { sha256, wanted: facts.SHA256 },
      })
    const record = { version: facts.Version!, sha256, release: await unpack(deb, work) }
    await rename(join(work, 'out'), join(root, sha256)).catch((error) => {
      // somebody else was quicker: the same bytes under the same name
      if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'EEXIST') throw error
    })
    await writeAtomic(join(root, 'current.json'), `${JSON.stringify(record)}\n`)
    onProgress(`guest kernel ${record.version}: ready (sha256 ${sha256})`)
    return kernelOf(root, record)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Makes WORK/out with `vmlinux` and `modules/RELEASE`; returns RELEASE. */
async function unpack(deb: string, work: string): Promise<string> {
  const tree = join(work, 'tree')
  await run('dpkg-deb', ['-x', deb, tree], { timeout: 120_000 })
  const image = (await readdir(join(tree, 'boot'))).find((name) => name.startsWith('vmlinuz-'))
  if (!image) throw new ZosError('Fetch the guest kernel: the package has no /boot/vmlinuz', { code: 'bad-kernel' })
  const release = image.slice('vmlinuz-'.length)
  const out = join(work, 'out')
  await mkdir(join(out, 'modules'), { recursive: true })
  await writeAtomic(join(out, 'vmlinux'), extractVmlinux(await readFile(join(tree, 'boot', image))))
  const modules = [join(tree, 'lib/modules', release), join(tree, 'usr/lib/modules', release)]
  for (const from of modules) {
    try {
      await rename(from, join(out, 'modules', release))
      return release
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
    }
  }
  throw new ZosError('Fetch the guest kernel: the package has no modules', { code: 'bad-kernel' })
}
