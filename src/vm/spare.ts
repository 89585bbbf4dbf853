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
 * Loaded before all else: pages of 4 KiB only (prctl(2), PR_SET_THP_DISABLE, which a program can say of itself alone). Where the
 * host gives huge pages to whoever asks or to all (Debian's kernels do), its daemon for them would fill an idle QEMU's tables
 * up to whole ones within minutes: 20 to 40 MiB of zeroes for each machine.
 */
const SMALL_PAGES = {
  name: 'small-pages.so',
  source: `int prctl(int, ...);
__attribute__((constructor)) static void ask(void) { prctl(41, 1L, 0L, 0L, 0L); }`,
}

/** What makes QEMU load what is in FOLDER. */
export const loadingFrom = (folder: string) => ({
  LD_LIBRARY_PATH: folder,
  LD_PRELOAD: join(folder, SMALL_PAGES.name),
})

/**
 * A folder for QEMU to load from (see loadingFrom), made once per QEMU in cacheDir/spare; undefined where there is no compiler, or
 * QEMU does not start with it: then it loads what it always did.
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
    await compile(work, SMALL_PAGES.name, SMALL_PAGES)
    // bound at once, so that a function that is missing shows now and not in a machine
    const env = { ...process.env, ...loadingFrom(work), LD_BIND_NOW: '1' }
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

async function compile(
  work: string,
  soname: string,
  { source, version }: { source: string; version?: string | undefined },
): Promise<void> {
  const file = join(work, 'source.c')
  const map = join(work, 'map')
  await writeFile(file, source)
  await writeFile(map, `${version ?? ''} { global: *; };`)
  const linking = [`-Wl,-soname,${soname}`, ...(version ? [`-Wl,--version-script=${map}`] : [])]
  await run('musl-gcc', ['-shared', '-fPIC', '-Os', '-s', '-nostdlib', ...linking, '-o', join(work, soname), file])
  await rm(file)
  await rm(map)
}
