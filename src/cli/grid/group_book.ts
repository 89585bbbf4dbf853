// Names of groups: this home's own address book; the chain knows groups by their id alone.
import { readdirSync, readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf, ZosError } from '#codec'
import { writeAtomic } from '#sys'
import { places } from '#wire'

type Hex = `0x${string}`

export type GroupEntry = { name: string; group: Hex; contract: Hex }

const groupsDir = () => join(places().home, 'groups')

function groupIn(path: string): GroupEntry {
  try {
    const { name, group, contract } = JSON.parse(readFileSync(path, 'utf8')) as GroupEntry
    if ([name, group, contract].every((field) => typeof field === 'string')) return { name, group, contract }
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error
  }
  throw new ZosError(
    `Read "${path}": it is damaged; it holds a group's name and id alone: remove it, and say the id with --group`,
    { code: 'bad-group-file' },
  )
}

/** Of all grids: a folder for each contract; files beside the folders are of before there were folders. */
export function groupBook(): GroupEntry[] {
  try {
    return readdirSync(groupsDir(), { recursive: true, encoding: 'utf8' })
      .filter((f) => f.endsWith('.json'))
      .sort()
      .map((f) => groupIn(join(groupsDir(), f)))
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  }
}

export function checkGroupName(name: string): void {
  if (!/^[a-z0-9][a-z0-9._-]{0,62}$/.test(name))
    throw new ZosError(`Name group "${name}": take 1 to 63 of a–z, 0–9, ".", "_" and "-"`, { code: 'bad-group-name' })
}

/** False when that grid has a group of this name already: it keeps it. */
export async function noteGroup(entry: GroupEntry): Promise<boolean> {
  const dir = join(groupsDir(), entry.contract)
  await mkdir(dir, { recursive: true, mode: 0o700 })
  try {
    await writeAtomic(join(dir, `${entry.name}.json`), `${JSON.stringify(entry)}\n`, { fresh: true })
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}
