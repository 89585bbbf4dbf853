import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ZosError } from '#codec'
import { run } from '#sys'

export type Module = { name: string; data: Buffer }

const nameOf = (file: string): string =>
  file
    .slice(file.lastIndexOf('/') + 1)
    .replace(/\.ko(\.xz)?$/, '')
    .replaceAll('-', '_')

/** KEY=VALUE strings of a module's .modinfo section; found by their form, so that no ELF has to be parsed. */
function modinfo(data: Buffer, key: string): string[] {
  const values: string[] = []
  const wanted = Buffer.from(`\0${key}=`)
  for (let at = data.indexOf(wanted); at >= 0; at = data.indexOf(wanted, at + 1)) {
    const from = at + wanted.length
    values.push(data.toString('latin1', from, data.indexOf(0, from)))
  }
  return values
}

/**
 * The named modules and all they depend on, each after what it needs. ROOT holds `kernel/…`, as in the package, which has no
 * modules.dep: that is made when a kernel is installed. Names that are not there are built into the kernel, or missing:
 * OPTIONAL ones are left out, for the others the guest would say so when it boots.
 */
export async function collectModules(
  root: string,
  names: readonly string[],
  optional: readonly string[] = [],
): Promise<Module[]> {
  const files = await readdir(join(root, 'kernel'), { recursive: true })
  const byName = new Map(files.filter((f) => /\.ko(\.xz)?$/.test(f)).map((f) => [nameOf(f), join(root, 'kernel', f)]))
  const found = new Map<string, Module>()
  const add = async (name: string, chain: string[]): Promise<void> => {
    const file = byName.get(name)
    if (!file || found.has(name)) return
    if (chain.includes(name))
      throw new ZosError(`Collect kernel modules: "${name}" depends on itself`, { code: 'bad-kernel' })
    const data = file.endsWith('.xz') ? (await run('xz', ['-dc', file])).stdout : await readFile(file)
    const before = modinfo(data, 'softdep').flatMap(
      (s) => /pre:\s*([^:]*?)(?:\s+\w+:|$)/.exec(s)?.[1]?.split(/\s+/) ?? [],
    )
    for (const need of [...modinfo(data, 'depends').flatMap((d) => d.split(',')), ...before]) {
      if (need) await add(need.replaceAll('-', '_'), [...chain, name])
    }
    found.set(name, { name, data })
  }
  for (const name of [...names, ...optional]) await add(name, [])
  return [...found.values()]
}
