import { randomBytes } from 'node:crypto'
import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { byContent, run, withScratch } from '#sys'
import type { Qemu } from './qemu.ts'

/**
 * Libraries that QEMU links and these machines never call: the disassembler of its debug log and persistent memory, which
 * brings four more, libcrypto among them. Each VM would keep 1.8 MiB of their relocated tables to itself and spend a
 * twelfth of QEMU's start on loading them. What is called all the same fails as on a machine that has no such thing.
 */
const SPARED = [
  {
    soname: /^libcapstone\.so\.\d+$/,
    source: `int cs_open(void) { return 1; } int cs_close(void) { return 1; } int cs_option(void) { return 1; }
void *cs_malloc(void) { return 0; } int cs_disasm_iter(void) { return 0; }`,
    version: undefined,
  },
  {
    soname: /^libpmem\.so\.1$/,
    source: `void pmem_persist(const void *at, unsigned long n) { __builtin_trap(); }
void *pmem_memcpy_persist(void *to, const void *from, unsigned long n) { __builtin_trap(); }`,
    version: 'LIBPMEM_1.0',
  },
] as const

/**
 * A folder for LD_LIBRARY_PATH with stand-ins for such libraries, made once per QEMU in cacheDir/spare; undefined where
 * QEMU links none of them, there is no compiler, or it does not start with them: then it loads what it always did.
 */
export async function ensureSpare(cacheDir: string, qemu: Qemu): Promise<string | undefined> {
  const dir = join(cacheDir, 'spare')
  try {
    const key = await byContent(dir, [import.meta.filename], `${process.arch} ${qemu.text}`, (name) =>
      build(dir, name, qemu),
    )
    return join(dir, key)
  } catch {
    return undefined
  }
}

async function build(dir: string, key: string, qemu: Qemu): Promise<void> {
  const work = join(dir, `${key}.${randomBytes(4).toString('hex')}.tmp`)
  await withScratch(work, async () => {
    for (const soname of await linked(qemu)) {
      const spared = SPARED.find((s) => s.soname.test(soname))
      if (spared) await compile(work, soname, spared)
    }
    // bound at once, so that a function that is missing shows now and not in a machine
    const env = { ...process.env, LD_LIBRARY_PATH: work, LD_BIND_NOW: '1' }
    await run(qemu.path, ['--version'], { env })
    await rename(work, join(dir, key))
  })
}

/** Names of all libraries that the loader brings in for QEMU. */
async function linked(qemu: Qemu): Promise<string[]> {
  const { stdout } = await run(qemu.path, [], { env: { ...process.env, LD_TRACE_LOADED_OBJECTS: '1' } })
  return stdout
    .toString()
    .split('\n')
    .map((line) => line.trim().split(' ')[0]!)
}

async function compile(work: string, soname: string, { source, version }: (typeof SPARED)[number]): Promise<void> {
  const file = join(work, 'source.c')
  const map = join(work, 'map')
  await writeFile(file, source)
  await writeFile(map, `${version ?? ''} { global: *; };`)
  const linking = [`-Wl,-soname,${soname}`, ...(version ? [`-Wl,--version-script=${map}`] : [])]
  await run('musl-gcc', ['-shared', '-fPIC', '-Os', '-s', '-nostdlib', ...linking, '-o', join(work, soname), file])
  await rm(file)
  await rm(map)
}
